//! Actors in memory: brought there, given work, folded again when their instance has gone.

use super::{Message, ShardLoop, no_kind, refused};
use crate::activate::{Ready, Wanted};
use crate::bury;
use crate::kinds::Kind;
use bytes::Bytes;
use host_core::guest::{Guest, GuestFault, Turn, Verdict};
use host_core::{RestartPolicy, Supervisor};
use keys::Digest;
use lattice_journal::command::CommandRef;
use lattice_journal::commit::Misfire;
use lattice_journal::shard::{Answer, Input, Outcome, Question, Token};
use lattice_journal::snapshot::SinceSnapshot;
use lattice_journal::{Command, Commit, Effect, Hash, Ledger, Now};
use lattice_protocol::{ActorId, EntityKey, ErrorCode, KindName, Report};
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// A timer this late was missed: nobody could fire it.
const MISSED_MS: u64 = 5_000;
/// Traps in a row after which an actor is left alone for a while.
const TOLERATED: u32 = 5;
/// What folding one event takes until it was measured, microseconds.
const FOLD_US: u64 = 5;

/// What a guest is to do.
#[derive(Debug, Clone)]
pub(super) enum Work {
    Decide(Token, Arc<Command>),
    Ask(Token, Question),
}

/// One actor in memory, or on its way there.
pub(super) struct Live {
    pub(super) guest: Option<Arc<dyn Guest>>,
    opening: bool,
    /// What the guest is to do.
    work: Option<Work>,
    /// The guest has it: given twice, it would be done twice.
    given: bool,
    pub(super) since: SinceSnapshot,
    /// Microseconds that one event takes to fold.
    fold_us: u64,
    pub(super) used_ms: u64,
    /// Was it used since it was last looked at for room?
    pub(super) fresh: bool,
    pub(super) saving: bool,
    /// It wants to leave memory.
    pub(super) leaving: bool,
    alone: bool,
    traps: u32,
    supervisor: Supervisor,
    paused_until_ms: u64,
    pub(super) last_trap: Option<Report>,
}

impl Live {
    fn new(now_ms: u64) -> Self {
        Self {
            guest: None,
            opening: false,
            work: None,
            given: false,
            since: SinceSnapshot::new(now_ms),
            fold_us: FOLD_US,
            used_ms: now_ms,
            fresh: true,
            saving: false,
            leaving: false,
            alone: false,
            traps: 0,
            supervisor: Supervisor::new(RestartPolicy::default()),
            paused_until_ms: 0,
            last_trap: None,
        }
    }

    /// How long it is still left alone, if it is.
    pub(super) fn paused(&self, now_ms: u64) -> Option<u64> {
        (self.traps >= TOLERATED && now_ms < self.paused_until_ms).then(|| self.paused_until_ms - now_ms)
    }

    fn trapped(&mut self, report: &Report, now_ms: u64, seed: u64) {
        // Its next traps shall not be felt by those it shared an instance with.
        self.alone = true;
        self.guest = None;
        self.traps = self.traps.saturating_add(1);
        self.last_trap = Some(report.clone());
        self.paused_until_ms = self.supervisor.failed(now_ms, seed).at_ms;
    }
}

/// The same for the same turn of the same actor, and different for every other.
fn seed(key: &EntityKey, command: &str, seq: u64) -> u64 {
    let (kind, id, seq) = (key.kind.as_str().as_bytes(), key.id.as_str().as_bytes(), seq.to_le_bytes());
    // Neither name has a slash.
    let parts = [kind, b"/", id, b"/", &seq, command.as_bytes()];
    u64::from_le_bytes(Hash::of_parts(&parts).short())
}

