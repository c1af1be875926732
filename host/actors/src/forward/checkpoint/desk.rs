//! What the shard, the task and those who ask share of a forwarded checkpoint: when one is due, what the shard has
//! given for it, and how it is getting on. One short lock, never held across an await or an access to the disk.

use super::Head;
use crate::forward::ForwardPolicy;
use crate::forward::frame::Incarnation;
use crate::log::Standing;
use lattice_journal::RecordSeq;
use lattice_protocol::forwarding::ForwardedCheckpoint;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// See the module.
pub(crate) struct Desk {
    policy: ForwardPolicy,
    incarnation: Incarnation,
    state: Mutex<State>,
    /// The shard has given something.
    pub(super) given: Notify,
}

#[derive(Default)]
struct State {
    /// The head that counts, as the lattice has it; none: not asked yet.
    head: Option<Option<Head>>,
    /// Bytes of records since what was given last.
    grown_bytes: u64,
    /// The last record that deleted an actor.
    buried: RecordSeq,
    /// What the shard is asked for: through this record.
    wish: Option<RecordSeq>,
    standing: Option<Standing>,
    /// Why it does not go on.
    trouble: Option<String>,
}

/// The journal, as it bears on whether a checkpoint is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Journal {
    pub(super) last: RecordSeq,
    pub(super) dropped: u64,
    pub(super) now_ms: u64,
}

impl Desk {
    /// Of a journal that was just opened, in which this record was the last that deleted an actor.
    pub(crate) fn new(policy: ForwardPolicy, incarnation: Incarnation, buried: Option<RecordSeq>) -> Self {
        let state = State { buried: buried.unwrap_or_default(), ..State::default() };
        Self { policy, incarnation, state: Mutex::new(state), given: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record is on disk.
    pub(crate) fn grown(&self, bytes: u64) {
        let mut state = self.state();
        state.grown_bytes = state.grown_bytes.saturating_add(bytes);
    }

    /// A record that deletes an actor is on its way to the disk.
    pub(crate) fn buried(&self, record: RecordSeq) {
        self.state().buried = record;
    }

    /// The last record that deleted an actor.
    pub(crate) fn last_buried(&self) -> RecordSeq {
        self.state().buried
    }

    /// What the shard is asked for.
    pub(crate) fn wish(&self) -> Option<RecordSeq> {
        self.state().wish
    }

    /// The shard gives it.
    pub(crate) fn give(&self, standing: Standing) {
        {
            let mut state = self.state();
            (state.wish, state.grown_bytes) = (None, 0);
            state.standing = Some(standing);
        }
        self.given.notify_one();
    }

    pub(super) fn take(&self) -> Option<Standing> {
        self.state().standing.take()
    }

    /// Asks the shard for a checkpoint, if one is due. Is it to give one?
    pub(super) fn ask(&self, journal: Journal) -> bool {
        let mut state = self.state();
        if state.wish.is_none() && state.is_due(&self.policy, self.incarnation, journal) {
            state.wish = Some(journal.last);
        }
        state.wish.is_some()
    }

    /// The head that counts; none of another journal's.
    pub(super) fn head(&self) -> Option<Head> {
        let mut state = self.state();
        state.head.as_mut()?.as_ref().filter(|head| head.incarnation == self.incarnation).cloned()
    }

    /// This one counts now.
    pub(super) fn counts(&self, head: Option<Head>) {
        self.state().head = Some(head);
    }

    /// It goes on.
    pub(super) fn goes_on(&self) {
        self.state().trouble = None;
    }

    /// It does not go on, for this reason. Was it another one before?
    pub(super) fn trouble(&self, reason: String) -> bool {
        let before = self.state().trouble.replace(reason.clone());
        before.is_none_or(|before| before != reason)
    }

    /// For people; none before the lattice was asked.
    pub(crate) fn status(&self, now_ms: u64) -> Option<ForwardedCheckpoint> {
        let state = self.state();
        if state.head.is_none() && state.trouble.is_none() {
            return None;
        }
        let head =
            state.head.as_ref().and_then(Option::as_ref).filter(|head| head.incarnation == self.incarnation);
        Some(ForwardedCheckpoint {
            through: head.map_or(0, |head| head.through),
            age_ms: head.map_or(0, |head| now_ms.saturating_sub(head.at_ms)),
            reason: state.trouble.clone(),
        })
    }
}

impl State {
    fn is_due(&self, policy: &ForwardPolicy, incarnation: Incarnation, journal: Journal) -> bool {
        // Not before it is known what is there.
        let Some(head) = &self.head else { return false };
        let Some(head) = head.as_ref().filter(|head| head.incarnation == incarnation) else {
            return journal.last > RecordSeq(0);
        };
        let is_old = journal.now_ms >= head.at_ms.saturating_add(policy.checkpoint_ms);
        journal.last.0 > head.through
            && (is_old
                || self.grown_bytes >= policy.checkpoint_bytes
                // What was let go is nowhere else any more.
                || journal.dropped > head.dropped
                // Only then can what was forwarded of a deleted actor be erased.
                || self.buried.0 > head.through)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keys::Digest;

    const MINE: Incarnation = Incarnation([1; 8]);

    fn asked(head: Option<Head>, prepare: impl FnOnce(&Desk), journal: Journal) -> Option<RecordSeq> {
        let policy =
            ForwardPolicy { checkpoint_bytes: 1_000, checkpoint_ms: 60_000, ..ForwardPolicy::default() };
        let desk = Desk::new(policy, MINE, None);
        desk.ask(journal);
        assert_eq!(desk.wish(), None, "it is not known yet what is there");
        desk.counts(head);
        prepare(&desk);
        desk.ask(journal);
        desk.wish()
    }

    fn head(incarnation: Incarnation) -> Option<Head> {
        Some(Head { incarnation, through: 10, at_ms: 1_000, dropped: 2, document: Digest::of(b"d") })
    }

    #[test]
    fn one_is_due_when_there_is_none_or_much_or_time_or_a_deletion_or_a_loss_has_come() {
        let journal = Journal { last: RecordSeq(20), dropped: 2, now_ms: 60_000 };
        let due = Some(RecordSeq(20));
        assert_eq!(asked(None, |_| {}, journal), due);
        assert_eq!(asked(head(Incarnation([2; 8])), |_| {}, journal), due, "it is of another journal");
        assert_eq!(asked(head(MINE), |_| {}, journal), None);
        assert_eq!(asked(head(MINE), |_| {}, Journal { now_ms: 61_000, ..journal }), due);
        assert_eq!(asked(head(MINE), |desk| desk.grown(1_000), journal), due);
        assert_eq!(asked(head(MINE), |desk| desk.buried(RecordSeq(11)), journal), due);
        assert_eq!(asked(head(MINE), |desk| desk.buried(RecordSeq(10)), journal), None);
        assert_eq!(asked(head(MINE), |_| {}, Journal { dropped: 3, ..journal }), due);
        let nothing_new = Journal { last: RecordSeq(10), now_ms: u64::MAX, dropped: 2 };
        assert_eq!(asked(head(MINE), |desk| desk.grown(5_000), nothing_new), None);
    }
}
