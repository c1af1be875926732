//! The way of a turn through a shard: submitted, begun, decided, sent, durable.

use super::actor::{self, Actor};
use super::types::{self, Action, Answer, Input, Outcome, Question, Request, StopReason, Submitted, Token};
use super::{Intake, Sent, Shard, Turn};
use crate::append::Progress;
use crate::commit::{Commit, Effect};
use crate::dedupe::{Known, Refused};
use crate::ids::{ActorSeq, Epoch, Now};
use crate::ledger::{Decision, Ledger};
use crate::record::{Body, MAX_RECORD_BYTES, Sealed};
use keys::Digest;
use lattice_protocol::{EntityKey, ErrorCode, Report};

/// Room in a record for everything that is not a commit.
const RECORD_HEAD_BYTES: usize = 4 << 10;

impl Shard {
    fn refuse(&mut self, token: Token, report: Report) {
        self.actions.push(Action::Refuse { token, report });
    }

    pub(super) fn submit(&mut self, request: Request, now: Now) {
        let key = request.key.clone();
        self.enqueue(key, actor::Turn::Command(request), now);
    }

    pub(super) fn delete(&mut self, request: Request, now: Now) {
        let key = request.key.clone();
        self.enqueue(key, actor::Turn::Deletion(request), now);
    }

    pub(super) fn ask(&mut self, (token, question): (Token, Question), key: EntityKey, now: Now) {
        self.enqueue(key, actor::Turn::Question(token, question), now);
    }

    fn enqueue(&mut self, key: EntityKey, mut turn: actor::Turn, now: Now) {
        let token = turn.token();
        if let Some(reason) = &self.stopped {
            let report = reason.report();
            return self.refuse(token, report);
        }
        if self.intake != Intake::Open {
            return self.refuse(token, types::moving());
        }
        let known = self.actors.get_key_value(&key).map(|(known, _)| known.clone());
        if known.is_none() {
            if self.actors.len() >= self.policy.actors {
                let report = Report::new(ErrorCode::Overloaded, "too many actors in memory")
                    .limit(self.policy.actors)
                    .hint("try again: idle ones make room");
                return self.refuse(token, report);
            }
            self.actions.push(Action::Activate { key: key.clone() });
        }
        // From here on by the key that is known: the same pointer is found equal at once.
        let key = known.unwrap_or(key);
        turn.is_of(&key);
        let limit = self.policy.queue;
        let actor = self.actors.entry(key.clone()).or_insert_with(Actor::new);
        if actor.waiting() >= limit {
            let report =
                Report::new(ErrorCode::Overloaded, format!("{key}: too many commands wait")).limit(limit);
            return self.refuse(token, report);
        }
        actor.push(turn);
        self.begin_next(&key, now);
    }

    pub(super) fn activated(&mut self, ledger: Ledger, now: Now) {
        let key = ledger.key().clone();
        let Some(actor) = self.actors.get_mut(&key).filter(|actor| actor.ledger().is_none()) else { return };
        actor.activated(ledger);
        self.begin_next(&key, now);
    }

    pub(super) fn not_activated(&mut self, key: &EntityKey, report: &Report) {
        if self.actors.get(key).is_some_and(|actor| actor.ledger().is_none())
            && let Some(actor) = self.actors.remove(key)
        {
            for token in actor.into_tokens() {
                self.refuse(token, report.clone());
            }
        }
    }