impl ShardLoop {
    fn actor(&mut self, key: &EntityKey) -> &mut Live {
        match self.live.entry(key.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                self.round.push_back(key.clone());
                new.insert(Live::new(self.shared.clock.monotonic_ms()))
            }
        }
    }

    /// Brings an actor into memory.
    pub(super) fn activate(&mut self, key: &EntityKey, now: Now) {
        let live = self.actor(key);
        if live.opening {
            return;
        }
        live.opening = true;
        live.guest = None;
        let alone = live.alone;
        let inbox = self.inbox.clone();
        let of = key.clone();
        let done = move |result| inbox.send(Message::Ready { key: of, result });
        let Some(kind) = self.kinds.get(&key.kind).cloned() else {
            return done(Err(no_kind(&key.kind)));
        };
        if let Err(report) = self.roster.warm(key) {
            return self.unreadable(report, now);
        }
        let must = self.roster.snapshot(key);
        if let Some(tombstone) = must.as_ref().filter(|must| must.is_tombstone()) {
            self.folded.remove(key);
            return done(Ok(bury::nobody(tombstone, kind.guests.component())));
        }
        if let Some((ready, at)) = self.folded.remove(key)
            && !alone
            && ready.component == kind.guests.component()
            && self.roster.after(key, at).is_empty()
        {
            return done(Ok(ready));
        }
        let wanted = Wanted {
            key: key.clone(),
            kind,
            alone,
            last: self.shard.tail().chain.seq(),
            places: self.roster.after(key, lattice_journal::RecordSeq(0)).to_vec(),
            first: self.first,
            must,
        };
        // The task ends only with this shard.
        drop(self.wanted.send((wanted, Box::new(done))));
    }

    /// An actor is in memory, or cannot be brought there.
    pub(super) fn ready(&mut self, key: &EntityKey, result: Result<Ready, Report>, now: Now) {
        let Some(live) = self.live.get_mut(key) else { return };
        live.opening = false;
        let ready = match result {
            Ok(ready) => ready,
            Err(report) => return self.not_ready(key, report, now),
        };
        live.guest = Some(ready.guest);
        live.used_ms = now.monotonic_ms;
        let (events, took_us) = ready.since;
        if events > 0 {
            live.fold_us = (took_us / u64::try_from(events).unwrap_or(1)).max(1);
        }
        live.since = SinceSnapshot::new(now.monotonic_ms);
        live.since.applied(events, took_us);
        if let Some((reference, record)) = ready.snapshot
            && self.log.keeps(&reference)
            && let Err(report) = self.roster.snapshotted(reference, record)
        {
            return self.unreadable(report, now);
        }
        match self.shard.ledger(key) {
            None => self.step(Input::Activated { ledger: Box::new(ready.ledger) }, now),
            Some(ledger) if ledger.seq() == ready.ledger.seq() => {}
            Some(ledger) => {
                // The log says otherwise than the shard: nothing may be decided on that.
                let report = Report::new(ErrorCode::Internal, "folded to another commit than is known")
                    .at(key)
                    .got(ready.ledger.seq())
                    .limit(ledger.seq());
                return self.not_ready(key, report, now);
            }
        }
        self.begin_work(key, now);
    }

    fn not_ready(&mut self, key: &EntityKey, report: Report, now: Now) {
        let work = self.live.get_mut(key).and_then(|live| {
            live.guest = None;
            live.given = false;
            live.work.take()
        });
        match work {
            Some(Work::Decide(token, _)) => {
                let outcome = Outcome::Unavailable(report);
                self.step(Input::Decided { key: key.clone(), token, outcome }, now);
            }
            Some(Work::Ask(token, _)) => {
                self.step(Input::Answered { key: key.clone(), token, answer: refused(report) }, now);
            }
            None => {
                self.step(Input::NotActivated { key: key.clone(), report }, now);
                if self.shard.ledger(key).is_none() {
                    self.forget(key);
                }
            }
        }
    }

    pub(super) fn forget(&mut self, key: &EntityKey) {
        self.live.remove(key);
        self.roster.rest(key.clone());
    }

    /// The state machine has given the actor something to do.
    pub(super) fn work(&mut self, key: EntityKey, work: Work, now: Now) {
        if let Work::Decide(token, command) = &work
            && let Some(report) = self.missed(&key, command, now)
        {
            let (token, outcome) = (*token, Outcome::Refused(report));
            return self.step(Input::Decided { key, token, outcome }, now);
        }
        let live = self.actor(&key);
        live.work = Some(work);
        live.given = false;
        live.used_ms = now.monotonic_ms;
        live.fresh = true;
        if live.guest.is_some() {
            self.begin_work(&key, now);
        } else {
            self.activate(&key, now);
        }
    }

    /// A timer that is dropped when nobody could fire it in time.
    fn missed(&self, key: &EntityKey, command: &Command, now: Now) -> Option<Report> {
        let timer = self.schedule.get(key, &command.reference)?;
        let late_ms = now.unix_ms.saturating_sub(timer.due_ms);
        (timer.misfire == Misfire::Skip && late_ms > MISSED_MS).then(|| {
            Report::new(ErrorCode::Timeout, "timer missed, and dropped as its misfire policy says")
                .at(key)
                .got(format!("{late_ms} ms late"))
                .limit(format!("{MISSED_MS} ms"))
        })
    }

    fn begin_work(&mut self, key: &EntityKey, now: Now) {
        let Some(live) = self.live.get_mut(key) else { return };
        if live.given {
            return;
        }
        let (Some(guest), Some(work)) = (live.guest.clone(), live.work.clone()) else { return };
        let Some(ledger) = self.shard.ledger(key) else { return };
        let Some(kind) = self.kinds.get(&key.kind) else {
            return self.not_ready(key, no_kind(&key.kind), now);
        };
        live.given = true;
        let component = kind.guests.component();
        let turn = |command: &Command| turn(key, ledger, command, now);
        let at = || Box::new((ledger.clone(), self.shard.tail().chain.seq(), component));
        let (inbox, of) = (self.inbox.clone(), key.clone());
        match work {
            Work::Decide(token, command) => {
                let turn = turn(&command);
                let done = move |result| inbox.send(Message::Decided { key: of, token, component, result });
                guest.decide(turn, command, Box::new(done));
            }
            Work::Ask(token, Question::Query { name, body }) => {
                let done = move |result| inbox.send(Message::Queried { key: of, token, result });
                guest.query(now.unix_ms, (name, body), Box::new(done));
            }
            Work::Ask(token, Question::Save) => {
                let at = at();
                let done = move |result| inbox.send(Message::Saved { key: of, token, at, result });
                guest.save(Box::new(done));
            }
        }
    }

    /// Takes the work back, unless the instance has gone: then the actor is folded again, and asked
    /// again. `None` when this answer is not waited for.
    pub(super) fn settle_work<T>(
        &mut self,
        key: &EntityKey,
        token: Token,
        result: Result<T, GuestFault>,
        now: Now,
    ) -> Option<Result<T, GuestFault>> {
        let live = self.live.get_mut(key)?;
        let waited = match &live.work {
            Some(Work::Decide(waited, _) | Work::Ask(waited, _)) => *waited == token,
            None => false,
        };
        if !waited {
            return None;
        }
        match &result {
            Err(GuestFault::Gone) => {
                live.guest = None;
                live.given = false;
                self.activate(key, now);
                return None;
            }
            Err(GuestFault::Trapped(report)) => {
                let seed = seed(key, "trap", u64::from(live.traps));
                live.trapped(report, now.monotonic_ms, seed);
            }
            Err(GuestFault::Unavailable(_)) => {}
            Ok(_) => live.traps = 0,
        }
        live.work = None;
        live.given = false;
        Some(result)
    }

    pub(super) fn decided(
        &mut self,
        key: EntityKey,
        token: Token,
        (component, result): (Digest, Result<Verdict, GuestFault>),
        now: Now,
    ) {
        let Some(result) = self.settle_work(&key, token, result, now) else { return };
        let outcome = match result {
            Ok(Verdict::Decided(decision)) => Outcome::Decided { decision, component },
            Ok(Verdict::Refused(report)) => Outcome::Refused(report.at(&key)),
            Err(GuestFault::Trapped(report)) => Outcome::Trapped(report),
            Err(fault) => Outcome::Unavailable(fault.report().at(&key)),
        };
        self.step(Input::Decided { key, token, outcome }, now);
    }

    pub(super) fn queried(
        &mut self,
        key: EntityKey,
        token: Token,
        result: Result<Result<Bytes, Report>, GuestFault>,
        now: Now,
    ) {
        let Some(result) = self.settle_work(&key, token, result, now) else { return };
        let answer = match result {
            Ok(Ok(body)) => Answer::Given(body),
            Ok(Err(report)) => Answer::Refused(report.at(&key)),
            Err(GuestFault::Trapped(report)) => Answer::Trapped(report),
            Err(fault) => Answer::Refused(fault.report().at(&key)),
        };
        self.step(Input::Answered { key, token, answer }, now);
    }

    /// The state is not what the journal says (any more).
    pub(super) fn drop_state(&mut self, key: &EntityKey, _now: Now) {
        if let Some(live) = self.live.get_mut(key) {
            live.guest = None;
        }
    }

    /// What a durable commit means for its actor in memory.
    pub(super) fn noted(&mut self, commit: &Commit, now: Now) {
        let Some(live) = self.live.get_mut(&commit.key) else { return };
        live.used_ms = now.monotonic_ms;
        live.since.applied(commit.events.len(), live.fold_us.saturating_mul(commit.events.len() as u64));
        for effect in &commit.effects {
            match effect {
                Effect::SnapshotNow => live.since.ask(),
                Effect::Passivate => live.leaving = true,
                Effect::Delete => {
                    live.guest = Some(bury::guest(commit.key.clone()));
                    live.since = SinceSnapshot::new(now.monotonic_ms);
                    live.last_trap = None;
                    live.leaving = true;
                }
                _ => {}
            }
        }
    }

    /// A kind runs here from now on, or with another component. Its actors are folded anew when they
    /// are next asked something.
    pub(super) fn put_kind(&mut self, name: KindName, kind: Kind, now: Now) {
        let before = self.kinds.insert(name.clone(), kind);
        let keys: Vec<EntityKey> = self.live.keys().filter(|key| key.kind == name).cloned().collect();
        let changed = before.is_none_or(|before| {
            let now = self.kinds.get(&name).map(|kind| kind.guests.component());
            Some(before.guests.component()) != now
        });
        for key in keys {
            if let Some(live) = self.live.get_mut(&key) {
                live.guest = None;
                if changed {
                    (live.alone, live.traps, live.paused_until_ms) = (false, 0, 0);
                }
            }
            if changed {
                self.step(Input::Forgive { key }, now);
            }
        }
    }

    /// Somebody has looked at what trapped, and wants it tried again.
    pub(super) fn forgive(&mut self, key: EntityKey, now: Now) {
        if let Some(live) = self.live.get_mut(&key) {
            (live.traps, live.paused_until_ms) = (0, 0);
        }
        self.step(Input::Forgive { key }, now);
    }

    /// A kind does not run here any more; what is idle of it leaves memory.
    pub(super) fn remove_kind(&mut self, name: &KindName, actor: &ActorId, now: Now) {
        if self.kinds.get(name).is_none_or(|kind| kind.actor != *actor) {
            return;
        }
        self.kinds.remove(name);
        let keys: Vec<EntityKey> = self.live.keys().filter(|key| key.kind == *name).cloned().collect();
        for key in keys {
            if let Some(live) = self.live.get_mut(&key) {
                live.guest = None;
            }
            self.passivate(&key, now);
        }
    }
}

fn turn(key: &EntityKey, ledger: &Ledger, command: &Command, now: Now) -> Turn {
    let (seq, command_id) = (ledger.seq().next().0, command.reference.to_string());
    let sender = match &command.reference {
        CommandRef::Sent { from, .. } => Some(from.clone()),
        _ => None,
    };
    let seed = seed(key, &command_id, seq);
    Turn { now_ms: now.unix_ms.max(ledger.hlc().wall_ms), seq, seed, command_id, sender }
}
