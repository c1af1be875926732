//! What stands for history that is still there, for a copy of it elsewhere: as a trimming would write it, but
//! nothing goes.
//!
//! It is made when every actor that has done anything up to the record that is wished for has a snapshot; those
//! that have none are asked for one. What cannot be had (an effect that nobody takes, a kind that does not run here
//! any more) is waited for only so long, while nothing gets any further: then it stands for less.

use super::{Message, ShardLoop};
use crate::device::blocking;
use crate::log::Standing;
use lattice_journal::{Now, RecordSeq, Sealed};
use lattice_protocol::{ErrorCode, Report};
use std::sync::Arc;

/// How long is waited for what was wished for when nothing gets any further, milliseconds.
const PATIENCE_MS: u64 = 60_000;

/// What is done about a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wished {
    /// Through this record.
    through: RecordSeq,
    /// How far it could stand when that was last more than before.
    reached: RecordSeq,
    /// Until then (monotonic) for no less.
    until_ms: u64,
    /// It is being made.
    making: bool,
}

/// What is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It can stand for everything up to here.
    Take(RecordSeq),
    /// Those who hold it back are asked for snapshots.
    Ask,
    /// Nothing: it is under way, or there is nothing that it could begin with.
    Wait,
}

impl Wished {
    fn new(through: RecordSeq) -> Self {
        Self { through, reached: RecordSeq(0), until_ms: 0, making: false }
    }

    /// It could stand for everything up to here now.
    fn reaches(self, could: RecordSeq, now_ms: u64) -> Self {
        if could <= self.reached && self.until_ms > 0 {
            return self;
        }
        Self { reached: could, until_ms: now_ms.saturating_add(PATIENCE_MS), ..self }
    }

    /// `through`: how far it could stand now; `first`: the first record that is kept.
    fn step(&self, (through, first): (RecordSeq, RecordSeq), now_ms: u64) -> Step {
        if self.making {
            return Step::Wait;
        }
        let enough = through >= self.through || now_ms >= self.until_ms;
        match enough {
            true if through >= first => Step::Take(through),
            true => Step::Wait,
            false => Step::Ask,
        }
    }
}

impl ShardLoop {
    /// One look at what is wished for.
    pub(super) fn stand(&mut self, now: Now) {
        let Some(through) = self.log.wants_standing() else {
            self.wished = None;
            return;
        };
        let could = self.roster.through(&self.shard.tail().chain, self.outbox.position());
        let known = self.wished.filter(|wished| wished.through == through);
        let wished = known.unwrap_or_else(|| Wished::new(through)).reaches(could, now.monotonic_ms);
        self.wished = Some(wished);
        match wished.step((could, self.first), now.monotonic_ms) {
            Step::Wait => {}
            Step::Ask => self.ask_laggards(through, now),
            Step::Take(through) => {
                self.wished = Some(Wished { making: true, ..wished });
                let (log, inbox) = (Arc::clone(&self.log), self.inbox.clone());
                self.shared.scope.spawn_best_effort("standing", async move {
                    let read = log.records(vec![through]).await;
                    let gone = || Report::new(ErrorCode::Damaged, "the record to stand at is not there");
                    let sealed = read.and_then(|mut read| read.pop().ok_or_else(gone));
                    inbox.send(Message::StandAt { sealed });
                });
            }
        }
    }

    /// The record to end with is read.
    pub(super) fn stand_at(&mut self, sealed: Result<Sealed, Report>) {
        match sealed {
            Ok(sealed) => self.stand_behind(sealed),
            Err(report) => self.stood(Err(report)),
        }
    }

    fn stand_behind(&mut self, sealed: Sealed) {
        let survey = self.roster.survey();
        let timers = self.schedule.iter();
        let timers = timers.map(|(key, name, timer)| (key.clone(), name.clone(), timer.clone())).collect();
        let (last, log, inbox) = (self.shard.tail().chain.seq(), Arc::clone(&self.log), self.inbox.clone());
        self.shared.scope.spawn_best_effort("standing", async move {
            let made = blocking(move || {
                let list = survey.snapshots()?;
                let (checkpoint, _) = list.checkpoint(&sealed);
                Ok(Standing { checkpoint, list, timers, last })
            });
            let result = made.await.map(|standing| log.stands(standing));
            inbox.send(Message::Stood { result });
        });
    }

    /// What was wished for is given, or is not.
    pub(super) fn stood(&mut self, result: Result<(), Report>) {
        if let Some(wished) = &mut self.wished {
            wished.making = false;
        }
        if let Err(report) = result {
            // It was trimmed meanwhile, say: the next look finds another one.
            tracing::debug!(error = %report, "nothing stands for history elsewhere yet");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_for_what_was_wished_or_after_a_while_for_what_can_be_had() {
        let wished = Wished::new(RecordSeq(10)).reaches(RecordSeq(7), 1_000);
        let step = |through, now_ms| wished.step((RecordSeq(through), RecordSeq(5)), now_ms);
        assert_eq!(step(9, 1_000), Step::Ask);
        assert_eq!(step(10, 1_000), Step::Take(RecordSeq(10)));
        assert_eq!(step(12, 1_000), Step::Take(RecordSeq(12)));
        assert_eq!(step(9, 1_000 + PATIENCE_MS - 1), Step::Ask);
        assert_eq!(step(9, 1_000 + PATIENCE_MS), Step::Take(RecordSeq(9)));
        assert_eq!(step(4, 1_000 + PATIENCE_MS), Step::Wait, "that record is not kept any more");
        // As long as it gets further it is waited for.
        let further = wished.reaches(RecordSeq(8), 50_000).reaches(RecordSeq(8), 70_000);
        assert_eq!(further.step((RecordSeq(9), RecordSeq(5)), 1_000 + PATIENCE_MS), Step::Ask);
        assert_eq!(
            further.step((RecordSeq(9), RecordSeq(5)), 50_000 + PATIENCE_MS),
            Step::Take(RecordSeq(9))
        );
        assert_eq!(Wished { making: true, ..wished }.step((RecordSeq(10), RecordSeq(5)), 0), Step::Wait);
    }
}
