//! The listener: binds, accepts, turns away what is too much, hands out routes.

use crate::connection::{Setup, serve};
use crate::limits::Limits;
use crate::port_owner::owner;
use crate::refusal::Refusal;
use crate::routes::{Gate, RouteError};
use crate::shared::Shared;
use http::uri::Authority;
use providers_sdk::http::{HttpHandler, HttpServer, Route, RouteRequest};
use providers_sdk::{BoxFuture, ProviderError, ProviderErrorKind};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 4_096;
/// A predecessor on the same port that is being dropped needs a moment.
const BIND_TRIES: u32 = 20;
const BIND_PAUSE: Duration = Duration::from_millis(50);
/// After a failed accept (usually: no more file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else has the port.
    #[error("HTTP server: port taken: {address} (taken by {owner}); choose another port or stop it")]
    Taken {
        /// Where.
        address: SocketAddr,
        /// `pid 123 (nginx)`, or why that is not known.
        owner: String,
    },
    /// Anything else.
    #[error("HTTP server: cannot listen: {address}: {source}")]
    Io {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

impl From<BindError> for ProviderError {
    fn from(error: BindError) -> Self {
        let kind = match error {
            BindError::Taken { .. } => ProviderErrorKind::Conflict,
            BindError::Io { .. } => ProviderErrorKind::Failed,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<RouteError> for ProviderError {
    fn from(error: RouteError) -> Self {
        let kind = match error {
            RouteError::Taken { .. } => ProviderErrorKind::Conflict,
            RouteError::Path(_) | RouteError::Host(_) => ProviderErrorKind::Invalid,
            RouteError::TooMany => ProviderErrorKind::Limit,
        };
        Self::new(kind, error.to_string())
    }
}

/// A running HTTP server. Dropping it closes the port at once, and its connections when what they
/// have in hand is answered, or after [`Limits::drain`].
pub struct HttpListener {
    shared: Arc<Shared>,
    address: SocketAddr,
    going: CancellationToken,
    tasks: TaskTracker,
}

impl Drop for HttpListener {
    fn drop(&mut self) {
        self.going.cancel();
    }
}

impl HttpListener {
    /// Binds and begins to accept; `tls` makes it HTTPS.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn bind(
        address: SocketAddr,
        tls: Option<TlsAcceptor>,
        limits: Limits,
    ) -> Result<Self, BindError> {
        let failed = |source| BindError::Io { address, source };
        let listener = listen(address).await?;
        let bound = listener.local_addr().map_err(failed)?;
        let local = Authority::try_from(bound.to_string())
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let shared = Arc::new(Shared::new(limits));
        let going = CancellationToken::new();
        let tasks = TaskTracker::new();
        let setup =
            Setup { shared: Arc::clone(&shared), tls, local, going: going.clone(), tasks: tasks.clone() };
        tasks.spawn(accept(listener, setup));
        Ok(Self { shared, address: bound, going, tasks })
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, BindError> {
    let failed = |source| BindError::Io { address, source };
    let mut tries = 0;
    loop {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let socket = socket.map_err(failed)?;
        // Past connections in TIME_WAIT are no reason to wait a minute after a restart.
        socket.set_reuseaddr(true).map_err(failed)?;
        match socket.bind(address).and_then(|()| socket.listen(BACKLOG)) {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => return Err(failed(error)),
            Err(_) if tries < BIND_TRIES => tokio::time::sleep(BIND_PAUSE).await,
            Err(_) => {
                let owner = tokio::task::spawn_blocking(move || owner(address.port())).await;
                let owner = owner.unwrap_or_else(|error| error.to_string());
                return Err(BindError::Taken { address, owner });
            }
        }
        tries += 1;
    }
}

async fn accept(listener: TcpListener, setup: Setup) {
    loop {
        let accepted = tokio::select! {
            () = setup.going.cancelled() => return take_rest(listener, &setup),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => admit(&setup, socket, peer),
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whoever has connected is served: what the kernel still holds when a port is closed is reset, and
/// its requests with it.
fn take_rest(listener: TcpListener, setup: &Setup) {
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((socket, peer)) = listener.accept() {
        let socket = socket.set_nonblocking(true).and_then(|()| TcpStream::from_std(socket));
        match socket {
            Ok(socket) => admit(setup, socket, peer),
            Err(error) => tracing::debug!(%error, "connection lost"),
        }
    }
}

fn admit(setup: &Setup, socket: TcpStream, peer: SocketAddr) {
    match setup.shared.seat(peer.ip()) {
        Some(seat) => {
            let setup = setup.clone();
            setup.tasks.clone().spawn(async move {
                serve(setup, socket).await;
                drop(seat);
            });
        }
        None => {
            tracing::debug!(%peer, "too many connections");
            if setup.tls.is_none() {
                // A new socket has room for one line; if not, the end says enough.
                let _ = socket.try_write(Refusal::CONNECTIONS);
            }
        }
    }
}

/// A route in force.
struct InForce {
    shared: Arc<Shared>,
    gate: Arc<Gate>,
}

impl Route for InForce {
    fn drain(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.gate.drain())
    }
}

impl Drop for InForce {
    fn drop(&mut self) {
        self.shared.remove_route(&self.gate);
    }
}

impl HttpServer for HttpListener {
    fn add_route(
        &self,
        route: RouteRequest,
        handler: Arc<dyn HttpHandler>,
    ) -> BoxFuture<'_, Result<Box<dyn Route>, ProviderError>> {
        Box::pin(async move {
            let gate = self.shared.add_route(&route, handler)?;
            Ok(Box::new(InForce { shared: Arc::clone(&self.shared), gate }) as Box<dyn Route>)
        })
    }

    fn local_address(&self) -> SocketAddr {
        self.address
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.going.cancel();
            self.tasks.close();
            self.tasks.wait().await;
        })
    }
}
