//! One direction of one proxied connection: read, wait out the delay, write.
//!
//! Reading and writing are two halves joined by a bounded queue of (due time, bytes), so that
//! delayed chunks overtake neither each other nor the reader's clock.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::{Direction, Mode, Weather};

const CHUNK_BYTES: usize = 16 * 1024;
/// Chunks under way. When it is full the reader stops, and TCP pushes back on the sender.
const MAX_UNDER_WAY: usize = 256;

pub(super) struct Pipe {
    pub direction: Direction,
    pub weather: watch::Receiver<Weather>,
    /// Set once bytes of this connection were swallowed.
    pub swallowed: Arc<watch::Sender<bool>>,
}

impl Pipe {
    /// Runs until the reading side closes, then closes the writing side.
    pub(super) async fn run(self, reader: impl AsyncRead, writer: impl AsyncWrite) {
        let (queue, under_way) = mpsc::channel(MAX_UNDER_WAY);
        let weather = self.weather.clone();
        tokio::join!(self.read(reader, queue), deliver(writer, under_way, weather));
    }

    async fn read(self, reader: impl AsyncRead, queue: mpsc::Sender<(Instant, Vec<u8>)>) {
        let mut reader = std::pin::pin!(reader);
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let Ok(count @ 1..) = reader.read(&mut buffer).await else {
                return;
            };
            let now = *self.weather.borrow();
            if self.swallows(now.mode) || *self.swallowed.borrow() {
                self.swallowed.send_replace(true);
                continue;
            }
            let bytes = buffer.get(..count).unwrap_or_default().to_vec();
            if queue.send((due(now.delay), bytes)).await.is_err() {
                return;
            }
        }
    }

    fn swallows(&self, mode: Mode) -> bool {
        matches!(mode, Mode::Blackhole(side) if side == Direction::Both || side == self.direction)
    }
}

fn due(delay: Duration) -> Instant {
    Instant::now() + delay
}

async fn deliver(
    writer: impl AsyncWrite,
    mut under_way: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut weather: watch::Receiver<Weather>,
) {
    let mut writer = std::pin::pin!(writer);
    while let Some((due, bytes)) = under_way.recv().await {
        sleep_until(due).await;
        if weather.wait_for(|now| now.mode != Mode::Hold).await.is_err() {
            return;
        }
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
    // Half-close: the other direction may still have something to say.
    let _ = writer.shutdown().await;
}
