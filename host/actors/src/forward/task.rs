//! The IO of forwarding: two tasks of an open journal. One does what [`super::machine`] says, one step after
//! the other; one lets go what need not be kept any more, and writes down how far it has come. Both end with
//! the journal.

use super::divergence::Divergence;
use super::frame::{Entry, Frame, Incarnation};
use super::lane;
use super::machine::{Machine, Next, Seen, Send, Sent};
use super::room::Room;
use super::state::Forward;
use crate::device::blocking;
use bytes::Bytes;
use host_store::{Journal, JournalError};
use lattice_io::{BusStatus, Lane};
use lattice_journal::append::AppendOutcome;
use lattice_journal::{Hash, RecordSeq, Sealed};
use lattice_protocol::forwarding::ForwardState;
use lattice_protocol::{ErrorCode, Report};
use serde_json::json;
use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Forwards until it is cancelled.
pub(crate) async fn run<J>(forward: Arc<Forward>, journal: Arc<J>)
where
    J: Deref<Target = Journal> + std::marker::Send + Sync + 'static,
{
    let mut status = forward.options.lattice.bus.status();
    let machine = Machine::new(forward.options.policy);
    let mut task = Task {
        forward,
        journal,
        machine,
        began: Instant::now(),
        lane: None,
        ahead: VecDeque::new(),
        told: None,
    };
    loop {
        if *status.borrow_and_update() != BusStatus::Connected {
            task.away();
            if status.wait_for(|now| *now == BusStatus::Connected).await.is_err() {
                return;
            }
            task.reconnected();
        }
        tokio::select! {
            biased;
            changed = status.changed() => match changed {
                // What was under way has an answer that nobody waits for any more.
                Ok(()) => task.reconnected(),
                Err(_) => return,
            },
            () = task.step() => {}
        }
    }
}

/// Lets go what need not be kept, until it is cancelled.
pub(crate) async fn upkeep<J>(forward: Arc<Forward>, journal: Arc<J>)
where
    J: Deref<Target = Journal> + std::marker::Send + Sync + 'static,
{
    loop {
        tokio::time::sleep(forward.options.policy.period).await;
        if forward.is_due(&journal) {
            let (forward, journal) = (Arc::clone(&forward), Arc::clone(&journal));
            if let Err(report) = blocking(move || forward.upkeep(&journal)).await {
                tracing::warn!(error = %report, "the journal is not trimmed behind what was forwarded");
            }
        }
    }
}

struct Task<J> {
    forward: Arc<Forward>,
    journal: Arc<J>,
    machine: Machine,
    began: Instant,
    lane: Option<Arc<dyn Lane>>,
    /// Records that were read from the disk and not sent yet.
    ahead: VecDeque<(u64, Bytes)>,
    /// The two histories that were told of.
    told: Option<Divergence>,
}

fn seed() -> u64 {
    getrandom::u64().unwrap_or(0)
}

