//! Who this node is and by which thresholds it judges: the manifest's configuration, changed by what the cloud
//! commanded since. Read for each call, because either may change between two.

use edge_model::ActorConfig;
use edge_model::command::ConfigChange;
use edge_model::token::is_token;
use trellis_guest::kv::{self, Bucket};
use trellis_guest::{Error, config};

/// What a node without a name is called.
const NAMELESS: &str = "edge-unknown";

/// A node as configured, with its store open.
pub struct Node {
    /// Its name.
    pub id: String,
    /// The region of readings that name none.
    pub region: String,
    /// Whether alerts ask to be acknowledged.
    pub request_ack: bool,
    /// Where results, counts and commands are kept.
    pub bucket: Bucket,
    /// The manifest's thresholds.
    configured: ActorConfig,
}

impl Node {
    /// Reads the configuration and opens the store.
    ///
    /// # Errors
    /// A value that is not what it must be, or a store that cannot be opened.
    pub fn load() -> Result<Self, Error> {
        let settings = config::all()?;
        let id = match settings.get("node_id") {
            Some(id) => id.to_owned(),
            None => std::env::var("WASMCLOUD_NODE_ID").unwrap_or_else(|_| NAMELESS.to_owned()),
        };
        let region = settings.get("region").unwrap_or("unknown").to_owned();
        for (key, value) in [("node_id", &id), ("region", &region)] {
            if !is_token(value) {
                return Err(Error::internal(format!(
                    "config {key}: only A-Za-z0-9_-, 1..64 (got {value:?}); correct it in the manifest"
                )));
            }
        }
        let defaults = ActorConfig::default();
        Ok(Self {
            id,
            region,
            request_ack: settings.get_or("request_ack", false)?,
            bucket: kv::open(settings.get("bucket").unwrap_or("default"))?,
            configured: ActorConfig {
                temp_threshold: settings.get_or("temp_threshold", defaults.temp_threshold)?,
                humidity_threshold: settings.get_or("humidity_threshold", defaults.humidity_threshold)?,
                alert_enabled: settings.get_or("alert_enabled", defaults.alert_enabled)?,
            },
        })
    }

    /// The thresholds that count now.
    ///
    /// # Errors
    /// The store's.
    pub fn thresholds(&self) -> Result<ActorConfig, Error> {
        let change: Option<ConfigChange> = self.bucket.get_json(&config_key(&self.id))?;
        Ok(change.unwrap_or_default().apply(self.configured.clone()))
    }
}

/// Where the thresholds that the cloud commanded for a node are kept.
pub fn config_key(node: &str) -> String {
    format!("config.{node}")
}

/// Seconds since 1970.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
