//! Making the connection: where, as whom, how protected.

use super::NatsLattice;
use super::core::{Core, Events};
use crate::bus::{BusStatus, SUBSCRIPTION_CAPACITY};
use async_nats::{ConnectErrorKind, ConnectOptions, Event, ServerError};
use lattice_protocol::{DomainName, ErrorCode, Report};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// As whom to connect.
#[derive(Clone, Default)]
pub enum NatsAuth {
    /// As nobody, or as the URL says.
    #[default]
    Anonymous,
    /// A decentralised user: its JWT and its seed (`SU…`).
    Jwt {
        /// The user JWT.
        jwt: String,
        /// The user's seed.
        seed: String,
    },
    /// A decentralised user: the text of its `.creds` file.
    Creds(String),
    /// A bare nkey: its seed (`SU…`).
    Nkey {
        /// The seed.
        seed: String,
    },
    /// A token.
    Token(String),
    /// Name and password.
    Password {
        /// Name.
        user: String,
        /// Password.
        password: String,
    },
}

impl fmt::Debug for NatsAuth {
    /// The kind only: never a secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Jwt { .. } => "Jwt",
            Self::Creds(_) => "Creds",
            Self::Nkey { .. } => "Nkey",
            Self::Token(_) => "Token",
            Self::Password { .. } => "Password",
        })
    }
}

/// TLS: files in PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NatsTls {
    /// Authorities that the server's certificate must come from; none = those of the system.
    pub ca: Option<PathBuf>,
    /// Our certificate and key, for servers that ask for one.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// How to connect.
#[derive(Debug, Clone)]
pub struct NatsOptions {
    /// One or several servers, separated by commas: `nats://host:4222`, `tls://…`.
    pub url: String,
    /// The client's name, in the server's monitoring.
    pub name: String,
    /// As whom.
    pub auth: NatsAuth,
    /// TLS is demanded when this is given (or the URL says `tls://`).
    pub tls: Option<NatsTls>,
    /// First tokens of answer subjects, one's own per user: `_INBOX_<host>`.
    pub inbox_prefix: Option<String>,
    /// JetStream domain to work in, other than the server's own.
    pub domain: Option<DomainName>,
    /// Do not wait for the first connection, but make it in the background, however long it takes.
    pub background: bool,
    /// Time for one connection attempt.
    pub connect_timeout: Duration,
    /// Time for an answer of JetStream.
    pub request_timeout: Duration,
    /// Idle time before the server is pinged; two pings without answer end the connection.
    pub ping_interval: Duration,
}

impl NatsOptions {
    /// Anonymous, in the foreground, with usual times.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            name: "trellis".to_owned(),
            auth: NatsAuth::Anonymous,
            tls: None,
            inbox_prefix: None,
            domain: None,
            background: false,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(5),
        }
    }
}

