//! The connection: made by whoever needs it first, shared by all, replaced when it is lost.
//!
//! ```text
//! not begun ──first use──► connecting ──► live ──lost (the server's end, or a failed command)──► not begun
//!                              └──────────► failed: everyone who waited is told, the next use begins anew
//! ```
//!
//! Connecting and commanding are kept apart, because only a failure to connect is known to have
//! sent nothing. No lock is held while waiting: the attempt is a shared future.

use arc_swap::ArcSwap;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use providers_sdk::{CallContext, ProviderError, ProviderErrorKind};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, PushInfo, PushKind, RedisError, ServerErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// For one attempt to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Commands that wait to be written.
const PIPELINE_COMMANDS: usize = 1_024;

/// A connection and whether it is known to be lost.
#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    lost: Arc<AtomicBool>,
}

type Attempt = Shared<BoxFuture<'static, Result<Live, RedisError>>>;

/// The connection to one server.
pub(crate) struct Connection {
    client: Client,
    /// Where to, without credentials.
    address: String,
    current: ArcSwap<Attempt>,
}

fn attempt(client: Client) -> Attempt {
    async move {
        let lost = Arc::new(AtomicBool::new(false));
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            // Each call has a deadline of its own.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(PIPELINE_COMMANDS);
        if client.get_connection_info().redis_settings().protocol() == redis::ProtocolVersion::RESP3 {
            let lost = Arc::clone(&lost);
            config = config.set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    lost.store(true, Ordering::Release);
                }
                Ok::<_, redis::aio::SendError>(())
            });
        }
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Live { connection, lost })
    }
    .boxed()
    .shared()
}

impl Connection {
    /// To this server, not yet connected.
    pub(crate) fn new(client: Client) -> Self {
        let address = client.get_connection_info().addr().to_string();
        let current = ArcSwap::from_pointee(attempt(client.clone()));
        Self { client, address, current }
    }

    /// Runs one command.
    ///
    /// # Errors
    /// `Unreachable` when none was sent, `Timeout` when it may have been carried out, and what the
    /// server says.
    pub(crate) async fn run<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        cx: &CallContext,
        command: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, ProviderError> {
        let (attempt, live) = match self.live() {
            Some(found) => found,
            None => tokio::time::timeout_at(cx.deadline.into(), self.connected())
                .await
                .map_err(|_| self.unreachable("not connected by the deadline"))??,
        };
        cx.bounded("Redis", async {
            command(live.connection).await.map_err(|error| {
                if error.is_unrecoverable_error() || error.is_connection_dropped() {
                    self.replace(&attempt);
                }
                self.failed(&error)
            })
        })
        .await
    }

    /// What nearly every command finds: a connection that nobody has to wait for.
    fn live(&self) -> Option<(Arc<Attempt>, Live)> {
        let current = self.current.load_full();
        let live = current.peek()?.as_ref().ok().filter(|live| !live.lost.load(Ordering::Acquire))?.clone();
        Some((current, live))
    }

    async fn connected(&self) -> Result<(Arc<Attempt>, Live), ProviderError> {
        let mut current = self.current.load_full();
        if let Some(Ok(live)) = current.peek()
            && live.lost.load(Ordering::Acquire)
        {
            self.replace(&current);
            current = self.current.load_full();
        }
        match Attempt::clone(&current).await {
            Ok(live) => Ok((current, live)),
            Err(error) => {
                self.replace(&current);
                Err(match error.kind() {
                    // It answered, only not as we would like.
                    ErrorKind::AuthenticationFailed | ErrorKind::Server(_) | ErrorKind::Extension => {
                        self.failed(&error)
                    }
                    _ => self.unreachable(&error.to_string()),
                })
            }
        }
    }

    /// Puts a new attempt in the place of this one, if nobody has done so yet.
    fn replace(&self, current: &Arc<Attempt>) {
        let next = Arc::new(attempt(self.client.clone()));
        self.current.compare_and_swap(current, next);
    }

    fn unreachable(&self, why: &str) -> ProviderError {
        let message = format!("connection failed: Redis at {}: {why}; start it or correct url", self.address);
        ProviderError::new(ProviderErrorKind::Unreachable, message)
    }

    fn failed(&self, error: &RedisError) -> ProviderError {
        let kind = match error.kind() {
            // The connection broke with the command on its way.
            ErrorKind::Io => ProviderErrorKind::Timeout,
            ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm) => {
                ProviderErrorKind::Denied
            }
            // Refused before it was carried out.
            ErrorKind::Server(ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown) => {
                ProviderErrorKind::Unreachable
            }
            ErrorKind::Server(ServerErrorKind::ReadOnly) => ProviderErrorKind::Denied,
            _ => match error.code() {
                Some("NOAUTH" | "WRONGPASS") => ProviderErrorKind::Denied,
                Some("OOM") => ProviderErrorKind::Limit,
                Some("WRONGTYPE") => ProviderErrorKind::Invalid,
                _ => ProviderErrorKind::Failed,
            },
        };
        ProviderError::new(kind, format!("Redis at {}: {error}", self.address))
    }
}
