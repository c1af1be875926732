//! One turn of a flow: from a signal as far as it gets without waiting.

use super::{Act, Event, Failure, Flow, Moves, Phase, Run, Saga, Signal};
use crate::actor::{Effect, Turn};

pub(super) struct Walk<'a, G: Saga> {
    /// As it is so far in this turn.
    flow: Flow<G::Step>,
    saga: &'a G,
    turn: &'a Turn,
    events: Vec<Event<G::Step>>,
    effects: Vec<Effect>,
    /// Did a timer run before, and has one been set since?
    timer: (bool, bool),
}

impl<'a, G: Saga> Walk<'a, G> {
    pub(super) fn new(flow: &Flow<G::Step>, saga: &'a G, turn: &'a Turn) -> Self {
        let runs = flow.run.as_ref().is_some_and(|run| run.phase != Phase::Stuck);
        // A timer that has fired is gone.
        let fired = turn.fired().is_some_and(|(name, _)| name == G::TIMER);
        let timer = (runs && !fired, false);
        Self { flow: flow.clone(), saga, turn, events: Vec::new(), effects: Vec::new(), timer }
    }

    pub(super) fn finish(mut self) -> Moves<G::Step> {
        let moved = !self.events.is_empty();
        let waits = self.flow.run.as_ref().is_some_and(|run| run.phase != Phase::Stuck);
        if moved && !waits && self.timer == (true, false) {
            self.effects.push(Effect::TimerCancel(G::TIMER.to_owned()));
        }
        let end = if moved { self.flow.ended } else { None };
        Moves { events: self.events, effects: self.effects, end }
    }

    fn happen(&mut self, event: Event<G::Step>) {
        self.flow.apply(event.clone());
        self.events.push(event);
    }

    /// The step that the run is at.
    fn step(&self) -> Option<G::Step> {
        self.flow.run.as_ref().and_then(Run::step)
    }

    fn run(&self) -> Option<&Run<G::Step>> {
        self.flow.run.as_ref()
    }

    fn attempt(&self) -> u32 {
        self.run().map(|run| run.attempt).unwrap_or_default()
    }

    fn timer(&mut self, due_ms: u64, signal: Signal<G::Step>) {
        self.timer.1 = true;
        self.effects.push(Effect::timer(G::TIMER, due_ms, &self.saga.signal(signal)));
    }

    pub(super) fn start(&mut self, steps: Vec<G::Step>) {
        self.happen(Event::Started { steps });
        self.act();
    }

    pub(super) fn signal(&mut self, signal: Signal<G::Step>) {
        let Some((run_step, phase, attempt)) =
            self.run().and_then(|run| Some((run.step()?, run.phase, run.attempt)))
        else {
            return;
        };
        let forward = matches!(phase, Phase::Acting | Phase::Resting);
        let back = matches!(phase, Phase::Undoing | Phase::UndoResting | Phase::Stuck);
        match signal {
            Signal::Done { step } if step == run_step && forward => self.done(),
            Signal::Undone { step } if step == run_step && back => self.undone(),
            Signal::Failed { step, reason, uncertain } if step == run_step => match phase {
                Phase::Acting => self.missed(Failure { reason, uncertain }),
                Phase::Undoing => self.undo_missed(reason),
                Phase::Resting | Phase::UndoResting | Phase::Stuck => {}
            },
            Signal::Late { step, attempt: late } if step == run_step && late == attempt => {
                let reason = format!("no answer within {:?}", self.saga.policy(step).deadline);
                match phase {
                    Phase::Acting => self.missed(Failure { reason, uncertain: true }),
                    Phase::Undoing => self.undo_missed(reason),
                    Phase::Resting | Phase::UndoResting | Phase::Stuck => {}
                }
            }
            Signal::Again { step, attempt: over } if step == run_step && over == attempt => match phase {
                Phase::Resting => self.act(),
                Phase::UndoResting => self.undo(),
                Phase::Acting | Phase::Undoing | Phase::Stuck => {}
            },
            Signal::Abort { reason } if forward => {
                if phase == Phase::Acting {
                    self.happen(Event::Missed { step: run_step, reason: reason.clone(), uncertain: true });
                }
                self.roll_back(reason);
            }
            Signal::Resume if phase == Phase::Stuck => {
                self.happen(Event::Resumed);
                self.undo();
            }
            _ => {}
        }
    }

    /// Does the step at hand, and those that follow while nothing is to be waited for.
    fn act(&mut self) {
        while let Some(step) = self.step() {
            let attempt = self.attempt() + 1;
            self.happen(Event::Acting { step, attempt, seq: self.turn.seq });
            let act = self.saga.act(step, self.turn);
            if self.waits(act, step, attempt) {
                return;
            }
            self.happen(Event::Done { step });
        }
        self.happen(Event::Completed);
    }

    fn waits(&mut self, act: Act, step: G::Step, attempt: u32) -> bool {
        self.effects.extend(act.effects);
        if act.waits {
            let due_ms = self.turn.after(self.saga.policy(step).deadline);
            self.timer(due_ms, Signal::Late { step, attempt });
        }
        act.waits
    }

    pub(super) fn done(&mut self) {
        if let Some(step) = self.step() {
            self.happen(Event::Done { step });
            self.act();
        }
    }

    pub(super) fn missed(&mut self, failure: Failure) {
        let Some(step) = self.step() else { return };
        let (attempt, policy) = (self.attempt(), self.saga.policy(step));
        let Failure { reason, uncertain } = failure;
        self.happen(Event::Missed { step, reason: reason.clone(), uncertain });
        if attempt <= policy.retries {
            let due_ms = self.turn.after(policy.pause_after(attempt));
            self.timer(due_ms, Signal::Again { step, attempt });
        } else {
            self.roll_back(reason);
        }
    }

    fn roll_back(&mut self, reason: String) {
        let Some(steps) = self.run().map(|run| run.at + usize::from(run.uncertain)) else { return };
        self.happen(Event::RollingBack { reason, steps });
        self.undo();
    }

    /// Undoes the step at hand, and those before it while nothing is to be waited for.
    fn undo(&mut self) {
        while let Some(step) = self.step() {
            let attempt = self.attempt() + 1;
            self.happen(Event::Undoing { step, attempt, seq: self.turn.seq });
            let act = self.saga.undo(step, self.turn);
            if self.waits(act, step, attempt) {
                return;
            }
            self.happen(Event::Undone { step });
        }
        let reason = self.run().map(|run| run.reason.clone()).unwrap_or_default();
        self.happen(Event::RolledBack { reason });
    }

    pub(super) fn undone(&mut self) {
        if let Some(step) = self.step() {
            self.happen(Event::Undone { step });
            self.undo();
        }
    }

    pub(super) fn undo_missed(&mut self, reason: String) {
        let Some(step) = self.step() else { return };
        let (attempt, policy) = (self.attempt(), self.saga.policy(step));
        self.happen(Event::UndoMissed { step, reason: reason.clone() });
        if attempt <= policy.retries {
            let due_ms = self.turn.after(policy.pause_after(attempt));
            self.timer(due_ms, Signal::Again { step, attempt });
        } else {
            self.happen(Event::Stuck { step, reason });
        }
    }
}