impl NatsOptions {
    /// From the settings `url` (or `cluster_uri`), `credentials` (text of a `.creds` file) and
    /// `ca_file`, as providers have them; none when no server is named.
    ///
    /// # Errors
    /// `E_CONFIG` when there is something about a server but no server.
    pub fn from_settings<'a>(
        mut text: impl FnMut(&'static str) -> Option<&'a str>,
    ) -> Result<Option<Self>, Report> {
        let (url, alias) = (text("url"), text("cluster_uri"));
        let (credentials, ca) = (text("credentials"), text("ca_file"));
        let Some(url) = url.or(alias) else {
            if credentials.is_some() || ca.is_some() {
                return Err(Report::new(ErrorCode::Config, "credentials or ca_file without a server")
                    .at("url")
                    .hint("give url too, or leave them out"));
            }
            return Ok(None);
        };
        let mut options = Self::new(url);
        if let Some(credentials) = credentials {
            options.auth = NatsAuth::Creds(credentials.to_owned());
        }
        options.tls = ca.map(|ca| NatsTls { ca: Some(ca.into()), client: None });
        Ok(Some(options))
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers there.
    #[error("NATS: connection refused: {server}: {reason}")]
    Refused {
        /// The servers, without credentials.
        server: String,
        /// The operating system's words.
        reason: String,
    },
    /// The server does not know this user.
    #[error("NATS: authorization violation: {server}")]
    Unauthorized {
        /// The servers, without credentials.
        server: String,
    },
    /// TLS did not come about.
    #[error("NATS: TLS failed: {server}: {reason}")]
    Tls {
        /// The servers, without credentials.
        server: String,
        /// The library's words.
        reason: String,
    },
    /// URL, credentials or inbox prefix that cannot be.
    #[error("NATS: invalid {what}: {reason}")]
    Options {
        /// Which option.
        what: &'static str,
        /// What is wrong with it, without secrets.
        reason: String,
    },
}

impl From<ConnectError> for Report {
    fn from(error: ConnectError) -> Self {
        let (code, hint) = match &error {
            ConnectError::Refused { .. } => {
                (ErrorCode::Connection, "check that nats-server runs there and that CLUSTER_URI names it")
            }
            ConnectError::Unauthorized { .. } => {
                (ErrorCode::Denied, "check the credentials of this NATS user")
            }
            ConnectError::Tls { .. } => {
                (ErrorCode::Connection, "check the CA, the certificate and the host name")
            }
            ConnectError::Options { .. } => (ErrorCode::Config, "correct it in the configuration"),
        };
        Self::new(code, error.to_string()).hint(hint)
    }
}

/// Connects. With [`NatsOptions::background`] it returns at once, disconnected as yet.
///
/// # Errors
/// [`ConnectError`]; with `background` only [`ConnectError::Options`].
pub async fn connect(options: NatsOptions) -> Result<Arc<NatsLattice>, ConnectError> {
    let servers = parse_servers(&options.url)?;
    let server = servers.iter().map(redacted).collect::<Vec<_>>().join(",");
    let events = Arc::new(Events::new());
    let client = client_options(&options, &events)?
        .connect(servers)
        .await
        .map_err(|error| refused(&server, &error))?;
    if !options.background {
        events.set(BusStatus::Connected);
    }
    Ok(Arc::new(NatsLattice::new(Arc::new(Core::new(client, events, server, &options)))))
}

fn client_options(options: &NatsOptions, events: &Arc<Events>) -> Result<ConnectOptions, ConnectError> {
    let mut client = authenticated(&options.auth)?
        .name(&options.name)
        .connection_timeout(options.connect_timeout)
        .request_timeout(Some(options.request_timeout))
        .ping_interval(options.ping_interval)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .reconnect_delay_callback(reconnect_pause)
        .event_callback({
            let events = events.clone();
            move |event| {
                on_event(&events, &event);
                std::future::ready(())
            }
        });
    if let Some(prefix) = &options.inbox_prefix {
        crate::bus::check_subject(prefix, false)
            .map_err(|error| ConnectError::Options { what: "inbox prefix", reason: error.to_string() })?;
        client = client.custom_inbox_prefix(prefix);
    }
    if let Some(tls) = &options.tls {
        client = client.require_tls(true);
        if let Some(ca) = &tls.ca {
            client = client.add_root_certificates(ca.clone());
        }
        if let Some((certificate, key)) = &tls.client {
            client = client.add_client_certificate(certificate.clone(), key.clone());
        }
    }
    Ok(if options.background { client.retry_on_initial_connect() } else { client })
}

fn authenticated(auth: &NatsAuth) -> Result<ConnectOptions, ConnectError> {
    let options = ConnectOptions::new();
    Ok(match auth {
        NatsAuth::Anonymous => options,
        NatsAuth::Jwt { jwt, seed } => from_creds(&format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        ))?,
        NatsAuth::Creds(creds) => from_creds(creds)?,
        NatsAuth::Nkey { seed } => options.nkey(seed.clone()),
        NatsAuth::Token(token) => options.token(token.clone()),
        NatsAuth::Password { user, password } => options.user_and_password(user.clone(), password.clone()),
    })
}

