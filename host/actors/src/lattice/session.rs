//! This host's lease: one session after the other, each renewed by compare-and-set until it ends.

use super::{Inner, LatticeActors, PAUSE, SessionValue};
use bytes::Bytes;
use lattice_io::KvError;
use lattice_journal::SessionId;
use lattice_journal::lease::{LeaseAction, Session};
use lattice_protocol::{ErrorCode, KindName, Report};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Longest wait before it is looked whether the lease has to be renewed.
const LOOK: Duration = Duration::from_millis(50);

/// Renews for ever; a session that has ended is followed by a new one.
pub(super) async fn run(inner: Arc<Inner>) {
    inner.make_buckets().await;
    loop {
        let mut boot = [0; 16];
        if getrandom::fill(&mut boot).is_ok() {
            let session = SessionId::new(&inner.options.host, boot);
            hold(&inner, &session).await;
            inner.ended();
            tracing::warn!(%session, "lease ended: this host owns no shard until it holds another");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl LatticeActors {
    /// Why this host can have no shard, if it is so: what has its leases and streams does not answer.
    #[must_use]
    pub fn cut_off(&self) -> Option<Report> {
        let now_ms = self.inner.now_ms();
        let state = self.inner.state();
        let holds = state.lease.as_ref().is_some_and(|(_, until_ms)| now_ms < *until_ms);
        let trouble = state.trouble.as_ref().filter(|_| !holds)?;
        let what = match self.inner.options.subjects.domain() {
            Some(domain) => {
                format!("cut off from the JetStream domain {domain}, which has this kind's journals")
            }
            None => "cut off from JetStream, which has this kind's journals".to_owned(),
        };
        let report = Report::new(ErrorCode::Domain, what).got(&trouble.what);
        Some(report.hint("send the same command id again when it is reached: it is carried out once"))
    }
}

impl Inner {
    /// Does the lease name every kind that runs here?
    fn names_all(&self) -> bool {
        let state = self.state();
        state.kinds.keys().all(|kind| state.named.contains(kind))
    }

    /// The kinds that the lease is to name; one that it names no longer is taken over no longer, from now on.
    fn names(&self) -> BTreeSet<KindName> {
        let mut state = self.state();
        let kinds: BTreeSet<KindName> = state.kinds.keys().cloned().collect();
        state.named.retain(|kind| kinds.contains(kind));
        kinds
    }

    /// The domain did not do what it was asked for.
    pub(super) fn troubled(&self, error: impl Into<Report>) {
        self.state().trouble = Some(error.into());
    }
}

/// One session.
async fn hold(inner: &Inner, session: &SessionId) {
    let key = inner.options.host.to_string();
    let mut machine = Session::new(inner.options.lease);
    // Whatever an earlier session of this host has left is written over.
    let mut revision = loop {
        match inner.sessions.get_latest(&key).await {
            Ok(entry) => break entry.map(|entry| entry.revision),
            Err(error) => {
                inner.troubled(error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    // What was written last.
    let mut kinds = BTreeSet::new();
    loop {
        if !inner.names_all() {
            machine.renew();
        }
        let mut todo: VecDeque<LeaseAction> = machine.tick(inner.now_ms()).into();
        while let Some(action) = todo.pop_front() {
            match action {
                LeaseAction::Write { attempt } => {
                    kinds = inner.names();
                    let value = value(session, attempt, kinds.clone());
                    let written = match revision {
                        None => inner.sessions.create(&key, value).await,
                        Some(revision) => inner.sessions.update(&key, value, revision).await,
                    };
                    let now_ms = inner.now_ms();
                    todo.extend(match written {
                        Ok(written) => {
                            revision = Some(written);
                            machine.written(attempt, now_ms)
                        }
                        Err(KvError::Conflict { .. }) => machine.lost(),
                        Err(error) => {
                            inner.troubled(error);
                            machine.unknown(attempt, now_ms)
                        }
                    });
                }
                LeaseAction::Read => match inner.sessions.get_latest(&key).await {
                    Ok(Some(entry)) => {
                        revision = Some(entry.revision);
                        let stands = serde_json::from_slice::<SessionValue>(&entry.value).ok();
                        let mine = stands.filter(|value| value.session == session.as_str());
                        todo.extend(machine.read(mine.map(|value| value.attempt), inner.now_ms()));
                    }
                    // Nothing there: the write did not happen.
                    Ok(None) => {
                        revision = None;
                        todo.extend(machine.read(Some(0), inner.now_ms()));
                    }
                    Err(error) => {
                        inner.troubled(error);
                        tokio::time::sleep(LOOK).await;
                        let ended = machine.tick(inner.now_ms());
                        let over = !ended.is_empty();
                        todo.extend(ended);
                        if !over {
                            todo.push_back(LeaseAction::Read);
                        }
                    }
                },
                LeaseAction::Holds { until_ms } => inner.holds(session, until_ms, kinds.clone()),
                LeaseAction::Ended => return,
            }
        }
        let now_ms = inner.now_ms();
        let wake = machine.wake_ms().map_or(LOOK, |at| Duration::from_millis(at.saturating_sub(now_ms)));
        tokio::time::sleep(wake.min(LOOK)).await;
    }
}

fn value(session: &SessionId, attempt: u64, kinds: BTreeSet<KindName>) -> Bytes {
    let value = SessionValue { session: session.to_string(), attempt, kinds };
    // Plain strings and numbers: this cannot fail.
    serde_json::to_vec(&value).unwrap_or_default().into()
}
