//! What the journal, the task that forwards it and those who ask share: behind one short lock, which is never
//! held across an await or an access to the disk.

use super::backlog::{Backlog, Found};
use super::checkpoint::Desk;
use super::frame::Incarnation;
use super::machine::Local;
use super::room::Room;
use super::{ForwardOptions, WhenFull};
use bytes::Bytes;
use host_store::{DataDir, Forwarded, ForwardedStore, Journal};
use lattice_io::Clock;
use lattice_journal::RecordSeq;
use lattice_protocol::forwarding::{ForwardState, Forwarding};
use lattice_protocol::{ErrorCode, Report};
use serde_json::json;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// How full the journal may be, percent, before records are let go that have not arrived.
const FULL_PERCENT: usize = 75;

/// See the module.
pub(crate) struct Forward {
    pub(super) options: ForwardOptions,
    pub(super) incarnation: Incarnation,
    clock: Arc<dyn Clock>,
    store: ForwardedStore,
    state: Mutex<State>,
    /// There is more to send.
    pub(super) grown: Notify,
    /// What stands for the older part of it, in the lattice.
    pub(crate) checkpoint: Desk,
}

struct State {
    backlog: Backlog,
    /// The last record that has arrived, as the stream has said since the journal was opened.
    stored: RecordSeq,
    /// The last records, without a gap.
    recent: VecDeque<(RecordSeq, Bytes)>,
    recent_bytes: usize,
    /// The first record that actors need: those before it are kept for us alone.
    needed: u64,
    /// What is on the disk about this.
    saved: Forwarded,
    dropped: u64,
    /// Why it does not go on.
    trouble: Option<(ForwardState, String)>,
}

