//! Making a connection: resolve, leave out what is not allowed, connect to what is left, in order.

use crate::target::{Reach, Target};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use providers_sdk::http::Body;
use providers_sdk::{CallContext, ProviderError, ProviderErrorKind};
use rustls_pki_types::ServerName;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;
/// What a connection buffers of a response's head.
const HEAD_BYTES: usize = 64 << 10;

/// A connection to send requests over, one at a time.
pub(crate) type Sender = SendRequest<Body>;

/// Makes connections.
pub(crate) struct Dialer {
    pub(crate) tls: Arc<rustls::ClientConfig>,
    pub(crate) connect_timeout: Duration,
    pub(crate) tasks: TaskTracker,
    pub(crate) going: CancellationToken,
}

fn unreachable(target: &Target, why: impl std::fmt::Display) -> ProviderError {
    let message = format!("connection failed: {}: {why}", target.authority());
    ProviderError::new(ProviderErrorKind::Unreachable, message)
}

/// The addresses of a target that may be connected to, in the resolver's order.
///
/// # Errors
/// `Unreachable` when there is none, `Denied` when none is allowed.
pub(crate) async fn resolve(
    cx: &CallContext,
    target: &Target,
    reach: Reach,
) -> Result<Vec<IpAddr>, ProviderError> {
    let found: Vec<IpAddr> = match target.literal() {
        Some(address) => vec![address],
        None => timeout_at(cx.deadline.into(), lookup_host((target.host.as_str(), target.port)))
            .await
            .map_err(|_| unreachable(target, "name not resolved by the deadline"))?
            .map_err(|error| unreachable(target, error))?
            .map(|address| address.ip())
            .collect(),
    };
    if found.is_empty() {
        return Err(unreachable(target, "the name has no address"));
    }
    let mut admitted = reach.admit(&target.host, found)?;
    admitted.truncate(MAX_ADDRESSES);
    Ok(admitted)
}

impl Dialer {
    /// Connects to one address; the permit is held for as long as the connection lives.
    ///
    /// # Errors
    /// `Unreachable`; `Failed` when the other side's certificate does not hold.
    pub(crate) async fn connect(
        &self,
        cx: &CallContext,
        target: &Target,
        address: IpAddr,
        permit: OwnedSemaphorePermit,
    ) -> Result<Sender, ProviderError> {
        let deadline = Instant::from_std(cx.deadline).min(Instant::now() + self.connect_timeout);
        let late = |_| unreachable(target, "no connection in time");
        let socket = timeout_at(deadline, TcpStream::connect(SocketAddr::new(address, target.port)))
            .await
            .map_err(late)?
            .map_err(|error| unreachable(target, error))?;
        socket.set_nodelay(true).map_err(|error| unreachable(target, error))?;
        if !target.tls {
            return self.handshake(target, socket, permit).await;
        }
        let name = ServerName::try_from(target.host.clone()).map_err(|_| {
            ProviderError::new(ProviderErrorKind::Invalid, "outgoing HTTP: host is no TLS name")
        })?;
        let connecting = TlsConnector::from(Arc::clone(&self.tls)).connect(name, socket);
        let stream = timeout_at(deadline, connecting).await.map_err(late)?.map_err(|error| {
            match error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
                true => ProviderError::new(
                    ProviderErrorKind::Failed,
                    format!("TLS failed: {}: {error}", target.authority()),
                ),
                false => unreachable(target, error),
            }
        })?;
        self.handshake(target, stream, permit).await
    }

    async fn handshake(
        &self,
        target: &Target,
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        permit: OwnedSemaphorePermit,
    ) -> Result<Sender, ProviderError> {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES)
            .handshake(TokioIo::new(io))
            .await
            .map_err(|error| unreachable(target, error))?;
        let going = self.going.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                result = connection => {
                    if let Err(error) = result {
                        tracing::debug!(%error, "outgoing connection ended");
                    }
                }
                () = going.cancelled() => {}
            }
            drop(permit);
        });
        Ok(sender)
    }
}