impl<J> Task<J>
where
    J: Deref<Target = Journal> + std::marker::Send + Sync + 'static,
{
    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn away(&self) {
        self.forward.trouble(ForwardState::Away, "the lattice cannot be reached".to_owned());
    }

    fn reconnected(&mut self) {
        self.lane = None;
        let now_ms = self.now_ms();
        self.machine.reconnected(now_ms, seed());
    }

    async fn step(&mut self) {
        let now_ms = self.now_ms();
        let next = self.machine.next(now_ms, self.forward.local(&self.journal));
        // Before it waits.
        self.learn();
        match next {
            Next::Idle => self.forward.grown.notified().await,
            Next::Wait { until_ms } => {
                tokio::time::sleep(Duration::from_millis(until_ms.saturating_sub(now_ms).max(1))).await;
            }
            Next::Ask => {
                let seen = self.ask().await;
                let seen = seen.map_err(|report| self.failed(&report));
                self.machine.seen(seen, self.now_ms(), seed());
            }
            Next::Compare { record, through_next } => {
                let hash = self.hash(record, through_next).await.unwrap_or_else(|report| {
                    self.failed(&report);
                    None
                });
                self.machine.compared(hash, self.forward.local(&self.journal), self.now_ms());
            }
            Next::Send(send) => {
                let sent = self.send(send).await.unwrap_or_else(|report| {
                    self.failed(&report);
                    Sent::Failed
                });
                self.machine.sent(sent, self.now_ms(), seed());
            }
        }
        self.learn();
    }

    /// What is known now is told.
    fn learn(&mut self) {
        if let Some(through) = self.machine.through() {
            self.forward.arrived(through);
            self.told = None;
        }
        let host = self.forward.options.host.clone();
        let emit = |kind, data| {
            if let Some(events) = &self.forward.options.events {
                events.emit(kind, Some(host.to_string()), data);
            }
        };
        if let Some(before) = self.machine.take_anew() {
            let now = self.forward.incarnation;
            tracing::error!(%before, %now, "what was forwarded before is of another journal: this one was begun anew");
            emit("journal.begun-anew", json!({ "before": before.to_string(), "now": now.to_string() }));
        }
        if let Some(divergence) = self.machine.diverged() {
            let report = divergence.report(&host);
            self.forward.trouble(ForwardState::Diverged, report.to_string());
            if self.told.replace(divergence) != Some(divergence) {
                tracing::error!(error = %report, "nothing more is forwarded");
                emit("journal.diverged", json!({ "reason": report.to_string() }));
            }
        }
    }

    /// The lattice does not take it, or the journal cannot be read.
    fn failed(&mut self, report: &Report) {
        self.lane = None;
        self.ahead.clear();
        if self.forward.trouble(ForwardState::Away, report.to_string()) {
            tracing::warn!(error = %report, "the journal is not forwarded: tried again later");
        }
    }

    async fn lane(&mut self) -> Result<Arc<dyn Lane>, Report> {
        if let Some(lane) = &self.lane {
            return Ok(Arc::clone(lane));
        }
        let options = &self.forward.options;
        let lane =
            options.lattice.lanes.open(lane(&options.subjects, &options.host, &options.policy)).await?;
        self.lane = Some(Arc::clone(&lane));
        Ok(lane)
    }

    async fn ask(&mut self) -> Result<Option<Seen>, Report> {
        let lane = self.lane().await?;
        let Some((at, message)) = lane.last().await? else { return Ok(None) };
        let frame = Frame::decode(&message)?;
        let last = frame.last()?;
        let incarnation: Incarnation = frame.incarnation;
        Ok(Some(Seen { at, incarnation, record: last.record().seq, hash: last.hash() }))
    }

    /// What this journal has there; none when it is not there any more.
    async fn hash(&self, record: RecordSeq, through_next: bool) -> Result<Option<Hash>, Report> {
        let journal = Arc::clone(&self.journal);
        let wanted = if through_next { record.next() } else { record };
        blocking(move || match journal.read_at(&[wanted.0]) {
            Ok(found) => {
                let Some((_, bytes)) = found.into_iter().next() else { return Ok(None) };
                let sealed = Sealed::open(bytes)?;
                Ok(Some(if through_next { sealed.record().previous } else { sealed.hash() }))
            }
            Err(JournalError::Trimmed { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        })
        .await
    }

    async fn send(&mut self, send: Send) -> Result<Sent, Report> {
        let records = self.records(send.from, send.bytes).await?;
        let Some((through, _)) = records.last() else { return Ok(Sent::Gone) };
        let through = RecordSeq(*through);
        let gap = send.gap.map(Entry::Gap);
        let entries = gap.into_iter().chain(records.into_iter().map(|(_, bytes)| Entry::Record(bytes)));
        let (incarnation, sent_ms) = (self.forward.incarnation, self.forward.now_ms());
        let frame = Frame { incarnation, sent_ms, entries: entries.collect() };
        // Compressing is work for a processor, not for whoever else is on this thread.
        let message = blocking(move || frame.encode()).await?;
        let lane = self.lane().await?;
        let options = &self.forward.options;
        let id = format!("{}.{incarnation}.{}", options.host, send.from);
        let outcome = lane.append(send.expected, &id, message, options.policy.patience).await?;
        Ok(match outcome {
            AppendOutcome::Stored(at) => Sent::Stored { through, at },
            AppendOutcome::Conflict => Sent::Conflict,
            AppendOutcome::Unknown => Sent::Unknown,
        })
    }

    /// Records from this one on, about so many bytes of them, at least one; none when they were let go.
    async fn records(&mut self, from: RecordSeq, bytes: usize) -> Result<Vec<(u64, Bytes)>, Report> {
        while self.ahead.front().is_some_and(|(at, _)| *at < from.0) {
            self.ahead.pop_front();
        }
        if self.ahead.front().is_none_or(|(at, _)| *at != from.0) {
            self.ahead.clear();
            let remembered = self.forward.remembered(from, bytes);
            if !remembered.is_empty() {
                return Ok(remembered);
            }
            let journal = Arc::clone(&self.journal);
            self.ahead = match blocking(move || Ok(journal.read_on(from.0))).await? {
                Ok(entries) => entries.into(),
                Err(JournalError::Trimmed { .. }) => return Ok(Vec::new()),
                Err(error) => return Err(error.into()),
            };
            if self.ahead.is_empty() {
                return Err(
                    Report::new(ErrorCode::Internal, "the journal ends before its last record").got(from)
                );
            }
        }
        let mut room = Room::of(bytes, self.forward.checkpoint.last_buried());
        let mut records = Vec::new();
        while let Some((at, record)) = self.ahead.pop_front() {
            if !room.takes(RecordSeq(at), record.len()) {
                self.ahead.push_front((at, record));
                break;
            }
            records.push((at, record));
        }
        Ok(records)
    }
}