/// From the text of a `.creds` file; no part of it is shown.
fn from_creds(creds: &str) -> Result<ConnectOptions, ConnectError> {
    ConnectOptions::with_credentials(creds).map_err(|_| ConnectError::Options {
        what: "credentials",
        reason: "want the text of a .creds file: a user JWT and its seed (SU…)".to_owned(),
    })
}

fn parse_servers(urls: &str) -> Result<Vec<async_nats::ServerAddr>, ConnectError> {
    let parse = |url: &str| {
        // The text is not shown: it may hold a password.
        url.trim().parse::<async_nats::ServerAddr>().map_err(|_| ConnectError::Options {
            what: "URL",
            reason: "want nats://host:port, several separated by commas".to_owned(),
        })
    };
    urls.split(',').map(parse).collect()
}

fn redacted(server: &async_nats::ServerAddr) -> String {
    format!("{}://{}:{}", server.scheme(), server.host(), server.port())
}

fn refused(server: &str, error: &async_nats::ConnectError) -> ConnectError {
    let server = server.to_owned();
    let reason = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    match error.kind() {
        ConnectErrorKind::ServerParse => ConnectError::Options { what: "URL", reason },
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            ConnectError::Unauthorized { server }
        }
        ConnectErrorKind::Tls => ConnectError::Tls { server, reason },
        ConnectErrorKind::Dns
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => ConnectError::Refused { server, reason },
    }
}

/// The pause before a reconnection: soon at first, up to 4 s, jittered so that many clients of one
/// server do not come back in the same moment.
fn reconnect_pause(attempt: usize) -> Duration {
    let doubled = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(10);
    let longest = Duration::from_millis(50).saturating_mul(1 << doubled).min(Duration::from_secs(4));
    let random = u64::from(getrandom::u32().unwrap_or(0));
    let millis = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(millis / 2 + millis * random / (2 * u64::from(u32::MAX)))
}

fn on_event(events: &Events, event: &Event) {
    match event {
        Event::Connected => events.set(BusStatus::Connected),
        Event::Disconnected => events.set(BusStatus::Disconnected),
        Event::Closed => events.set(BusStatus::Closed),
        Event::SlowConsumer(id) => tracing::warn!(subscription = id, "slow subscription: messages dropped"),
        Event::ServerError(ServerError::Other(text)) => events.server_error(text),
        Event::ServerError(error) => tracing::error!(%error, "NATS"),
        // The client goes on trying; what will not get better by itself is said aloud.
        Event::ClientError(error) if error.to_string().contains("authorization") => {
            tracing::error!(%error, "NATS: this user is not let in");
        }
        Event::ClientError(error) => tracing::debug!(%error, "NATS: connection attempt failed"),
        Event::LameDuckMode | Event::Draining => tracing::info!(%event, "NATS"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let mut options = NatsOptions::new("nats://localhost");
        options.auth = NatsAuth::Password { user: "u".to_owned(), password: "hush".to_owned() };
        assert!(!format!("{options:?}").contains("hush"));
        let servers = parse_servers("nats://u:hush@localhost:4222, tls://b:1").unwrap();
        let shown: Vec<String> = servers.iter().map(redacted).collect();
        assert_eq!(shown, ["nats://localhost:4222", "tls://b:1"]);
        assert!(!parse_servers("http://u:hush@").unwrap_err().to_string().contains("hush"));
    }

    #[test]
    fn pauses_grow_to_four_seconds_and_differ() {
        for attempt in [0, 1, 2, 5, 100] {
            let pause = reconnect_pause(attempt);
            assert!(
                pause >= Duration::from_millis(25) && pause <= Duration::from_secs(4),
                "{attempt} {pause:?}"
            );
        }
        assert!(reconnect_pause(100) >= Duration::from_secs(2));
    }
}
