//! What is told of a command that was sent several times under one id.

use crate::{ErrorCode, Report};

/// What to do about it.
const AGAIN: &str = "it may have been carried out: send the same command id again";

/// Several attempts at one command. That the last of them reached nobody does not undo another that may have been
/// carried out: `E_OUTCOME_UNKNOWN` stays, until somebody knows.
#[derive(Debug, Default)]
pub struct Attempts {
    unknown: Option<Report>,
    is_open: bool,
}

impl Attempts {
    /// One begins. Until its end is told it may be carried out; so may have been one before whose end nobody waited
    /// for.
    pub fn begin(&mut self) {
        if std::mem::replace(&mut self.is_open, true) {
            let what = "no answer: the command may have been carried out";
            self.unknown = Some(Report::new(ErrorCode::OutcomeUnknown, what).hint(AGAIN));
        }
    }

    /// One has ended so. What is told of all of them if it was the last.
    pub fn told(&mut self, last: Report) -> Report {
        use ErrorCode::{Guest, IdReused, OutcomeUnknown, Quarantined, Trap};
        self.is_open = false;
        match last.code {
            OutcomeUnknown => self.unknown.insert(last).clone(),
            // Whoever says so has looked for the command among those that were carried out.
            Guest | IdReused | Quarantined | Trap => last,
            _ => self.unknown.clone().unwrap_or(last),
        }
    }

    /// There is no further one, because of this. What is told of all of them.
    pub fn given_up(&mut self, why: Report) -> Report {
        if !self.is_open {
            return self.told(why);
        }
        let unknown = Report { code: ErrorCode::OutcomeUnknown, ..why };
        self.told(unknown.hint(AGAIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ErrorCode::{CircuitOpen, Connection, Fenced, Guest, OutcomeUnknown, Timeout};

    fn report(code: ErrorCode) -> Report {
        Report::new(code, "so")
    }

    #[test]
    fn an_attempt_that_reached_nobody_does_not_undo_one_that_may_have_been_carried_out() {
        let told = |codes: &[ErrorCode]| {
            let mut attempts = Attempts::default();
            codes.iter().map(|code| attempts.told(report(*code)).code).collect::<Vec<_>>()
        };
        assert_eq!(
            told(&[Connection, OutcomeUnknown, Connection, Fenced]),
            [Connection, OutcomeUnknown, OutcomeUnknown, OutcomeUnknown]
        );
        assert_eq!(
            told(&[OutcomeUnknown, Guest]),
            [OutcomeUnknown, Guest],
            "the actor's own word is certain"
        );
    }

    #[test]
    fn what_was_under_way_when_it_was_given_up_may_have_been_carried_out() {
        let mut attempts = Attempts::default();
        assert_eq!(attempts.given_up(report(Timeout)).code, Timeout, "none had begun");
        attempts.begin();
        assert_eq!(attempts.told(report(Connection)).code, Connection);
        assert_eq!(attempts.given_up(report(CircuitOpen)).code, CircuitOpen, "none is under way");
        attempts.begin();
        assert_eq!(attempts.given_up(report(Timeout)).code, OutcomeUnknown);
        assert_eq!(attempts.given_up(report(CircuitOpen)).code, OutcomeUnknown, "and that stays");
        let mut attempts = Attempts::default();
        attempts.begin();
        attempts.begin();
        assert_eq!(attempts.told(report(Connection)).code, OutcomeUnknown, "nobody waited for the first");
    }
}
