//! Records on their way into the log, and what follows when they count.

use super::{Message, ShardLoop};
use lattice_journal::append::LogAction;
use lattice_journal::record::Body;
use lattice_journal::shard::{Input, StopReason};
use lattice_journal::{Now, Position, Sealed};
use lattice_protocol::Report;

impl ShardLoop {
    pub(super) fn log(&self, action: LogAction) {
        let inbox = self.inbox.clone();
        match action {
            LogAction::Append { attempt, expected, sealed } => {
                let done = move |outcome| {
                    inbox.send(match outcome {
                        Ok(outcome) => Message::Log(Input::Appended { attempt, outcome }),
                        Err(report) => Message::LogFailed(report),
                    });
                };
                self.log.append(expected, sealed, Box::new(done));
            }
            LogAction::Read { attempt, after } => {
                let done = move |back: Option<_>| {
                    inbox.send(Message::Log(match back {
                        Some(back) => Input::Read { attempt, back },
                        None => Input::ReadFailed { attempt },
                    }));
                };
                self.log.read(after, Box::new(done));
            }
        }
    }

    /// The disk is full: nothing was written, and nothing is acknowledged until there is room.
    pub(super) fn no_room(&mut self, report: Report) {
        if self.full.is_none() {
            tracing::error!(error = %report, "nothing is acknowledged until there is room");
        }
        self.full = Some(report);
    }

    /// What is known of actors cannot be read: the log is asked again what it is.
    pub(super) fn unreadable(&mut self, report: Report, now: Now) {
        self.step(Input::Stop(StopReason::Log(report)), now);
    }

    /// A record counts: what is known of its actors, their timers and effects follows.
    pub(super) fn durable(&mut self, sealed: &Sealed, at: Position, now: Now) {
        let record = sealed.record();
        if let Err(report) = self.roster.add(record) {
            return self.unreadable(report, now);
        }
        self.grown_bytes = self.grown_bytes.saturating_add(sealed.bytes().len() as u64);
        self.marks.note(record.seq, now.unix_ms, sealed.bytes().len());
        for commit in record.commits() {
            self.commits += 1;
            self.schedule.add(commit);
            self.noted(commit, now);
        }
        self.outbox.durable(record);
        self.buried(record);
        if let Body::Checkpoint(checkpoint) = &record.body {
            self.checkpointed(checkpoint, at, now);
        }
    }
}
