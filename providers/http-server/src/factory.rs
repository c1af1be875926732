//! Makes HTTP servers from their configuration.

use crate::config::Config;
use crate::listener::HttpListener;
use crate::tls::acceptor;
use lattice_protocol::Report;
use providers_sdk::{BoxFuture, BuildContext, Factory, Provider, ProviderError, ProviderErrorKind};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The kind, as manifests name it.
pub const KIND: &str = "http-server";

/// Makes HTTP servers.
#[derive(Debug, Clone, Copy, Default)]
pub struct HttpServerFactory;

impl Factory for HttpServerFactory {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn check(&self, config: &BTreeMap<String, String>) -> Vec<Report> {
        Config::parse(config).err().unwrap_or_default()
    }

    fn build(&self, context: BuildContext) -> BoxFuture<'_, Result<Provider, ProviderError>> {
        Box::pin(async move {
            let Config { address, tls, limits } = Config::parse(&context.config).map_err(invalid)?;
            let failed = |message: String| ProviderError::new(ProviderErrorKind::Failed, message);
            let tls = match tls {
                None => None,
                Some(files) => Some(
                    tokio::task::spawn_blocking(move || acceptor(&files))
                        .await
                        .map_err(|error| failed(error.to_string()))?
                        .map_err(|error| failed(error.to_string()))?,
                ),
            };
            let listener = HttpListener::bind(address, tls, limits).await?;
            Ok(Provider::HttpServer(Arc::new(listener)))
        })
    }
}

fn invalid(problems: Vec<Report>) -> ProviderError {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    ProviderError::new(ProviderErrorKind::Invalid, lines.join("\n"))
}
