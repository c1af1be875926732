//! Bodies that nobody should send, and somebody will.

use std::cell::{Cell, RefCell};

use super::{Given, START_MS};
use crate::actor::turn::Host;
use crate::actor::{Actor, Turn, machine};

/// What a byte is replaced by, or followed by.
const BYTES: &[u8] = b"\0\n \"\\{}[]:,-+.019eEnt\x7f\x80\xc3\xff";

impl<A: Actor> Given<A> {
    /// Sends these bodies of a command cut off at each byte, with each byte replaced, left out, or followed by others:
    /// the actor may accept or refuse, and never panics, which would be a trap. What it accepts can be applied.
    #[track_caller]
    pub fn never_traps_on(self, name: &str, bodies: &[&str]) -> Self {
        for body in bodies {
            let body = body.as_bytes();
            for at in 0..=body.len() {
                let (before, after) = body.split_at(at);
                self.survives(name, before);
                let rest = after.get(1..).unwrap_or_default();
                self.survives(name, &[before, rest].concat());
                for byte in BYTES {
                    self.survives(name, &[before, &[*byte], rest].concat());
                    self.survives(name, &[before, &[*byte], after].concat());
                }
            }
        }
        for deep in [r#"{"a":"#, "["] {
            self.survives(name, deep.repeat(10_000).as_bytes());
        }
        self
    }

    #[track_caller]
    fn survives(&self, name: &str, body: &[u8]) {
        let turn = Turn {
            now_ms: START_MS,
            seq: self.seq + 1,
            seed: 0,
            command_id: String::new(),
            sender: None,
            host: Host::Kit { settings: self.settings.clone(), lines: RefCell::default() },
            drawn: Cell::new(0),
        };
        if let Ok(decision) = machine::decide(&self.live, &turn, name, body) {
            let mut after = self.fold(&self.journal);
            if let Err(reason) = machine::apply(&mut after, &decision.events) {
                let body = String::from_utf8_lossy(body);
                panic!("command {name} {body:?}: its own event cannot be applied: {reason}");
            }
        }
    }
}
