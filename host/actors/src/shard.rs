//! The loop of one shard: it owns the [`Shard`] state machine and everything that belongs to its
//! actors in memory. Whatever happens comes as a [`Message`]; nothing is waited for.
//!
//! ```text
//! activate ─▶ ready: live ── work (decide, ask) ─▶ guest ─▶ result
//!                │  ▲ gone: folded again, and the same work once more
//!                ▼  │
//!              idle ─▶ (snapshot) ─▶ passivated
//! ```
//! | module | does |
//! |---|---|
//! | `message`, `opening` | what comes to it; what it is made of |
//! | `intake` | who may ask what |
//! | `records` | records on their way into the log, and what follows from them |
//! | `turns` | actors in memory: activation, work for guests, what is folded again |
//! | `relay` | effects on their way out, and timers |
//! | `upkeep` | snapshots, idleness |
//! | `trimming` | letting history go |
//! | `standing` | what stands for history, for a copy of it elsewhere |
//! | `look` | questions of people |

mod intake;
mod look;
mod message;
mod opening;
mod records;
mod relay;
mod standing;
mod trimming;
mod turns;
mod upkeep;

pub(crate) use look::Look;
pub use look::{ActorLine, Listing, StateView};
pub use message::Reply;
pub(crate) use message::{Inbox, Message};
pub use opening::ShardStats;
pub(crate) use opening::{Opened, Realm, Shared};

use crate::activate::{Brought, Ready, Sources, Wanted};
use crate::bury::{self, Purge};
use crate::index::Schedule;
use crate::kinds::Kind;
use crate::log::ShardLog;
use crate::roster::Roster;
use bytes::Bytes;
use lattice_journal::append::LogAction;
use lattice_journal::outbox::{Outbox, OutboxPosition};
use lattice_journal::retain::Marks;
use lattice_journal::shard::{Action, Answer, Input, Question, StopReason, Submitted, Token};
use lattice_journal::{Now, Position, RecordSeq, Sealed, Shard, ShardId};
use lattice_protocol::{EntityKey, ErrorCode, KindName, Report};
use message::Waiter;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use turns::{Live, Work};

/// Messages that are handled in one go.
const TOGETHER: usize = 1_024;

/// See the module.
pub(crate) struct ShardLoop {
    shared: Shared,
    shard: Shard,
    log: Arc<dyn ShardLog>,
    outbox: Outbox,
    roster: Roster,
    schedule: Schedule,
    first: RecordSeq,
    trimming: bool,
    /// The log is asked who of those at rest holds it back.
    reading_laggards: bool,
    /// Bytes of records since the last checkpoint.
    grown_bytes: u64,
    /// After a trimming that failed: not before this (monotonic).
    trim_not_before_ms: u64,
    /// Ages and sizes of what the log keeps.
    marks: Marks,
    /// Deleted actors that are still in the log.
    purge: Option<Purge>,
    /// When the log was last asked to close a file (monotonic).
    rolled_ms: Option<u64>,
    /// What shall stand for history elsewhere.
    wished: Option<standing::Wished>,
    kinds: BTreeMap<KindName, Kind>,
    /// Actors that were folded before the shard was opened, each up to this record: until they are wanted.
    folded: HashMap<EntityKey, (Ready, RecordSeq)>,
    opened_ms: u64,
    live: HashMap<EntityKey, Live>,
    /// Actors in memory in the order in which they are looked at when room is needed.
    round: VecDeque<EntityKey>,
    waiters: HashMap<Token, Waiter>,
    tokens: u64,
    /// Timers whose command is under way, and when one that failed may be tried again (monotonic).
    firing: BTreeMap<(EntityKey, lattice_journal::CommandRef), u64>,
    /// Answers of calls that could not be handed over yet.
    answers: BTreeMap<OutboxPosition, Bytes>,
    snapshots_under_way: usize,
    inbox: Inbox,
    wanted: mpsc::UnboundedSender<(Wanted, Brought)>,
    /// The append on its way; it is begun again when the disk has room.
    appending: Option<(u64, Position, Sealed)>,
    /// Why nothing is taken: the disk is full.
    full: Option<Report>,
    /// It ends when what is under way is done.
    closing: bool,
    todo: VecDeque<Action>,
    performing: bool,
    stopped: Option<StopReason>,
    commits: u64,
    stats: watch::Sender<ShardStats>,
}

