//! Configuration: `memory` (default false) and `max_bytes` (default 64 MiB).

use crate::store::EmbeddedKeyValue;
use lattice_protocol::Report;
use providers_sdk::{BoxFuture, BuildContext, Factory, Provider, ProviderError, ProviderErrorKind, Settings};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The kind, as manifests name it.
pub const KIND: &str = "keyvalue-embedded";
/// 64 MiB: fits the smallest gateway beside everything else.
const DEFAULT_MAX_BYTES: u64 = 64 << 20;
const MIN_MAX_BYTES: u64 = 64 << 10;
const MAX_MAX_BYTES: u64 = 64 << 30;

/// Checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Keep nothing on disk.
    pub memory: bool,
    /// Memory for keys and values, 96 bytes of overhead an entry included.
    pub max_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { memory: false, max_bytes: DEFAULT_MAX_BYTES }
    }
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// Every problem.
    pub fn parse(map: &BTreeMap<String, String>) -> Result<Self, Vec<Report>> {
        let mut settings = Settings::new(map);
        let config = Self {
            memory: settings.flag("memory", false),
            max_bytes: settings.number("max_bytes", DEFAULT_MAX_BYTES, MIN_MAX_BYTES..=MAX_MAX_BYTES),
        };
        let problems = settings.finish();
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }
}

/// Makes embedded key-value stores.
#[derive(Debug, Clone, Copy, Default)]
pub struct EmbeddedKeyValueFactory;

impl Factory for EmbeddedKeyValueFactory {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn check(&self, config: &BTreeMap<String, String>) -> Vec<Report> {
        Config::parse(config).err().unwrap_or_default()
    }

    fn build(&self, context: BuildContext) -> BoxFuture<'_, Result<Provider, ProviderError>> {
        Box::pin(async move {
            let config = Config::parse(&context.config).map_err(invalid)?;
            let failed = |message| ProviderError::new(ProviderErrorKind::Failed, message);
            let opened =
                tokio::task::spawn_blocking(move || EmbeddedKeyValue::open(&context.data_dir, &config));
            let store = opened
                .await
                .map_err(|error| failed(format!("opening the key-value store: {error}")))?
                .map_err(|error| failed(error.to_string()))?;
            Ok(Provider::KeyValue(Arc::new(store)))
        })
    }
}

fn invalid(problems: Vec<Report>) -> ProviderError {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    ProviderError::new(ProviderErrorKind::Invalid, lines.join("\n"))
}