    /// Begins the next turn of an actor. Commands that need none are answered on the way.
    fn begin_next(&mut self, key: &EntityKey, now: Now) {
        let epoch = self.epoch();
        let traps = self.policy.traps;
        while let Some(actor) = self.actors.get_mut(key)
            && let Some(turn) = actor.next()
        {
            let token = turn.token();
            let Some(ledger) = actor.ledger() else { return };
            let ended = ledger.ended();
            let request = match &turn {
                actor::Turn::Command(request) => request,
                actor::Turn::Deletion(request) => {
                    let request = request.clone();
                    match deletion(ledger, epoch, token) {
                        Some(settled) => {
                            self.actions.push(settled);
                            continue;
                        }
                        None => {
                            actor.begin(turn);
                            actor.decided(token);
                            return self.bury(request, now);
                        }
                    }
                }
                actor::Turn::Question(_, Question::Query { .. }) if let Some(report) = ended => {
                    self.refuse(token, report);
                    continue;
                }
                actor::Turn::Question(_, question) => {
                    let question = question.clone();
                    actor.begin(turn);
                    self.actions.push(Action::Ask { key: key.clone(), token, question });
                    return;
                }
            };
            let action = match (ledger.check(&request.command, now.unix_ms), ended) {
                // It will never be decided, nor any that follow it: no commit has to say so.
                (Ok(Known::New) | Err(Refused::Gap { .. }), Some(ended)) if settles(&request.command) => {
                    let (reply, seq) = (bytes::Bytes::new(), ledger.seq());
                    let answer = Submitted { reply, seq, epoch, repeated: true, refused: Some(ended) };
                    Action::Reply { token, answer }
                }
                (Ok(Known::New), Some(report)) => Action::Refuse { token, report },
                // Of what it did, nothing is known any more.
                (Err(_), Some(report)) if ledger.is_deleted() => Action::Refuse { token, report },
                (Err(refused), _) => Action::Refuse { token, report: refused.into() },
                (Ok(Known::Repeated(first)), _) => {
                    let (reply, seq) = (first.reply, first.seq);
                    Action::Reply {
                        token,
                        answer: Submitted { reply, seq, epoch, repeated: true, refused: None },
                    }
                }
                (Ok(Known::Settled), _) => {
                    let seq = ledger.seq();
                    let reply = bytes::Bytes::new();
                    Action::Reply {
                        token,
                        answer: Submitted { reply, seq, epoch, repeated: true, refused: None },
                    }
                }
                (Ok(Known::New), None) if actor.traps(&request.command) >= traps => {
                    let (report, request) = (quarantined(key, request), request.clone());
                    if !settles(&request.command) {
                        self.refuse(token, report);
                        continue;
                    }
                    actor.begin(turn);
                    if actor.decided(token).is_some() {
                        self.settle(request, report, now);
                    }
                    return;
                }
                (Ok(Known::New), None) => {
                    let command = request.command.clone();
                    actor.begin(turn);
                    self.actions.push(Action::Decide { key: key.clone(), token, command });
                    return;
                }
            };
            self.actions.push(action);
        }
    }

    pub(super) fn answered(&mut self, key: &EntityKey, token: Token, answer: Answer, now: Now) {
        let epoch = self.epoch();
        let Some(actor) = self.actors.get_mut(key) else { return };
        if !actor.answered(token) {
            return;
        }
        match answer {
            Answer::Given(reply) => {
                let seq = actor.ledger().map(Ledger::seq).unwrap_or_default();
                let answer = Submitted { reply, seq, epoch, repeated: false, refused: None };
                self.actions.push(Action::Reply { token, answer });
                self.begin_next(key, now);
            }
            Answer::Refused(report) => {
                self.refuse(token, report);
                self.begin_next(key, now);
            }
            Answer::Trapped(report) => {
                self.refuse(token, report);
                self.spoilt(key);
            }
        }
    }

    pub(super) fn decided(&mut self, key: &EntityKey, token: Token, outcome: Outcome, now: Now) {
        let Some(request) = self.actors.get_mut(key).and_then(|actor| actor.decided(token)) else {
            return;
        };
        match outcome {
            Outcome::Decided { decision, component } => {
                self.make_commit(request, (decision, component), None, now);
            }
            Outcome::Refused(report) if settles(&request.command) => self.settle(request, report, now),
            Outcome::Refused(report) | Outcome::Unavailable(report) => {
                self.refuse(token, report);
                if let Some(actor) = self.actors.get_mut(key) {
                    actor.end_turn();
                }
                self.begin_next(key, now);
            }
            Outcome::Trapped(report) => self.trapped(&request, report),
        }
    }

    /// Stores that a command will not be carried out, so that it does not come again.
    fn settle(&mut self, request: Request, report: Report, now: Now) {
        // No component decided it.
        let nothing = (Decision::default(), Digest::from_bytes([0; 32]));
        self.make_commit(request, nothing, Some(report), now);
    }