impl ShardLoop {
    /// A shard that is open, its inbox, and its counters.
    pub(crate) fn new(
        shared: Shared,
        log: Arc<dyn ShardLog>,
        opened: Opened,
        kinds: BTreeMap<KindName, Kind>,
    ) -> (Self, Inbox, mpsc::UnboundedReceiver<Message>) {
        #[allow(
            clippy::disallowed_methods,
            reason = "the disk's thread must not wait; every sender has one message in it at most"
        )]
        let (sender, messages) = mpsc::unbounded_channel();
        let inbox = Inbox(sender);
        #[allow(clippy::disallowed_methods, reason = "at most one request for each actor in memory")]
        let (wanted, wanting) = mpsc::unbounded_channel();
        let shard_id = opened.tail.chain.shard();
        let sources =
            Sources { shard: shard_id, log: Arc::clone(&log), snapshots: Arc::clone(&shared.snapshots) };
        shared.scope.spawn_until_cancelled("activate", crate::activate::run(sources, wanting));
        let mut outbox = Outbox::new(shared.policy.relay, opened.relayed);
        opened.outgoing.iter().for_each(|record| outbox.durable(record));
        outbox.seen(opened.tail.chain.seq());
        let purge = trimming::unfinished(&opened, &*log);
        let buried = opened.roster.buried().map(|(key, _)| key.clone()).collect();
        bury::forget(&shared.scope, (&shared.snapshots, &shared.aside), buried);
        let policy = shared.policy.shard;
        let mut roster = opened.roster;
        roster.spill_to(shared.snapshots.spill());
        roster.rest_all();
        let opened_ms = shared.clock.monotonic_ms();
        let shard = Shard::new(policy, opened.tail, opened.relayed, shared.lease_until_ms);
        let shard_loop = Self {
            shared,
            shard,
            log,
            outbox,
            roster,
            schedule: opened.schedule,
            first: opened.first,
            trimming: false,
            reading_laggards: false,
            grown_bytes: opened.bytes,
            trim_not_before_ms: 0,
            marks: opened.marks,
            purge,
            rolled_ms: None,
            wished: None,
            kinds,
            folded: opened.folded,
            opened_ms,
            live: HashMap::new(),
            round: VecDeque::new(),
            waiters: HashMap::new(),
            tokens: 0,
            firing: BTreeMap::new(),
            answers: BTreeMap::new(),
            snapshots_under_way: 0,
            inbox: inbox.clone(),
            wanted,
            appending: None,
            full: None,
            closing: false,
            todo: VecDeque::new(),
            performing: false,
            stopped: None,
            commits: 0,
            stats: watch::Sender::new(ShardStats::default()),
        };
        (shard_loop, inbox, messages)
    }

    /// Its counters.
    pub(crate) fn stats(&self) -> watch::Receiver<ShardStats> {
        self.stats.subscribe()
    }

    /// Runs until the shard stops: why.
    pub(crate) async fn run(mut self, mut messages: mpsc::UnboundedReceiver<Message>) -> StopReason {
        let mut batch = Vec::with_capacity(TOGETHER);
        let mut next_look = self.now().monotonic_ms;
        loop {
            let pause = self.pause(next_look);
            // Elapsed: nothing came; timers, the relay or the upkeep are due.
            if let Ok(0) = tokio::time::timeout(pause, messages.recv_many(&mut batch, TOGETHER)).await {
                return StopReason::Shutdown;
            }
            let now = self.now();
            for message in batch.drain(..) {
                self.handle(message, now);
            }
            // After a pause of the whole host the lease may be over: then no effect is begun.
            let now = self.now();
            self.step(Input::Tick, now);
            if let Some(reason) = self.stopped.take() {
                return reason;
            }
            self.relay_due(now);
            self.fire_timers(now);
            if now.monotonic_ms >= next_look {
                next_look = now.monotonic_ms + millis(self.shared.policy.period);
                self.upkeep(now);
                self.tell_stats();
            }
            if let Some(reason) = self.stopped.take() {
                return reason;
            }
        }
    }

    fn tell_stats(&self) {
        self.stats.send_replace(ShardStats {
            actors: self.shard.actors(),
            resting: self.roster.cold(),
            outbox: self.outbox.waiting(),
            record: self.shard.tail().chain.seq().0,
            commits: self.commits,
        });
    }

    fn now(&self) -> Now {
        let clock = &self.shared.clock;
        Now { monotonic_ms: clock.monotonic_ms(), unix_ms: clock.unix_ms() }
    }

    /// How long there is nothing to do unless something comes.
    fn pause(&self, next_look: u64) -> Duration {
        let now = self.now();
        let relay = self.outbox.wake_ms();
        let retries = self.firing.values().copied().filter(|at| *at != u64::MAX).min();
        let timer = self.schedule.next(now.unix_ms).map(|due| now.monotonic_ms + (due - now.unix_ms));
        let wake = [relay, retries, timer].into_iter().flatten().fold(next_look, u64::min);
        Duration::from_millis(wake.saturating_sub(now.monotonic_ms))
    }

    fn token(&mut self, waiter: Waiter) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.waiters.insert(token, waiter);
        token
    }

    fn handle(&mut self, message: Message, now: Now) {
        match message {
            Message::Submit { key, command, reply } => self.submitted(key, command, reply, now),
            Message::Delete { key, command, reply } => self.delete(key, command, reply, now),
            Message::Query { key, name, body, reply } => {
                if let Err(report) = self.admit_query(&key, now) {
                    return drop(reply.send(Err(report)));
                }
                let token = self.token(Waiter::Caller(reply));
                self.step(Input::Ask { token, key, question: Question::Query { name, body } }, now);
            }
            Message::Log(input) => {
                if matches!(input, Input::Appended { .. }) {
                    (self.appending, self.full) = (None, None);
                }
                self.step(input, now);
            }
            Message::LogFailed(report) if report.code == ErrorCode::InsufficientResources => {
                self.no_room(report)
            }
            Message::LogFailed(report) => self.step(Input::Stop(StopReason::Log(report)), now),
            Message::Ready { key, result } => self.ready(&key, result, now),
            Message::Decided { key, token, component, result } => {
                self.decided(key, token, (component, result), now);
            }
            Message::Queried { key, token, result } => self.queried(key, token, result, now),
            Message::Saved { key, token, at, result } => self.saved(key, token, (*at, result), now),
            Message::Stored { key, snapshot } => self.snapshot_stored(&key, snapshot, now),
            Message::Relayed { item, result } => self.relayed(*item, result, now),
            Message::Trimmed { through, result } => self.trimmed(through, result, now),
            Message::Settled { result } => self.checkpoint_settled(result),
            Message::CutAt { sealed } => self.cut_at(sealed, now),
            Message::StandAt { sealed } => self.stand_at(sealed),
            Message::Stood { result } => self.stood(result),
            Message::Laggards { records } => self.cold_laggards(records, now),
            Message::PutKind(name, kind) => self.put_kind(name, *kind, now),
            Message::RemoveKind(name, actor) => self.remove_kind(&name, &actor, now),
            Message::Forgive { key } => self.forgive(key, now),
            Message::Look(look) => self.look(look, now),
            // Whoever did found this host's lease over: the host has not noticed yet, as when it stood still.
            Message::Claimed { by } if by > self.shard.tail().chain.epoch() => {
                self.step(Input::Stop(StopReason::Moved), now);
            }
            Message::Claimed { .. } => {}
            Message::Lease(until_ms) => self.step(Input::Lease { until_ms }, now),
            Message::Stop(StopReason::Shutdown) => {
                self.closing = true;
                self.step(Input::CloseIntake, now);
            }
            Message::Stop(reason) => self.step(Input::Stop(reason), now),
        }
    }

    /// One step of the state machine, and all that it wants done.
    ///
    /// What an action leads to comes after everything that was wanted before it: an actor's work never
    /// overtakes the record that it follows from.
    fn step(&mut self, input: Input, now: Now) {
        self.todo.extend(self.shard.step(input, now));
        if self.performing {
            return;
        }
        self.performing = true;
        while let Some(action) = self.todo.pop_front() {
            self.perform(action, now);
        }
        self.performing = false;
    }

    fn perform(&mut self, action: Action, now: Now) {
        match action {
            Action::Activate { key } => self.activate(&key, now),
            Action::Decide { key, token, command } => self.work(key, Work::Decide(token, command), now),
            Action::Ask { key, token, question } => self.work(key, Work::Ask(token, question), now),
            Action::Log(action) => {
                if let LogAction::Append { attempt, expected, sealed } = &action {
                    self.appending = Some((*attempt, *expected, sealed.clone()));
                }
                self.log(action);
            }
            Action::Durable(sealed) => {
                // It was noted when the record was found valid.
                let tail = self.shard.tail();
                let at = tail.places.of(sealed.record().seq).unwrap_or(tail.position);
                self.log.durable(&sealed, at);
                self.durable(&sealed, at, now);
            }
            Action::Reply { token, answer } => self.answer(token, Ok(answer), now),
            Action::Refuse { token, report } => self.answer(token, Err(report), now),
            Action::Drop { key } => self.drop_state(&key, now),
            Action::Quarantined { key, command } => {
                self.set_aside(crate::aside::Aside::command(
                    crate::aside::Why::Trapped,
                    &key,
                    &command,
                    now.unix_ms,
                    self.live.get(&key).and_then(|live| live.last_trap.clone()),
                ));
            }
            Action::Skipped(skipped) => {
                for (at, invalid) in skipped {
                    tracing::warn!(%at, error = %invalid.report(self.shard.tail().chain.shard()), "record skipped");
                }
            }
            Action::Drained { .. } if self.closing => self.step(Input::Stop(StopReason::Shutdown), now),
            Action::Drained { .. } => {}
            Action::Stopped(reason) => self.stopped = Some(reason),
        }
    }

    fn answer(&mut self, token: Token, answer: Result<Submitted, Report>, now: Now) {
        match self.waiters.remove(&token) {
            // Whoever asked may have stopped waiting.
            Some(Waiter::Caller(reply)) => drop(reply.send(answer)),
            Some(Waiter::Relay(item)) => self.sent(*item, answer, now),
            Some(Waiter::Answer(item)) => self.answered(*item, answer, now),
            Some(Waiter::Timer(key, command)) => self.fired(key, command, answer, now),
            Some(Waiter::Snapshot(key)) => self.snapshot_asked(&key, answer),
            None => {}
        }
    }

    fn set_aside(&self, aside: crate::aside::Aside) {
        // Nothing of a deleted actor is kept.
        if self.roster.is_buried(&aside.actor) {
            return;
        }
        let store = Arc::clone(&self.shared.aside);
        self.shared.scope.spawn_best_effort("set aside", async move {
            let keep = move || crate::aside::keep(&store, &aside);
            // A panic in there is logged by the runtime.
            drop(tokio::task::spawn_blocking(keep).await);
        });
    }

    fn shard_id(&self) -> ShardId {
        self.shard.tail().chain.shard()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn no_kind(kind: &KindName) -> Report {
    Report::new(ErrorCode::ActorNotFound, format!("no persistent actor of kind {kind} runs here"))
        .hint("see the kinds there are: trellis actor list")
}

/// The actor's answer, when it was asked nothing that has one.
fn refused(report: Report) -> Answer {
    Answer::Refused(report)
}
