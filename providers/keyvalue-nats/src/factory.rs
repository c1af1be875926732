//! Configuration, all of it optional:
//!
//! | key | means | default |
//! |---|---|---|
//! | `url` (or `cluster_uri`) | another NATS than the lattice's | the lattice's |
//! | `credentials` | text of a `.creds` file for it (give a secret reference) | none |
//! | `ca_file` | PEM file of the authorities for its TLS | the system's |
//! | `replicas` | copies of a new bucket, 1 or 3 | 1 |
//! | `history` | revisions that a new bucket keeps per key, 1..64 | 1 |
//! | `ttl_ms` | age at which values of a new bucket vanish, 0 = never | 0 |
//! | `max_value_bytes` | largest value in a new bucket | 1048576 |
//! | `max_bucket_bytes` | size that the server reserves for a new bucket and holds it to, 0 = what the account may | 0 |

use crate::store::NatsKeyValue;
use lattice_io::nats::{NatsOptions, connect};
use lattice_io::{KvBuckets, KvOptions, Replicas};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{ErrorCode, Report};
use providers_sdk::{BoxFuture, BuildContext, Factory, Provider, ProviderError, ProviderErrorKind, Settings};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The kind, as manifests name it.
pub const KIND: &str = "keyvalue-nats";

/// Checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// A NATS of its own.
    pub server: Option<NatsOptions>,
    /// How buckets are made.
    pub bucket: KvOptions,
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
        let replicas = match settings.number("replicas", 1_u8, 1..=3) {
            2 => {
                settings.problem(
                    Report::new(ErrorCode::Config, "two replicas lose as much as one")
                        .at("replicas")
                        .got(2)
                        .limit("1 or 3"),
                );
                Replicas::One
            }
            3 => Replicas::Three,
            _ => Replicas::One,
        };
        let ttl = settings.number("ttl_ms", 0_u64, 0..=31_536_000_000);
        let max_bytes = settings.number("max_bucket_bytes", 0_u64, 0..=1 << 40);
        let bucket = KvOptions {
            history: settings.number("history", 1, 1..=64),
            max_value: Some(settings.number("max_value_bytes", 1 << 20, 1..=64 << 20)),
            max_bytes: (max_bytes > 0).then_some(max_bytes),
            ttl: (ttl > 0).then(|| Duration::from_millis(ttl)),
            replicas,
        };
        let problems = settings.finish();
        if problems.is_empty() { Ok(Self { server, bucket }) } else { Err(problems) }
    }
}

/// Makes key-value stores on NATS.
pub struct NatsKeyValueFactory {
    buckets: Arc<dyn KvBuckets>,
    subjects: Subjects,
}

impl NatsKeyValueFactory {
    /// Over the buckets of this lattice, unless a configuration names another NATS.
    #[must_use]
    pub fn new(buckets: Arc<dyn KvBuckets>, subjects: Subjects) -> Self {
        Self { buckets, subjects }
    }
}

impl Factory for NatsKeyValueFactory {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn check(&self, config: &BTreeMap<String, String>) -> Vec<Report> {
        Config::parse(config).err().unwrap_or_default()
    }

    fn build(&self, context: BuildContext) -> BoxFuture<'_, Result<Provider, ProviderError>> {
        Box::pin(async move {
            let config = Config::parse(&context.config).map_err(invalid)?;
            let store = match config.server {
                None => NatsKeyValue::new(self.buckets.clone(), self.subjects.clone(), config.bucket),
                Some(mut options) => {
                    options.name = format!("trellis provider {}", context.id);
                    let connection = connect(options).await.map_err(|error| {
                        ProviderError::new(ProviderErrorKind::Unreachable, error.to_string())
                    })?;
                    let buckets = connection.lattice().kv;
                    NatsKeyValue::new(buckets, self.subjects.clone(), config.bucket).keeping(connection)
                }
            };
            Ok(Provider::KeyValue(Arc::new(store)))
        })
    }
}

fn invalid(problems: Vec<Report>) -> ProviderError {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    ProviderError::new(ProviderErrorKind::Invalid, lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_empty_configuration_is_the_lattices_own_nats() {
        let parsed = Config::parse(&config(&[])).unwrap();
        assert!(parsed.server.is_none());
        assert_eq!((parsed.bucket.history, parsed.bucket.replicas), (1, Replicas::One));
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let bad = config(&[("replicas", "2"), ("history", "65"), ("ca_file", "x"), ("bukket", "y")]);
        let problems: Vec<String> =
            Config::parse(&bad).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 4, "{problems:#?}");
        assert!(problems.iter().any(|line| line.contains("two replicas")), "{problems:#?}");
    }

    #[test]
    fn credentials_are_never_shown() {
        let text = "-----BEGIN USER NKEY SEED-----\nSUHUSH";
        let parsed =
            Config::parse(&config(&[("cluster_uri", "nats://far:4222"), ("credentials", text)])).unwrap();
        let shown = format!("{parsed:?}");
        assert!(shown.contains("far:4222") && !shown.contains("SUHUSH"), "{shown}");
    }
}
