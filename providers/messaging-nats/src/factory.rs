//! Configuration, all of it optional:
//!
//! | key | means | default |
//! |---|---|---|
//! | `url` (or `cluster_uri`) | another NATS than the lattice's | the lattice's |
//! | `credentials` | text of a `.creds` file for it (give a secret reference) | none |
//! | `ca_file` | PEM file of the authorities for its TLS | the system's |
//! | `streams` | streams to make if they are not there: `ORDERS=orders.> returns.>, AUDIT=audit.>` | none |

use lattice_io::nats::{NatsOptions, connect};
use lattice_io::{Lattice, TaskScope};
use lattice_protocol::Report;
use providers_sdk::over_lattice::{LatticeMessaging, StreamSpec};
use providers_sdk::{BoxFuture, BuildContext, Factory, Provider, ProviderError, ProviderErrorKind, Settings};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The kind, as manifests name it.
pub const KIND: &str = "messaging-nats";

/// Checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// A NATS of its own.
    pub server: Option<NatsOptions>,
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
        let server = NatsOptions::from_settings(|key| settings.text(key)).unwrap_or_else(|problem| {
            settings.problem(problem);
            None
        });
        let streams = StreamSpec::read(&mut settings);
        let problems = settings.finish();
        if problems.is_empty() { Ok(Self { server, streams }) } else { Err(problems) }
    }
}

/// Makes messaging on NATS.
pub struct NatsMessagingFactory {
    lattice: Lattice,
    scope: TaskScope,
}

impl NatsMessagingFactory {
    /// Over this lattice, unless a configuration names another NATS; tasks run in `scope`.
    #[must_use]
    pub fn new(lattice: Lattice, scope: TaskScope) -> Self {
        Self { lattice, scope }
    }
}

impl Factory for NatsMessagingFactory {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn check(&self, config: &BTreeMap<String, String>) -> Vec<Report> {
        Config::parse(config).err().unwrap_or_default()
    }

    fn build(&self, context: BuildContext) -> BoxFuture<'_, Result<Provider, ProviderError>> {
        Box::pin(async move {
            let config = Config::parse(&context.config).map_err(invalid)?;
            let scope = self.scope.child(&context.id);
            let messaging = match config.server {
                None => LatticeMessaging::new(&self.lattice, scope),
                Some(mut options) => {
                    options.name = format!("trellis provider {}", context.id);
                    let connection = connect(options).await.map_err(|error| {
                        ProviderError::new(ProviderErrorKind::Unreachable, error.to_string())
                    })?;
                    LatticeMessaging::new(&connection.lattice(), scope).keeping(connection)
                }
            };
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
