//! A route or subscription that this host holds at a provider's process: asked for, asked for again
//! while it is held, given back when it is dropped.
//!
//! Task: one per lease, in the scope of its [`Remote`].

use super::client::Remote;
use super::wire::{Binding, Question, Wanted, json};
use super::{LEASE, RENEWAL};
use crate::http::Route;
use crate::inbound::InboundTarget;
use crate::messaging::Subscription;
use crate::{BoxFuture, ProviderError, ProviderErrorKind};
use futures::FutureExt;
use lattice_io::BusMessage;
use lattice_io::task::CancellationToken;
use std::time::Duration;

/// Longest wait for a binding to be made or refused.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait for what is in hand when a binding is given back.
const DRAIN: Duration = Duration::from_secs(30);

/// The hold on one binding: dropped, the binding is given back.
pub struct Lease {
    remote: Remote,
    name: String,
    held: CancellationToken,
}

impl Remote {
    /// Asks for a binding, and holds it.
    pub(super) async fn lease(
        &self,
        target: Option<InboundTarget>,
        wanted: Wanted,
    ) -> Result<Lease, ProviderError> {
        let target = target.ok_or_else(|| {
            ProviderError::new(ProviderErrorKind::Invalid, "nobody is named whom another process could call")
        })?;
        // An inbox is one's own and never the same twice: so is the name of a lease.
        let name = self.bus.new_inbox();
        let binding = Box::new(Binding { target, wanted });
        let lease_ms = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
        let question = json(&Question::Bind { lease: name.clone(), lease_ms, binding })?;
        let ask = BusMessage::new(&*self.links, question);
        self.ask(ask.clone(), PATIENCE).await?;
        let held = CancellationToken::new();
        let lease = Lease { remote: self.clone(), name: name.clone(), held: held.clone() };
        let remote = self.clone();
        self.scope.spawn("provider lease", lattice_io::Kind::BestEffort, move |leaving| {
            let (remote, ask, held, name) = (remote.clone(), ask.clone(), held.clone(), name.clone());
            async move {
                tokio::select! {
                    () = held.cancelled() => {}
                    () = leaving.cancelled() => {}
                    () = renew(&remote, &ask) => {}
                }
                // Lost or refused: it ends by itself, a little later.
                let _ = remote.unbind(&name, Duration::from_secs(1)).await;
            }
        });
        Ok(lease)
    }

    async fn unbind(&self, lease: &str, patience: Duration) -> Result<(), ProviderError> {
        let question = json(&Question::Unbind { lease: lease.to_owned() })?;
        self.ask(BusMessage::new(&*self.links, question), patience).await.map(drop)
    }
}

async fn renew(remote: &Remote, ask: &BusMessage) {
    let mut failing = false;
    loop {
        tokio::time::sleep(RENEWAL).await;
        let result = remote.ask(ask.clone(), RENEWAL).await;
        match &result {
            Err(error) if !failing => {
                tracing::warn!(provider = %remote.id, %error, "binding not renewed; asking on");
            }
            Ok(_) if failing => tracing::info!(provider = %remote.id, "binding renewed"),
            _ => {}
        }
        failing = result.is_err();
    }
}

impl Lease {
    fn drain(&self) -> BoxFuture<'_, ()> {
        async move {
            if let Err(error) = self.remote.unbind(&self.name, DRAIN).await {
                tracing::debug!(provider = %self.remote.id, %error, "binding not given back; it ends by itself");
            }
            self.held.cancel();
        }
        .boxed()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.held.cancel();
    }
}

impl Route for Lease {
    fn drain(&self) -> BoxFuture<'_, ()> {
        Lease::drain(self)
    }
}

impl Subscription for Lease {
    fn lag(&self) -> BoxFuture<'_, Option<u64>> {
        async move {
            let question = json(&Question::Lag { lease: self.name.clone() }).ok()?;
            let asking = self.remote.ask(BusMessage::new(&*self.remote.links, question), PATIENCE);
            // A process of an older version does not know the question.
            serde_json::from_slice(&asking.await.ok()?).ok()?
        }
        .boxed()
    }

    fn drain(&self) -> BoxFuture<'_, ()> {
        Lease::drain(self)
    }
}