    /// Stores that everything the actor was is deleted.
    fn bury(&mut self, request: Request, now: Now) {
        let decision = Decision { effects: vec![Effect::Delete], ..Decision::default() };
        // No component decided it.
        self.make_commit(request, (decision, Digest::from_bytes([0; 32])), None, now);
    }

    fn make_commit(
        &mut self,
        request: Request,
        (decision, component): (Decision, Digest),
        refused: Option<Report>,
        now: Now,
    ) {
        let Request { token, key, command } = &request;
        let Some(ledger) = self.actors.get(key).and_then(Actor::ledger) else { return };
        let commit = ledger.commit(command, decision, component, now.unix_ms).and_then(|commit| {
            let (got, limit) = (size(&commit), MAX_RECORD_BYTES - RECORD_HEAD_BYTES);
            if got <= limit {
                return Ok(commit);
            }
            let what = format!("{key}: decision too large");
            Err(Report::new(ErrorCode::TooLarge, what)
                .got(got)
                .limit(limit)
                .hint("let one command change less"))
        });
        match commit {
            Ok(commit) => self.waiting.push_back(Turn { token: *token, commit, refused }),
            // Its events are in the live state already.
            Err(report) => self.trapped(&request, report),
        }
    }

    fn trapped(&mut self, request: &Request, report: Report) {
        let Request { token, key, command } = request;
        self.refuse(*token, report);
        let Some(actor) = self.actors.get_mut(key) else { return };
        if actor.count_trap(command) == self.policy.traps {
            self.actions.push(Action::Quarantined { key: key.clone(), command: command.clone() });
        }
        self.spoilt(key);
    }

    fn spoilt(&mut self, key: &EntityKey) {
        let Some(actor) = self.actors.get_mut(key) else { return };
        actor.spoilt();
        self.actions.push(Action::Drop { key: key.clone() });
        self.actions.push(Action::Activate { key: key.clone() });
    }

    pub(super) fn passivate(&mut self, key: &EntityKey) {
        if self.is_idle(key) {
            self.actors.remove(key);
            self.actions.push(Action::Drop { key: key.clone() });
        }
    }

    /// Sends the next record, when none is on its way and there is something to say.
    pub(super) fn flush(&mut self) {
        if self.stopped.is_some() || !self.appender.is_idle() {
            return;
        }
        let body = match self.control.pop_front() {
            Some(body) => body,
            None if self.waiting.is_empty() => return,
            None => self.gather(),
        };
        if let Body::Commits { relayed: Some(position), .. } = &body {
            self.written = *position;
        }
        let record = self.appender.tail().chain.next(body);
        match self.appender.append(record) {
            Ok(action) => self.actions.push(Action::Log(action)),
            Err(error) => self.stop(StopReason::Defect(format!("a record of ours: {error}"))),
        }
    }

    /// As many decided turns as fit into one record.
    fn gather(&mut self) -> Body {
        let most =
            self.policy.record_bytes.min(MAX_RECORD_BYTES) - RECORD_HEAD_BYTES.min(self.policy.record_bytes);
        let (mut bytes, mut commits) = (0, Vec::new());
        while let Some(turn) = self.waiting.front() {
            bytes += size(&turn.commit);
            let full = bytes > most || self.flight.len() >= self.policy.record_commits;
            if full && !self.flight.is_empty() {
                break;
            }
            let Some(Turn { token, commit, refused }) = self.waiting.pop_front() else { break };
            self.flight.push(Sent { token, refused });
            commits.push(commit);
        }
        let relayed = (self.relayed > self.written).then_some(self.relayed);
        Body::Commits { relayed, commits }
    }

    /// What the log's answer means.
    pub(super) fn progress(&mut self, progress: Progress, now: Now) {
        let skipped = self.appender.take_skipped();
        if !skipped.is_empty() {
            self.actions.push(Action::Skipped(skipped));
        }
        match progress {
            Progress::Waiting => {}
            Progress::Act(action) if self.stopped.is_none() => self.actions.push(Action::Log(action)),
            Progress::Act(_) => {}
            Progress::Done { sealed, then } => self.durable(sealed, &then, now),
            Progress::Overtaken { .. } => {
                let by = self.epoch();
                self.stop(StopReason::Fenced { by });
            }
            Progress::GaveUp => self.stop(StopReason::OutcomeUnknown),
            Progress::Damaged { at, error } => self.stop(StopReason::Damaged { at, error }),
        }
    }

