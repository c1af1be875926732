//! Configuration.
//!
//! | key | default | meaning |
//! |---|---|---|
//! | `url` | `redis://127.0.0.1:6379/` | `redis://` or `rediss://` (TLS), with database and `?protocol=resp2` if need be |
//! | `username`, `password` | none | over what the URL says; give them by `secretRef` |
//! | `prefix` | the application's name | before every key; share one prefix to share keys |

use crate::store::RedisKeyValue;
use lattice_protocol::{ErrorCode, Report};
use providers_sdk::{BoxFuture, BuildContext, Factory, Provider, ProviderError, ProviderErrorKind, Settings};
use redis::{ConnectionInfo, IntoConnectionInfo, ProtocolVersion};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The kind, as manifests name it.
pub const KIND: &str = "keyvalue-redis";
const DEFAULT_URL: &str = "redis://127.0.0.1:6379/";
const MAX_PREFIX_BYTES: usize = 64;

/// Checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) server: ConnectionInfo,
    pub(crate) prefix: String,
}

impl Config {
    /// Reads a configuration; `app` is the default prefix.
    ///
    /// # Errors
    /// Every problem. The URL itself is never shown: it may hold a password.
    pub fn parse(map: &BTreeMap<String, String>, app: &str) -> Result<Self, Vec<Report>> {
        let mut settings = Settings::new(map);
        let url = settings.text_or("url", DEFAULT_URL);
        let username = settings.text("username");
        let password = settings.text("password");
        let prefix = settings.text("prefix").unwrap_or(app).to_owned();
        if prefix.is_empty() || prefix.len() > MAX_PREFIX_BYTES || prefix.chars().any(char::is_control) {
            settings.problem(
                Report::new(ErrorCode::Config, "not a prefix")
                    .at("prefix")
                    .got(format!("{} bytes", prefix.len()))
                    .limit(format!("1..{MAX_PREFIX_BYTES} bytes without control characters")),
            );
        }
        let server = url.into_connection_info().map(|info| with_user(info, url, username, password));
        if let Err(error) = &server {
            settings.problem(
                Report::new(ErrorCode::Config, format!("not a Redis URL: {}", error.category()))
                    .at("url")
                    .limit("redis://host:port/database"),
            );
        }
        match (settings.finish(), server) {
            (problems, Ok(server)) if problems.is_empty() => Ok(Self { server, prefix }),
            (problems, _) => Err(problems),
        }
    }
}

fn with_user(
    info: ConnectionInfo,
    url: &str,
    username: Option<&str>,
    password: Option<&str>,
) -> ConnectionInfo {
    let mut user = info.redis_settings().clone();
    if let Some(username) = username {
        user = user.set_username(username);
    }
    if let Some(password) = password {
        user = user.set_password(password);
    }
    if !url.contains("protocol=") {
        // Only RESP3 tells at once that a connection is lost.
        user = user.set_protocol(ProtocolVersion::RESP3);
    }
    info.set_redis_settings(user)
}

/// Makes key-value stores on Redis.
#[derive(Debug, Clone, Copy, Default)]
pub struct RedisKeyValueFactory;

impl Factory for RedisKeyValueFactory {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn check(&self, config: &BTreeMap<String, String>) -> Vec<Report> {
        Config::parse(config, "app").err().unwrap_or_default()
    }

    /// Connects on first use: a server that is down does not keep its applications from starting.
    fn build(&self, context: BuildContext) -> BoxFuture<'_, Result<Provider, ProviderError>> {
        Box::pin(async move {
            let config = Config::parse(&context.config, context.id.app.as_str()).map_err(invalid)?;
            Ok(Provider::KeyValue(Arc::new(RedisKeyValue::new(config)?)))
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

    fn parse(pairs: &[(&str, &str)]) -> Result<Config, Vec<Report>> {
        let map = pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        Config::parse(&map, "shop")
    }

    #[test]
    fn the_application_is_the_prefix_and_secrets_come_beside_the_url() {
        let config = parse(&[("url", "redis://cache:7000/2"), ("password", "hunter2")]).unwrap();
        assert_eq!(config.prefix, "shop");
        assert_eq!(config.server.addr().to_string(), "cache:7000");
        assert_eq!(config.server.redis_settings().password(), Some("hunter2"));
        assert_eq!(config.server.redis_settings().db(), 2);
    }

    #[test]
    fn problems_come_all_at_once_and_never_with_the_url() {
        let problems = parse(&[("url", "http://:hunter2@x/"), ("prefix", ""), ("pasword", "x")]).unwrap_err();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(!format!("{problems:?}").contains("hunter2"));
    }
}
