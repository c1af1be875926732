//! Configuration, all of it optional:
//!
//! | key | means | default |
//! |---|---|---|
//! | `url` (or `cluster_uri`) | another NATS than the lattice's | the lattice's |
//! | `credentials` | text of a `.creds` file for it (give a secret reference) | none |
//! | `ca_file` | PEM file of the authorities for its TLS | the system's |
//! | `streams` | streams to make if they are not there: `ORDERS=orders.> returns.>, AUDIT=audit.>` | none |

use crate::messaging::LatticeMessaging;
use lattice_io::nats::{NatsOptions, connect};
use lattice_io::{Lattice, StreamOptions, Streams, TaskScope};
use lattice_protocol::name::is_token;
use lattice_protocol::subject::check_subject;
use lattice_protocol::{ErrorCode, Report};
use providers_sdk::{BoxFuture, BuildContext, Factory, Provider, ProviderError, ProviderErrorKind, Settings};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The kind, as manifests name it.
pub const KIND: &str = "messaging-nats";

/// A stream that a configuration asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSpec {
    /// Its name.
    pub name: String,
    /// What it stores.
    pub subjects: Vec<String>,
}

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

impl StreamSpec {
    /// Reads the setting `streams`; problems go into the settings.
    pub fn read(settings: &mut Settings<'_>) -> Vec<Self> {
        let mut streams = Vec::new();
        for item in settings.list("streams") {
            match Self::parse(&item) {
                Ok(stream) => streams.push(stream),
                Err(problem) => settings.problem(problem.at(format_args!("streams: {item}"))),
            }
        }
        streams
    }

    fn parse(item: &str) -> Result<Self, Report> {
        let wanted = || Report::new(ErrorCode::Config, "want NAME=subject, several subjects with spaces");
        let (name, subjects) = item.split_once('=').ok_or_else(wanted)?;
        let subjects: Vec<String> = subjects.split_whitespace().map(str::to_owned).collect();
        if !is_token(name.trim()) || subjects.is_empty() {
            return Err(wanted());
        }
        subjects.iter().try_for_each(|subject| check_subject(subject, true))?;
        Ok(Self { name: name.trim().to_owned(), subjects })
    }
}

/// Makes the streams that are not there.
///
/// # Errors
/// The server's refusal, or that it cannot be reached.
pub async fn ensure_streams(streams: &dyn Streams, wanted: &[StreamSpec]) -> Result<(), ProviderError> {
    for stream in wanted {
        let options = StreamOptions::new(&stream.name, stream.subjects.clone());
        streams.ensure(options).await.map_err(crate::messaging::stream_failed)?;
    }
    Ok(())
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
            ensure_streams(messaging.streams(), &config.streams).await?;
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
mod tests {
    use super::*;

    fn parse(streams: &str) -> Result<Config, Vec<Report>> {
        Config::parse(&BTreeMap::from([("streams".to_owned(), streams.to_owned())]))
    }

    #[test]
    fn streams_are_read_with_their_subjects() {
        let config = parse("ORDERS=orders.> returns.*, AUDIT=audit.x").unwrap();
        let named = |name: &str, subjects: &[&str]| StreamSpec {
            name: name.to_owned(),
            subjects: subjects.iter().map(|subject| (*subject).to_owned()).collect(),
        };
        assert_eq!(
            config.streams,
            [named("ORDERS", &["orders.>", "returns.*"]), named("AUDIT", &["audit.x"])]
        );
        assert!(Config::parse(&BTreeMap::new()).unwrap().streams.is_empty());
    }

    #[test]
    fn a_stream_over_the_servers_or_the_lattices_own_subjects_is_refused() {
        for bad in ["X=$JS.API.>", "X=trellis.>", "X=>", "X", "=a", "a.b=c", "X=", "X=_INBOX.>"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let problems = parse("X=>, Y").unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:#?}");
    }
}
