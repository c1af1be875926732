//! Effects on their way out, and timers that are due. An effect goes out only after its record is
//! durable; it is taken when its target has it: another actor's commit, a broker's word, or the commit
//! that brings a call's answer back.

use super::{Message, ShardLoop, Waiter, no_kind};
use crate::aside::{Aside, Why};
use bytes::Bytes;
use host_core::retry::Outcome;
use lattice_journal::command::CommandRef;
use lattice_journal::outbox::{Outgoing, RelayAction};
use lattice_journal::shard::{Input, Submitted};
use lattice_journal::{Command, Effect, Now};
use lattice_protocol::{EntityKey, ErrorCode, Report};
use serde_json::json;
use std::sync::Arc;

/// Timers that are begun in one round.
const TIMERS: usize = 1_024;
/// Pause before a timer's command that was not taken is tried again, milliseconds.
const RETRY_MS: u64 = 2_000;
/// Largest answer of a call, bytes.
const MAX_ANSWER_BYTES: usize = 256 << 10;

/// What came of an effect.
pub(crate) enum Relayed {
    /// Its target has it.
    Taken,
    /// A call was answered.
    Answered(Bytes),
    /// Its target does not have it, as far as is known.
    Failed(Report),
}

impl ShardLoop {
    /// Begins what may go out now.
    pub(super) fn relay_due(&mut self, now: Now) {
        for action in self.outbox.due(now.monotonic_ms) {
            match action {
                RelayAction::Relay(item) => self.carry(item, now),
                RelayAction::DeadLetter(item) => self.dead(&item, None, now),
            }
        }
    }

    fn carry(&mut self, item: Outgoing, now: Now) {
        match &item.effect {
            Effect::Send { to, sequence, name, body } => {
                let reference = CommandRef::Sent { from: item.from.clone(), sequence: *sequence };
                let command = Command { reference, name: name.to_string(), body: body.clone() };
                let to = to.clone();
                if self.is_mine(&to) {
                    let token = self.token(Waiter::Relay(Box::new(item)));
                    return self.submit(token, to, command, now);
                }
                self.send_away(item, to, command);
            }
            Effect::Call { .. } if self.answers.contains_key(&item.position) => self.hand_over(item, now),
            _ => self.let_out(item, now),
        }
    }

    fn send_away(&self, item: Outgoing, to: EntityKey, command: Command) {
        let (peers, inbox) = (Arc::clone(&self.shared.peers), self.inbox.clone());
        let patience = self.shared.policy.effect;
        self.shared.scope.spawn_best_effort("send", async move {
            let result = match peers.submit(to, command, patience).await {
                Ok(_) => Relayed::Taken,
                Err(report) => Relayed::Failed(report),
            };
            inbox.send(Message::Relayed { item: Box::new(item), result });
        });
    }

    /// Through a link of the actor.
    fn let_out(&mut self, item: Outgoing, now: Now) {
        let Some(kind) = self.kinds.get(&item.from.kind) else {
            let report = no_kind(&item.from.kind);
            return self.relayed(item, Relayed::Failed(report), now);
        };
        let (effects, inbox) = (Arc::clone(&kind.effects), self.inbox.clone());
        let patience = self.shared.policy.effect;
        self.shared.scope.spawn_best_effort("effect", async move {
            let key = item.idempotency_key();
            let result = match &item.effect {
                Effect::Publish { link, subject, body } => {
                    let sent = effects.publish(link, (subject, body.clone()), &key, patience).await;
                    sent.map(|()| Relayed::Taken)
                }
                Effect::Call { link, function, body, .. } => {
                    effects.call(link, (function, body.clone()), &key, patience).await.map(Relayed::Answered)
                }
                _ => Ok(Relayed::Taken),
            };
            let result = result.unwrap_or_else(Relayed::Failed);
            inbox.send(Message::Relayed { item: Box::new(item), result });
        });
    }

    /// What came of an effect that left.
    pub(super) fn relayed(&mut self, item: Outgoing, result: Relayed, now: Now) {
        match (result, &item.effect) {
            (Relayed::Taken, _) => self.taken(&item, now),
            (Relayed::Answered(body), _) => {
                let body = answer_body(&body);
                self.answers.insert(item.position, body);
                self.hand_over(item, now);
            }
            (Relayed::Failed(report), Effect::Call { .. }) => {
                let last = self.outbox.attempts(&item) + 1 >= self.shared.policy.relay.attempts;
                if Outcome::of(report.code).is_some() && !last {
                    return self.failed(&item, &report, now);
                }
                if last {
                    self.dead(&item, Some(report.clone()), now);
                }
                let body = json!({ "error": { "code": report.code, "message": report.to_string() } });
                self.answers.insert(item.position, body.to_string().into());
                self.hand_over(item, now);
            }
            (Relayed::Failed(report), _) => self.failed(&item, &report, now),
        }
    }

    /// Gives the answer of a call to its caller, as a command.
    fn hand_over(&mut self, item: Outgoing, now: Now) {
        let (Effect::Call { answer, .. }, Some(body)) = (&item.effect, self.answers.get(&item.position))
        else {
            return;
        };
        let reference = CommandRef::Answer { seq: item.seq, index: item.index };
        let command = Command { reference, name: answer.to_string(), body: body.clone() };
        let key = item.from.clone();
        let token = self.token(Waiter::Answer(Box::new(item)));
        self.submit(token, key, command, now);
    }

