//! Configuration: `max_bytes` (default 1 GiB), all objects together.

use crate::store::EmbeddedBlobStore;
use lattice_protocol::Report;
use providers_sdk::{BoxFuture, BuildContext, Factory, Provider, ProviderError, ProviderErrorKind, Settings};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The kind, as manifests name it.
pub const KIND: &str = "blobstore-embedded";
const DEFAULT_MAX_BYTES: u64 = 1 << 30;

/// Checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// All objects together.
    pub max_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_bytes: DEFAULT_MAX_BYTES }
    }
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// Every problem.
    pub fn parse(map: &BTreeMap<String, String>) -> Result<Self, Vec<Report>> {
        let mut settings = Settings::new(map);
        let max_bytes = settings.number("max_bytes", DEFAULT_MAX_BYTES, 1..=1 << 50);
        let problems = settings.finish();
        if problems.is_empty() { Ok(Self { max_bytes }) } else { Err(problems) }
    }
}

/// Makes blob stores in a directory.
#[derive(Debug, Clone, Copy, Default)]
pub struct EmbeddedBlobStoreFactory;

impl Factory for EmbeddedBlobStoreFactory {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn check(&self, config: &BTreeMap<String, String>) -> Vec<Report> {
        Config::parse(config).err().unwrap_or_default()
    }

    fn build(&self, context: BuildContext) -> BoxFuture<'_, Result<Provider, ProviderError>> {
        Box::pin(async move {
            let config = Config::parse(&context.config).map_err(invalid)?;
            let failed = |error: tokio::task::JoinError| {
                ProviderError::new(ProviderErrorKind::Failed, format!("opening the blob store: {error}"))
            };
            let opened =
                tokio::task::spawn_blocking(move || EmbeddedBlobStore::open(&context.data_dir, &config));
            Ok(Provider::BlobStore(Arc::new(opened.await.map_err(failed)??)))
        })
    }
}

fn invalid(problems: Vec<Report>) -> ProviderError {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    ProviderError::new(ProviderErrorKind::Invalid, lines.join("\n"))
}
