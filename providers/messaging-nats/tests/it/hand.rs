//! A message handler in the hands of a test.

use super::{BRIEFLY, SOON};
use anyhow::{Context, Result};
use providers_sdk::BoxFuture;
use providers_sdk::messaging::{Handled, Message, MessageHandler};
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc};

/// A handler that shows each message and does with it what it is told.
#[derive(Clone)]
pub struct Hand {
    begun: mpsc::Sender<Message>,
    outcomes: Arc<Mutex<mpsc::Receiver<Handled>>>,
    done: mpsc::Sender<()>,
}

/// The other side of it.
pub struct Told {
    begun: mpsc::Receiver<Message>,
    outcomes: mpsc::Sender<Handled>,
    pub done: mpsc::Receiver<()>,
}

pub fn hand() -> (Hand, Told) {
    let (begun, begun_seen) = mpsc::channel(64);
    let (outcomes, outcomes_taken) = mpsc::channel(64);
    let (done, done_seen) = mpsc::channel(64);
    let hand = Hand { begun, outcomes: Arc::new(Mutex::new(outcomes_taken)), done };
    (hand, Told { begun: begun_seen, outcomes, done: done_seen })
}

impl MessageHandler for Hand {
    fn handle(&self, message: Message) -> BoxFuture<'_, Handled> {
        Box::pin(async move {
            self.begun.try_send(message).ok();
            let outcome = self.outcomes.lock().await.recv().await.unwrap_or(Handled::Done);
            self.done.try_send(()).ok();
            outcome
        })
    }
}

impl Told {
    pub async fn begins(&mut self) -> Result<Message> {
        tokio::time::timeout(SOON, self.begun.recv()).await.context("no message")?.context("no handler")
    }

    pub async fn body(&mut self) -> Result<String> {
        Ok(String::from_utf8(self.begins().await?.body.to_vec())?)
    }

    pub async fn nothing_begins(&mut self) -> bool {
        tokio::time::timeout(BRIEFLY, self.begun.recv()).await.is_err()
    }

    pub fn do_it(&self, outcome: Handled) {
        self.outcomes.try_send(outcome).ok();
    }
}
