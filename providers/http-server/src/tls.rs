//! The TLS half of a listener: certificate and key from PEM files, TLS 1.2 and 1.3 with ring,
//! HTTP/2 offered by ALPN.

use crate::config::TlsFiles;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem};
use std::path::PathBuf;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read as PEM.
    #[error("HTTP server: TLS file: {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// Certificate and key do not go together, or are of a kind that is not supported.
    #[error("HTTP server: TLS certificate: {}: {source}", path.display())]
    Certificate {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// Reads the files. Blocks.
///
/// # Errors
/// [`TlsError`].
pub fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let file = |path: &PathBuf, source| TlsError::File { path: path.clone(), source };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| file(&files.certificate, source))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|source| file(&files.key, source))?;
    let certificate = |source| TlsError::Certificate { path: files.certificate.clone(), source };
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(certificate)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(certificate)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
