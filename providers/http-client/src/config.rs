//! Configuration.
//!
//! | key | default | meaning |
//! |---|---|---|
//! | `ca_file` | none | PEM file of certificate authorities trusted beside the public ones |
//! | `connect_timeout_ms` | 5000 | for connecting and TLS, to one address |
//! | `max_connections` | 256 | connections at once |
//! | `max_idle_per_host` | 8 | idle connections kept for one host |
//! | `idle_timeout_ms` | 30000 | for how long |

use crate::client::OutgoingHttp;
use lattice_protocol::Report;
use providers_sdk::{BoxFuture, BuildContext, Factory, Provider, ProviderError, ProviderErrorKind, Settings};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The kind, as manifests name it.
pub const KIND: &str = "http-client";

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The file of certificates cannot be read as PEM.
    #[error("outgoing HTTP: ca_file: {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// One of its certificates is none that can be trusted, or TLS cannot be set up at all.
    #[error("outgoing HTTP: TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Trusted beside the public ones.
    pub ca_file: Option<PathBuf>,
    /// For connecting and TLS, to one address.
    pub connect_timeout: Duration,
    /// Connections at once.
    pub max_connections: usize,
    /// Idle connections kept for one host.
    pub max_idle_per_host: usize,
    /// For how long.
    pub idle_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ca_file: None,
            connect_timeout: Duration::from_secs(5),
            max_connections: 256,
            max_idle_per_host: 8,
            idle_timeout: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// Every problem.
    pub fn parse(map: &BTreeMap<String, String>) -> Result<Self, Vec<Report>> {
        let default = Self::default();
        let mut settings = Settings::new(map);
        let config = Self {
            ca_file: settings.text("ca_file").map(PathBuf::from),
            connect_timeout: Duration::from_millis(settings.number("connect_timeout_ms", 5_000, 1..=600_000)),
            max_connections: settings.number("max_connections", default.max_connections, 1..=100_000),
            max_idle_per_host: settings.number("max_idle_per_host", default.max_idle_per_host, 0..=10_000),
            idle_timeout: Duration::from_millis(settings.number("idle_timeout_ms", 30_000, 0..=3_600_000)),
        };
        let problems = settings.finish();
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// TLS 1.2 and 1.3 with ring, the public certificate authorities and those of `ca_file`.
    pub(crate) fn tls(&self) -> Result<ClientConfig, CaError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = &self.ca_file {
            let file = |source| CaError::File { path: path.clone(), source };
            for certificate in CertificateDer::pem_file_iter(path).map_err(file)? {
                roots.add(certificate.map_err(file)?)?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Makes HTTP clients.
#[derive(Debug, Clone, Copy, Default)]
pub struct HttpClientFactory;

impl Factory for HttpClientFactory {
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
            let client = tokio::task::spawn_blocking(move || OutgoingHttp::new(&config))
                .await
                .map_err(|error| failed(error.to_string()))?
                .map_err(|error| failed(error.to_string()))?;
            Ok(Provider::HttpClient(Arc::new(client)))
        })
    }
}

fn invalid(problems: Vec<Report>) -> ProviderError {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    ProviderError::new(ProviderErrorKind::Invalid, lines.join("\n"))
}
