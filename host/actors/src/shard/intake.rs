//! What comes from outside: who may ask what, and who may not now.

use super::message::Waiter;
use super::{Reply, ShardLoop, no_kind};
use lattice_journal::shard::{Input, Request, Token};
use lattice_journal::{Command, Now};
use lattice_protocol::{EntityKey, ErrorCode, Report};
use std::sync::Arc;

impl ShardLoop {
    pub(super) fn submitted(&mut self, key: EntityKey, command: Command, reply: Reply, now: Now) {
        if let Err(report) = self.admit(&key, now) {
            // Whoever asked may have stopped waiting.
            return drop(reply.send(Err(report)));
        }
        let token = self.token(Waiter::Caller(reply));
        self.submit(token, key, command, now);
    }

    /// Whatever ails the actor: it may be deleted.
    pub(super) fn delete(&mut self, key: EntityKey, command: Command, reply: Reply, now: Now) {
        let refused = if self.is_mine(&key) { self.full.clone() } else { Some(no_kind(&key.kind)) };
        if let Some(report) = refused {
            // Whoever asked may have stopped waiting.
            return drop(reply.send(Err(report)));
        }
        if self.shard.actors() >= self.shared.policy.shard.actors {
            self.make_room(now);
        }
        let token = self.token(Waiter::Caller(reply));
        self.step(Input::Delete(Request { token, key, command: Arc::new(command) }), now);
    }

    pub(super) fn submit(&mut self, token: Token, key: EntityKey, command: Command, now: Now) {
        self.step(Request { token, key, command: Arc::new(command) }.into(), now);
    }

    /// Is this actor one of this shard, and does its kind run here?
    pub(super) fn is_mine(&self, key: &EntityKey) -> bool {
        self.shared.realm.holds(key) && self.kinds.contains_key(&key.kind)
    }

    /// May somebody from outside have this actor do something now?
    pub(super) fn admit(&mut self, key: &EntityKey, now: Now) -> Result<(), Report> {
        match &self.full {
            Some(report) if self.is_mine(key) => Err(report.clone()),
            _ => self.admit_query(key, now),
        }
    }

    /// May somebody from outside ask this actor now? That stores nothing, and needs no room.
    pub(super) fn admit_query(&mut self, key: &EntityKey, now: Now) -> Result<(), Report> {
        if !self.is_mine(key) {
            return Err(no_kind(&key.kind));
        }
        if self.outbox.is_full() {
            return Err(Report::new(ErrorCode::Overloaded, "too many effects wait to be carried out")
                .limit(lattice_journal::outbox::MAX_WAITING)
                .hint("repair the links' targets: see `trellis actor list`"));
        }
        match self.live.get(key).map(|live| live.paused(now.monotonic_ms)) {
            Some(Some(left)) => Err(Report::new(ErrorCode::CrashLooping, "the actor traps at every command")
                .at(key)
                .hint(format!("tried again in {left} ms; see its log"))),
            None if self.shard.actors() >= self.shared.policy.shard.actors => {
                self.make_room(now);
                Ok(())
            }
            Some(None) | None => Ok(()),
        }
    }
}
