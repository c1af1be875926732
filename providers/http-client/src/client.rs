//! The provider: check, resolve, take or make a connection, send, hand the response over.

use crate::body::{Download, Loan};
use crate::config::{CaError, Config};
use crate::dial::{Dialer, Sender, resolve};
use crate::message::{prepare, strip};
use crate::pool::Pool;
use crate::target::Target;
use http::{Request, Response};
use hyper::body::Incoming;
use providers_sdk::http::{Allowed, Body, HttpClient};
use providers_sdk::{BoxFuture, CallContext, ProviderError, ProviderErrorKind};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Sends requests out. Dropping it closes its connections.
pub struct OutgoingHttp {
    dialer: Dialer,
    pool: Arc<Pool>,
    connections: Arc<Semaphore>,
    max_connections: usize,
    _going: DropGuard,
}

/// What became of a request on one connection.
enum Sent {
    /// An answer, and the connection that it came by.
    Answered(Box<Response<Incoming>>, Sender),
    /// Nothing was written: the request is still whole.
    Unsent(Box<Request<Body>>, ProviderError),
    /// It may have arrived.
    Lost(ProviderError),
}

impl OutgoingHttp {
    /// With this configuration. Blocks when a file of certificates must be read.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn new(config: &Config) -> Result<Self, CaError> {
        let going = CancellationToken::new();
        let dialer = Dialer {
            tls: Arc::new(config.tls()?),
            connect_timeout: config.connect_timeout,
            tasks: TaskTracker::new(),
            going: going.clone(),
        };
        Ok(Self {
            dialer,
            pool: Arc::new(Pool::new(config.max_idle_per_host, config.idle_timeout)),
            connections: Arc::new(Semaphore::new(config.max_connections)),
            max_connections: config.max_connections,
            _going: going.drop_guard(),
        })
    }

    /// A place for one more connection. Never waits: whoever waits for a place while its own task
    /// stands still would keep it from everyone else.
    fn place(&self) -> Result<OwnedSemaphorePermit, ProviderError> {
        let take = || Arc::clone(&self.connections).try_acquire_owned().ok();
        take()
            .or_else(|| {
                self.pool.clear();
                take()
            })
            .ok_or_else(|| {
                let limit = self.max_connections;
                ProviderError::new(
                    ProviderErrorKind::Limit,
                    format!("outgoing HTTP: too many connections (limit {limit}); raise max_connections"),
                )
            })
    }

    async fn exchange(
        &self,
        cx: &CallContext,
        target: Target,
        addresses: Vec<IpAddr>,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, ProviderError> {
        let mut last = ProviderError::new(ProviderErrorKind::Unreachable, "connection failed: no address");
        for address in addresses {
            let key = (target.clone(), address);
            // A pooled connection may have been closed by its server just now; then the next one.
            loop {
                let pooled = self.pool.take(&key);
                let fresh = pooled.is_none();
                let sender = match pooled {
                    Some(sender) => sender,
                    None => match self.dialer.connect(cx, &target, address, self.place()?).await {
                        Ok(sender) => sender,
                        Err(error) if error.is_unsent() => {
                            last = error;
                            break;
                        }
                        Err(error) => return Err(error),
                    },
                };
                match attempt(cx, sender, request).await {
                    Sent::Answered(response, sender) => {
                        let loan = Loan { pool: Arc::clone(&self.pool), key, sender };
                        return Ok(hand_over(*response, loan));
                    }
                    Sent::Lost(error) => return Err(error),
                    Sent::Unsent(whole, error) => {
                        request = *whole;
                        last = error;
                        if fresh {
                            break;
                        }
                    }
                }
            }
        }
        Err(last)
    }
}

async fn attempt(cx: &CallContext, mut sender: Sender, request: Request<Body>) -> Sent {
    let late = || ProviderError::new(ProviderErrorKind::Timeout, "outgoing HTTP: no answer by the deadline");
    let broken = |error: &hyper::Error| {
        ProviderError::new(ProviderErrorKind::Failed, format!("outgoing HTTP: {error}"))
    };
    let unsent = |error: &hyper::Error| {
        ProviderError::new(ProviderErrorKind::Unreachable, format!("connection failed: {error}"))
    };
    match tokio::time::timeout_at(cx.deadline.into(), sender.ready()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Sent::Unsent(Box::new(request), unsent(&error)),
        Err(_) => return Sent::Lost(ProviderError { kind: ProviderErrorKind::Unreachable, ..late() }),
    }
    match tokio::time::timeout_at(cx.deadline.into(), sender.try_send_request(request)).await {
        Ok(Ok(response)) => Sent::Answered(Box::new(response), sender),
        Ok(Err(mut error)) => match error.take_message() {
            Some(request) => Sent::Unsent(Box::new(request), unsent(error.error())),
            None => Sent::Lost(broken(error.error())),
        },
        Err(_) => Sent::Lost(late()),
    }
}

fn hand_over(response: Response<Incoming>, loan: Loan) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    strip(&mut parts.headers);
    Response::from_parts(parts, Body::new(Download::new(body, loan)))
}

impl HttpClient for OutgoingHttp {
    fn send<'a>(
        &'a self,
        cx: &'a CallContext,
        allowed: &'a Allowed,
        request: Request<Body>,
    ) -> BoxFuture<'a, Result<Response<Body>, ProviderError>> {
        Box::pin(async move {
            let target = Target::of(request.uri())?;
            let reach = target.check(allowed, request.method())?;
            let request = prepare(request, &target)?;
            let addresses = resolve(cx, &target, reach).await?;
            self.exchange(cx, target, addresses, request).await
        })
    }
}