impl Forward {
    /// Of a journal that was just opened; actors need what begins with this record, and this was the last that
    /// deleted one.
    pub(crate) fn new(
        (options, clock): (ForwardOptions, Arc<dyn Clock>),
        data: &DataDir,
        (journal, found): (&Journal, Found),
        (needed, buried): (u64, Option<RecordSeq>),
    ) -> Self {
        let incarnation = Incarnation(journal.incarnation());
        let store = ForwardedStore::new(data);
        let mine = |saved: &Forwarded| saved.incarnation == incarnation.0;
        let saved = store.load().filter(mine);
        let saved = saved.unwrap_or(Forwarded { incarnation: incarnation.0, through: 0, dropped: 0 });
        // What is not there any more has arrived, or never will.
        let through = saved.through.min(journal.last()).max(journal.first().saturating_sub(1));
        let mut backlog = found.backlog();
        backlog.arrived(RecordSeq(through));
        let state = State {
            backlog,
            stored: RecordSeq(0),
            recent: VecDeque::new(),
            recent_bytes: 0,
            needed,
            saved,
            dropped: saved.dropped,
            trouble: Some((ForwardState::Away, "the lattice was not reached yet".to_owned())),
        };
        let checkpoint = Desk::new(options.policy, incarnation, buried);
        Self {
            options,
            incarnation,
            clock,
            store,
            state: Mutex::new(state),
            grown: Notify::new(),
            checkpoint,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record is on disk. Called on the journal's thread.
    pub(crate) fn durable(&self, record: RecordSeq, bytes: Bytes) {
        let now_ms = self.clock.unix_ms();
        let most = self.options.policy.recent_bytes;
        self.checkpoint.grown(bytes.len() as u64);
        {
            let mut state = self.state();
            state.backlog.add(record, bytes.len() as u64, now_ms);
            if state.recent.back().is_some_and(|(last, _)| last.next() != record) {
                (state.recent, state.recent_bytes) = (VecDeque::new(), 0);
            }
            state.recent_bytes += bytes.len();
            state.recent.push_back((record, bytes));
            state.shorten(most, RecordSeq(0));
        }
        self.grown.notify_one();
    }

    /// Are commands refused because too much waits? Why.
    pub(crate) fn refuses(&self) -> Option<Report> {
        // Asked before each record: whoever drops takes no lock for it.
        if self.options.policy.full != WhenFull::Refuse {
            return None;
        }
        let limit = self.options.policy.keep_bytes;
        let (bytes, diverged) = {
            let state = self.state();
            let bytes = self.refused_bytes(&state)?;
            (bytes, state.trouble.clone().filter(|(what, _)| *what == ForwardState::Diverged))
        };
        let report =
            Report::new(ErrorCode::InsufficientResources, "too much of the journal waits to be forwarded")
                .at(&self.options.host)
                .got(format!("{} MiB", bytes >> 20))
                .limit(format!("{} MiB", limit >> 20));
        Some(match diverged {
            Some((_, reason)) => report.hint(format!("it does not go on by itself: {reason}")),
            None => report.hint(
                "it goes on when the lattice can be reached; or give the host more: --forward-buffer-mib, or \
                 --forward-full drop-oldest",
            ),
        })
    }

    fn refused_bytes(&self, state: &State) -> Option<u64> {
        let policy = &self.options.policy;
        let bytes = state.backlog.bytes();
        (policy.full == WhenFull::Refuse && bytes >= policy.keep_bytes).then_some(bytes)
    }

    /// Actors need what begins with this record and no more: what is before it goes, if it has arrived or
    /// must make room. Blocks.
    ///
    /// # Errors
    /// The journal.
    pub(crate) fn trim(&self, journal: &Journal, needed: u64) -> Result<(), Report> {
        {
            let mut state = self.state();
            state.needed = state.needed.max(needed);
        }
        self.release(journal)
    }

    /// The first record that is kept from now on, if that is another than it was; and which of those that go
    /// have not arrived.
    fn release_from(&self, journal: &Journal) -> Option<(u64, Option<(u64, u64)>)> {
        let (used, most) = journal.segments();
        let is_full = used.saturating_mul(100) >= most.saturating_mul(FULL_PERCENT);
        let policy = &self.options.policy;
        let state = self.state();
        let arrived = state.backlog.through().next();
        let keep = match policy.full {
            WhenFull::Refuse => arrived,
            WhenFull::DropOldest if is_full => RecordSeq(u64::MAX),
            WhenFull::DropOldest => arrived.max(state.backlog.within(policy.keep_bytes)),
        };
        let keep = keep.0.min(state.needed);
        let gone = keep.checked_sub(1).filter(|last| *last >= arrived.0);
        (keep > journal.first()).then_some((keep, gone.map(|last| (arrived.0.max(journal.first()), last))))
    }

    fn release(&self, journal: &Journal) -> Result<(), Report> {
        let Some((keep, gone)) = self.release_from(journal) else { return Ok(()) };
        if let Some((first, last)) = gone {
            let count = (last + 1).saturating_sub(first);
            {
                let mut state = self.state();
                state.dropped = state.dropped.saturating_add(count);
                // They never will.
                if state.backlog.through().0 < last {
                    state.backlog.arrived(RecordSeq(last));
                }
            }
            self.tell_dropped((first, last), count);
            // Counted before they go: a crash in between counts them twice rather than never.
            self.save()?;
        }
        journal.trim(keep).map_err(Report::from)
    }

    fn tell_dropped(&self, (first, last): (u64, u64), count: u64) {
        let (dropped, limit) = (self.state().dropped, self.options.policy.keep_bytes);
        tracing::error!(first, last, count, limit, "records let go before they were forwarded");
        if let Some(events) = &self.options.events {
            let data = json!({ "first": first, "last": last, "records": count, "dropped": dropped, "limitBytes": limit });
            events.emit("journal.dropped", Some(self.options.host.to_string()), data);
        }
    }

    /// What has arrived, as the stream itself says.
    pub(super) fn arrived(&self, through: RecordSeq) {
        let mut state = self.state();
        (state.trouble, state.stored) = (None, through);
        if state.backlog.through() != through {
            state.backlog.arrived(through);
            state.shorten(usize::MAX, through);
        }
    }

    /// The last record that has arrived, as the stream has said; 0: it has not, or there is none.
    pub(super) fn stored(&self) -> RecordSeq {
        self.state().stored
    }

    /// Records that were let go before they had arrived, since the journal was begun.
    pub(super) fn dropped(&self) -> u64 {
        self.state().dropped
    }

    /// It does not go on, for this reason. Was it another one before?
    pub(super) fn trouble(&self, what: ForwardState, reason: String) -> bool {
        let trouble = Some((what, reason));
        let mut state = self.state();
        let other = state.trouble != trouble;
        state.trouble = trouble;
        other
    }

    pub(super) fn local(&self, journal: &Journal) -> Local {
        let (first, last) = (RecordSeq(journal.first()), RecordSeq(journal.last()));
        Local { incarnation: self.incarnation, first, last, waiting: self.state().backlog.bytes() }
    }

    /// The records from this one on that are remembered, of about so many bytes; none when it is not.
    pub(super) fn remembered(&self, from: RecordSeq, bytes: usize) -> Vec<(u64, Bytes)> {
        let state = self.state();
        let Some((first, _)) = state.recent.front().filter(|(first, _)| *first <= from) else {
            return Vec::new();
        };
        let skipped = usize::try_from(from.0 - first.0).unwrap_or(usize::MAX);
        let mut room = Room::of(bytes, self.checkpoint.last_buried());
        let wanted = state.recent.iter().skip(skipped);
        let wanted = wanted.take_while(|(at, record)| room.takes(*at, record.len()));
        wanted.map(|(record, bytes)| (record.0, bytes.clone())).collect()
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.clock.unix_ms()
    }

    /// What is done now and then; blocks. Nothing is written when nothing has changed.
    pub(super) fn upkeep(&self, journal: &Journal) -> Result<(), Report> {
        self.release(journal)?;
        self.save()
    }

    /// Has [`Self::upkeep`] anything to do?
    pub(super) fn is_due(&self, journal: &Journal) -> bool {
        self.release_from(journal).is_some() || self.unsaved().is_some()
    }

    fn unsaved(&self) -> Option<Forwarded> {
        let state = self.state();
        let (through, dropped) = (state.backlog.through().0, state.dropped);
        let now = Forwarded { incarnation: self.incarnation.0, through, dropped };
        (now != state.saved).then_some(now)
    }

    /// Writes down how far it has come. Blocks.
    pub(crate) fn save(&self) -> Result<(), Report> {
        let Some(now) = self.unsaved() else { return Ok(()) };
        self.store.save(&now)?;
        self.state().saved = now;
        Ok(())
    }

    /// For people.
    pub(crate) fn status(&self) -> Forwarding {
        let now_ms = self.clock.unix_ms();
        let checkpoint = self.checkpoint.status(now_ms);
        let state = self.state();
        let records = state.backlog.records();
        let (what, reason) = match &state.trouble {
            Some((what, reason)) => (*what, Some(reason.clone())),
            None if records > 0 => (ForwardState::Behind, None),
            None => (ForwardState::Current, None),
        };
        Forwarding {
            state: what,
            through: state.backlog.through().0,
            records,
            bytes: state.backlog.bytes(),
            oldest_ms: state.backlog.oldest_ms().map_or(0, |at_ms| now_ms.saturating_sub(at_ms)),
            dropped: state.dropped,
            refusing: self.refused_bytes(&state).is_some(),
            reason,
            checkpoint,
        }
    }
}

impl State {
    /// Remembers at most so many bytes, and nothing that has arrived.
    fn shorten(&mut self, most: usize, through: RecordSeq) {
        while let Some((record, bytes)) = self.recent.front()
            && (self.recent_bytes > most || *record <= through)
        {
            self.recent_bytes = self.recent_bytes.saturating_sub(bytes.len());
            self.recent.pop_front();
        }
    }
}