    fn taken(&mut self, item: &Outgoing, now: Now) {
        self.answers.remove(&item.position);
        self.outbox.taken(item);
        let position = self.outbox.position();
        self.step(Input::Relayed(position), now);
    }

    fn failed(&mut self, item: &Outgoing, report: &Report, now: Now) {
        tracing::debug!(key = item.idempotency_key(), error = %report, "effect not taken");
        if let Some(RelayAction::DeadLetter(item)) = self.outbox.failed(item, now.monotonic_ms) {
            self.dead(&item, Some(report.clone()), now);
            let position = self.outbox.position();
            self.step(Input::Relayed(position), now);
        }
    }

    fn dead(&self, item: &Outgoing, report: Option<Report>, now: Now) {
        self.set_aside(Aside::dead_letter(item, now.unix_ms, report));
    }

    /// What another actor of this shard made of a message.
    pub(super) fn sent(&mut self, item: Outgoing, answer: Result<Submitted, Report>, now: Now) {
        match answer {
            Ok(answer) => {
                if let (Some(report), Effect::Send { to, sequence, name, body }) =
                    (answer.refused, &item.effect)
                {
                    let reference = CommandRef::Sent { from: item.from.clone(), sequence: *sequence };
                    let command = Command { reference, name: name.to_string(), body: body.clone() };
                    self.settled(to, &command, report, now);
                }
                self.taken(&item, now);
            }
            Err(report) => self.failed(&item, &report, now),
        }
    }

    /// What the caller made of an answer.
    pub(super) fn answered(&mut self, item: Outgoing, answer: Result<Submitted, Report>, now: Now) {
        match answer {
            Ok(answer) => {
                if let (Some(report), Effect::Call { answer: name, .. }) = (answer.refused, &item.effect) {
                    let reference = CommandRef::Answer { seq: item.seq, index: item.index };
                    let body = self.answers.get(&item.position).cloned().unwrap_or_default();
                    let command = Command { reference, name: name.to_string(), body };
                    self.settled(&item.from, &command, report, now);
                }
                self.taken(&item, now);
            }
            Err(report) => self.failed(&item, &report, now),
        }
    }

    /// A command that is settled without having been carried out. A quarantined one is kept already.
    pub(super) fn settled(&self, key: &EntityKey, command: &Command, report: Report, now: Now) {
        if report.code != ErrorCode::Quarantined {
            self.set_aside(Aside::command(Why::Refused, key, command, now.unix_ms, Some(report)));
        }
    }

    /// Begins the timers that are due.
    pub(super) fn fire_timers(&mut self, now: Now) {
        let due = self.schedule.due(now.unix_ms).map(|(key, command, _)| (key, command));
        let due: Vec<_> = due
            .filter(|(key, command)| {
                let at = self.firing.get(&(key.clone(), command.reference.clone()));
                at.is_none_or(|at| *at <= now.monotonic_ms)
            })
            .take(TIMERS)
            .collect();
        for (key, command) in due {
            let known = (key.clone(), command.reference.clone());
            if !self.kinds.contains_key(&key.kind) {
                self.firing.insert(known, now.monotonic_ms + RETRY_MS);
                continue;
            }
            self.firing.insert(known, u64::MAX);
            let token = self.token(Waiter::Timer(key.clone(), command.clone()));
            self.submit(token, key, command, now);
        }
        if !self.firing.is_empty() {
            // Those that were cancelled while they waited to be tried again.
            let schedule = &self.schedule;
            self.firing
                .retain(|(key, reference), at| *at == u64::MAX || schedule.get(key, reference).is_some());
        }
    }

    /// What the actor made of its timer.
    pub(super) fn fired(
        &mut self,
        key: EntityKey,
        command: Command,
        answer: Result<Submitted, Report>,
        now: Now,
    ) {
        match answer {
            Ok(answer) => {
                self.firing.remove(&(key.clone(), command.reference.clone()));
                // Settled before, and so it must not be due any more.
                if answer.repeated {
                    self.schedule.settle(&key, &command.reference);
                }
                match answer.refused {
                    Some(report) if report.code == ErrorCode::Timeout => {
                        tracing::info!(actor = %key, timer = %command.reference, "{report}");
                    }
                    Some(report) => self.settled(&key, &command, report, now),
                    None => {}
                }
            }
            Err(report) => {
                tracing::debug!(actor = %key, timer = %command.reference, error = %report, "timer not taken");
                self.firing.insert((key, command.reference), now.monotonic_ms + RETRY_MS);
            }
        }
    }
}

/// The answer of a call as its caller gets it.
fn answer_body(answer: &Bytes) -> Bytes {
    if answer.len() > MAX_ANSWER_BYTES {
        let message = format!("answer too large (got {}, limit {MAX_ANSWER_BYTES})", answer.len());
        return json!({ "error": { "code": ErrorCode::TooLarge, "message": message } }).to_string().into();
    }
    // It is JSON: whoever called has checked that.
    [b"{\"ok\":", answer.as_ref(), b"}"].concat().into()
}
