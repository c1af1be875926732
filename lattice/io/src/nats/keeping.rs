//! Streams that keep what they have acknowledged: how they are made, and whether one that is there already is of
//! that kind. One configuration and one check for logs and lanes.

use super::core::{ApiError, Core, code};
use super::stream::stream_error;
use crate::kv::Replicas;
use crate::stream::StreamError;
use serde::Deserialize;
use serde_json::{Value, json};

/// How such a stream is made.
pub(super) struct Keeping<'a> {
    pub(super) name: &'a str,
    pub(super) subjects: &'a str,
    pub(super) replicas: Replicas,
    pub(super) max_bytes: Option<u64>,
    /// May an entry be erased by who is allowed to? Else the server itself refuses, whoever asks.
    pub(super) erasable: bool,
    /// Is only the last entry of each subject kept, and can that be taken away?
    pub(super) last_only: bool,
}

impl Keeping<'_> {
    fn config(&self) -> Value {
        json!({
            "name": self.name,
            "subjects": [self.subjects],
            "retention": "limits",
            "storage": "file",
            // What is full refuses: history is never dropped to make room.
            "discard": "new",
            "num_replicas": self.replicas.count(),
            "max_consumers": -1,
            "max_msgs": -1,
            "max_msgs_per_subject": if self.last_only { 1 } else { -1 },
            "max_bytes": self.max_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            "max_age": 0,
            "duplicate_window": 120_000_000_000_u64,
            "deny_delete": !self.erasable,
            "allow_msg_ttl": self.last_only,
            "allow_direct": false,
        })
    }

    /// Makes it, or finds that it is there and keeps as much as this one would.
    pub(super) async fn open(&self, core: &Core) -> Result<(), StreamError> {
        match core.create_stream::<Value>(self.name, &self.config()).await {
            Ok(_) => Ok(()),
            Err(ApiError::Refused { code: code::STREAM_EXISTS, .. }) => {
                check(core, self.name, self.replicas).await
            }
            Err(error) => Err(stream_error(self.name, error)),
        }
    }
}

#[derive(Deserialize)]
struct Info {
    config: Config,
}

#[derive(Deserialize)]
struct Config {
    num_replicas: usize,
    #[serde(default)]
    persist_mode: Option<String>,
}

/// Does a stream that is there keep what it acknowledges as it shall?
pub(super) async fn check(core: &Core, name: &str, replicas: Replicas) -> Result<(), StreamError> {
    let info = core.api::<Info>(&format!("STREAM.INFO.{name}"), &Value::Null).await;
    let config = info.map_err(|error| stream_error(name, error))?.config;
    let refused = |reason: String| Err(StreamError::Refused { what: name.to_owned(), reason });
    let (has, wanted) = (config.num_replicas, replicas.count());
    if has < wanted {
        let copies = if has == 1 { "copy" } else { "copies" };
        return refused(format!(
            "it has {has} {copies}, {wanted} are wanted: change it with `nats stream edit {name} --replicas {wanted}`"
        ));
    }
    if config.persist_mode.as_deref() == Some("async") {
        return refused("it acknowledges before it stores (persist_mode async)".to_owned());
    }
    Ok(())
}
