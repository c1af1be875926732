//! Messaging inside one process: no server, nothing survives the process.
//!
//! Each provider is a bus of its own, so applications do not hear each other; all actors linked to
//! one provider meet on it. What a message goes through is [`providers_sdk::over_lattice`], as in
//! `messaging-nats`: the same groups, hands, durable consumers and errors.
//!
//! Configuration, all of it optional:
//!
//! | key | means | default |
//! |---|---|---|
//! | `max_payload_bytes` | largest message, headers and body | 1048576 |
//! | `streams` | streams to make: `ORDERS=orders.> returns.>, AUDIT=audit.>` | none |

use lattice_io::TaskScope;
use lattice_io::memory::{DEFAULT_MAX_PAYLOAD, Memory};
use lattice_protocol::Report;
use providers_sdk::over_lattice::{LatticeMessaging, StreamSpec};
use providers_sdk::{BoxFuture, BuildContext, Factory, Provider, ProviderError, ProviderErrorKind, Settings};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The kind, as manifests name it.
pub const KIND: &str = "messaging-embedded";
/// Bounds of `max_payload_bytes`.
const PAYLOAD_BYTES: std::ops::RangeInclusive<usize> = 1_024..=64 << 20;

/// Checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Largest message, bytes.
    pub max_payload: usize,
    /// Streams to make.
    pub streams: Vec<StreamSpec>,
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// Every problem.
    pub fn parse(map: &BTreeMap<String, String>) -> Result<Self, Vec<Report>> {
        let mut settings = Settings::new(map);
        let config = Self {
            max_payload: settings.number("max_payload_bytes", DEFAULT_MAX_PAYLOAD, PAYLOAD_BYTES),
            streams: StreamSpec::read(&mut settings),
        };
        let problems = settings.finish();
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }
}

/// Makes in-process messaging.
#[derive(Debug, Clone)]
pub struct EmbeddedMessagingFactory {
    scope: TaskScope,
}

impl EmbeddedMessagingFactory {
    /// Tasks run in `scope`.
    #[must_use]
    pub fn new(scope: TaskScope) -> Self {
        Self { scope }
    }
}

impl Factory for EmbeddedMessagingFactory {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn check(&self, config: &BTreeMap<String, String>) -> Vec<Report> {
        Config::parse(config).err().unwrap_or_default()
    }

    fn build(&self, context: BuildContext) -> BoxFuture<'_, Result<Provider, ProviderError>> {
        Box::pin(async move {
            let config = Config::parse(&context.config).map_err(invalid)?;
            let lattice = Memory::with_max_payload(config.max_payload).lattice();
            let messaging = LatticeMessaging::new(&lattice, self.scope.child(&context.id));
            messaging.ensure_streams(&config.streams).await?;
            Ok(Provider::Messaging(Arc::new(messaging)))
        })
    }
}

/// Every problem of a configuration as one error.
fn invalid(problems: Vec<Report>) -> ProviderError {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    ProviderError::new(ProviderErrorKind::Invalid, lines.join("\n"))
}

#[cfg(test)]
mod tests;
