//! A TCP proxy that can make a network bad, between any client and any server of a test.
//!
//! Two independent knobs, each changeable at any time and effective on open connections:
//! * `delay`: how long each chunk of bytes is under way, in each direction. Chunks are pipelined,
//!   so a delay is latency and not a loss of throughput.
//! * `mode`, what happens to bytes and connections:
//!
//! | mode        | open connections                 | new connections          | after `heal`        |
//! |-------------|----------------------------------|--------------------------|---------------------|
//! | `Pass`      | bytes flow                       | accepted                 |                     |
//! | `Cut`       | closed                           | accepted, closed at once | clients reconnect   |
//! | `Hold`      | bytes wait, as packets do behind a dropped route | wait as well | the bytes flow |
//! | `Blackhole` | bytes are swallowed for ever, one way or both | swallowed   | closed: bytes are missing |
//!
//! `Blackhole` one way swallows acknowledgements: the server does the work and the client never
//! hears of it.
//!
//! Invariant: never are later bytes of a stream delivered after earlier ones were swallowed.

mod pipe;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Which bytes a fault touches, seen from the client of the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
    Both,
}

/// What happens to bytes and connections. See the module's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Pass,
    Cut,
    Hold,
    Blackhole(Direction),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Weather {
    mode: Mode,
    delay: Duration,
    /// Raised by `drop_connections`: connections of an older era close.
    era: u64,
}

/// A running proxy. Dropping it closes its port and all connections.
#[derive(Debug)]
pub struct ChaosProxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    // Owns the accepting task, which owns all connections: dropped together.
    _tasks: JoinSet<()>,
}

impl ChaosProxy {
    /// A proxy on a free loopback port that connects each client to `target`.
    ///
    /// # Errors
    /// No free port.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("chaos proxy: no free port")?;
        let address = listener.local_addr()?;
        let weather = watch::Sender::new(Weather { mode: Mode::Pass, delay: Duration::ZERO, era: 0 });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, target, weather.subscribe()));
        Ok(Self { address, weather, _tasks: tasks })
    }

    /// Where clients connect instead of to the target.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn set_mode(&self, mode: Mode) {
        self.weather.send_modify(|weather| weather.mode = mode);
    }

    /// Latency in each direction; a round trip takes twice that.
    pub fn set_delay(&self, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay = delay);
    }

    /// Closes every connection, now and until [`ChaosProxy::heal`].
    pub fn cut(&self) {
        self.set_mode(Mode::Cut);
    }

    /// Lets nothing through either way, and closes nothing.
    pub fn blackhole(&self) {
        self.set_mode(Mode::Blackhole(Direction::Both));
    }

    /// Closes every present connection once; new ones pass.
    pub fn drop_connections(&self) {
        self.weather.send_modify(|weather| weather.era += 1);
    }

    /// Undoes mode and delay.
    pub fn heal(&self) {
        self.weather.send_modify(|weather| {
            weather.mode = Mode::Pass;
            weather.delay = Duration::ZERO;
        });
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, weather: watch::Receiver<Weather>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { return };
                connections.spawn(serve(client, target, weather.clone()));
            }
            // Reap what has ended, so that a long run holds only what is open.
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection, until either side closes or the weather closes it.
async fn serve(client: TcpStream, target: SocketAddr, mut weather: watch::Receiver<Weather>) {
    let era = weather.borrow().era;
    let swallowed = Arc::new(watch::Sender::new(false));
    tokio::select! {
        () = closed_by_weather(weather.clone(), era, swallowed.subscribe()) => {}
        () = async {
            if weather.wait_for(|now| now.mode != Mode::Hold).await.is_err() {
                return;
            }
            let Ok(server) = TcpStream::connect(target).await else { return };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            relay(client, server, &weather, &swallowed).await;
        } => {}
    }
}

async fn relay(
    client: impl AsyncRead + AsyncWrite,
    server: impl AsyncRead + AsyncWrite,
    weather: &watch::Receiver<Weather>,
    swallowed: &Arc<watch::Sender<bool>>,
) {
    let (client_read, client_write) = tokio::io::split(client);
    let (server_read, server_write) = tokio::io::split(server);
    let pipe = |direction| pipe::Pipe { direction, weather: weather.clone(), swallowed: swallowed.clone() };
    tokio::join!(
        pipe(Direction::ToServer).run(client_read, server_write),
        pipe(Direction::ToClient).run(server_read, client_write),
    );
}

/// Returns when this connection must close: `Cut`, a newer era, or bytes missing after a heal.
async fn closed_by_weather(
    mut weather: watch::Receiver<Weather>,
    era: u64,
    mut swallowed: watch::Receiver<bool>,
) {
    loop {
        let now = *weather.borrow_and_update();
        let missing = *swallowed.borrow_and_update();
        let healed = !matches!(now.mode, Mode::Blackhole(_));
        if now.mode == Mode::Cut || now.era != era || (missing && healed) {
            return;
        }
        // A sender is dropped only with the whole proxy.
        let changed = tokio::select! {
            changed = weather.changed() => changed,
            changed = swallowed.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