    /// The record is valid: its turns are over.
    fn durable(&mut self, sealed: Sealed, then: &[Sealed], now: Now) {
        let epoch = sealed.record().epoch;
        let sent = std::mem::take(&mut self.flight);
        let mut keys = Vec::with_capacity(sent.len());
        for (Sent { token, refused }, commit) in sent.into_iter().zip(sealed.record().commits()) {
            let (reply, seq) = (commit.reply.clone(), commit.seq);
            let Some(actor) = self.actors.get_mut(&commit.key) else { continue };
            if let Some(Err(error)) = actor.ledger_mut().map(|ledger| ledger.apply(commit)) {
                return self.stop(StopReason::Defect(error.to_string()));
            }
            actor.end_turn();
            let answer = Submitted { reply, seq, epoch, repeated: false, refused };
            self.actions.push(Action::Reply { token, answer });
            keys.push(commit.key.clone());
        }
        if !then.is_empty() {
            let by = self.epoch();
            return self.stop(StopReason::Fenced { by });
        }
        // After the end of the lease nothing is started any more: the next owner relays it.
        if self.stopped.is_none() && now.monotonic_ms < self.lease_until_ms {
            self.actions.push(Action::Durable(sealed));
            keys.iter().for_each(|key| self.begin_next(key, now));
        }
    }
}

/// What a deletion is answered with that needs no commit.
fn deletion(ledger: &Ledger, epoch: Epoch, token: Token) -> Option<Action> {
    if ledger.is_deleted() {
        let (reply, seq) = (bytes::Bytes::new(), ledger.seq());
        let answer = Submitted { reply, seq, epoch, repeated: true, refused: None };
        return Some(Action::Reply { token, answer });
    }
    (ledger.seq() == ActorSeq(0)).then(|| {
        let what = format!("{}: no actor to delete", ledger.key());
        let report = Report::new(ErrorCode::ActorNotFound, what).hint("it has carried out no command");
        Action::Refuse { token, report }
    })
}

/// Must it be settled even when it is refused? Other actors' messages are numbered without a gap,
/// timers and answers are waited for: left open, each would block or come again for ever.
fn settles(command: &crate::command::Command) -> bool {
    !matches!(command.reference, crate::command::CommandRef::Id(_))
}

fn quarantined(key: &EntityKey, request: &Request) -> Report {
    let what = format!("{key}: command {} was set aside: it keeps trapping", request.command.reference);
    Report::new(ErrorCode::Quarantined, what)
        .hint("see `trellis actor quarantine`; update the actor, then replay it")
}

/// An upper bound for a commit's place in a record.
fn size(commit: &Commit) -> usize {
    let effect = |effect: &Effect| match effect {
        Effect::Send { name, body, .. } => 128 + name.len() + body.len(),
        Effect::Publish { link, subject, body } => link.len() + subject.len() + body.len(),
        Effect::Call { link, function, body, answer } => {
            link.len() + function.len() + body.len() + answer.len()
        }
        Effect::TimerSet { name, command, body, .. } => name.len() + command.len() + body.len(),
        Effect::TimerCancel { name } => name.len(),
        Effect::Crdt { name, delta } => name.len() + delta.len(),
        Effect::SnapshotNow | Effect::Passivate | Effect::Stop | Effect::Delete => 0,
    };
    // Lengths and numbers are at most ten bytes each; names of kinds and ids at most 64.
    let events = commit.events.iter().map(|event| 48 + event.name.len() + event.payload.len());
    let effects = commit.effects.iter().map(|one| 64 + effect(one));
    512 + events.sum::<usize>() + effects.sum::<usize>() + commit.reply.len()
}

impl From<Request> for Input {
    fn from(request: Request) -> Self {
        Self::Submit(request)
    }
}
