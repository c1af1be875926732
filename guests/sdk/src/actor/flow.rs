//! Missions: steps one after another, each with a deadline and retries, undone in reverse when one of them fails for
//! good (a saga). All of it is events and timers of the actor, so a mission goes on where it was after a kill.
//!
//! ```text
//!            start                    done, more          done, no more
//!   (idle) ────────► acting(step, n) ───────────► acting … ────────────► completed
//!                     │   ▲ pause over
//!          missed     ▼   │
//!                   resting ──── no retries left, or abort ───► undoing(step, n) … ──► rolled back
//!                                                                │ no retries left
//!                                                                ▼
//!                                                              stuck ── resume ──► undoing
//! ```
//!
//! A [`Saga`] says what each step does; a [`Flow`], held in the actor's state, says how far it is. The actor passes
//! signals on and wraps what comes of them into its own events:
//!
//! ```text
//! Command::Start => Ok(self.flow.start(&Route, [Step::TakeOff, Step::Deliver], turn)?.decision(Event::Flow)),
//! Command::Flow(signal) => Ok(self.flow.signal(&Route, signal, turn)?.decision(Event::Flow)),
//! Event::Flow(event) => self.flow.apply(event),
//! ```
//!
//! # What is undone
//!
//! The steps that are done, the last one first. The step that failed is undone first of all when it is not certain that
//! nothing of it happened: after a missed deadline, an abort, a call that brought no answer. So an `undo` must be
//! harmless where there is nothing to undo. An undo that fails for good leaves the flow *stuck*: that needs a person,
//! and [`Signal::Resume`].

mod event;
mod walk;

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Command, Decision, Effect, Ordered, Refusal, Turn};
pub use event::{Event, Signal};
use walk::Walk;

/// What names a step: an enum without fields, with `#[trellis_guest::state]`, `Copy` and `Eq`.
pub trait Step: Copy + Eq + fmt::Debug + Serialize + DeserializeOwned + Ordered + 'static {}
impl<T: Copy + Eq + fmt::Debug + Serialize + DeserializeOwned + Ordered + 'static> Step for T {}

/// What the steps of a mission do. It is asked while a command is decided, so it may read the turn; it holds what the
/// steps need to know of the actor.
pub trait Saga {
    /// The steps.
    type Step: Step;
    /// The actor's commands.
    type Command: Command;
    /// The flow's timer: one name for each flow of an actor.
    const TIMER: &'static str = "flow";

    /// Does a step, on each attempt.
    fn act(&self, step: Self::Step, turn: &Turn) -> Act;

    /// Undoes a step that was done, or perhaps done. Harmless where there is nothing to undo.
    fn undo(&self, _step: Self::Step, _turn: &Turn) -> Act {
        Act::done()
    }

    /// How patient to be with a step, and with its undoing.
    fn policy(&self, _step: Self::Step) -> Policy {
        Policy::default()
    }

    /// The actor's command that carries a signal to the flow: what the timer fires.
    fn signal(&self, signal: Signal<Self::Step>) -> Self::Command;
}

/// How patient to be with one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long one attempt may take.
    pub deadline: Duration,
    /// How many attempts follow the first.
    pub retries: u32,
    /// The pause before the second attempt. It doubles each time, up to five minutes.
    pub pause: Duration,
}

impl Default for Policy {
    /// 30 seconds, two retries, a pause of one second.
    fn default() -> Self {
        Self { deadline: Duration::from_secs(30), retries: 2, pause: Duration::from_secs(1) }
    }
}

impl Policy {
    const LONGEST_PAUSE: Duration = Duration::from_secs(300);

    /// The pause after this attempt (from 1).
    pub(crate) fn pause_after(&self, attempt: u32) -> Duration {
        let doubled = 2u32.saturating_pow(attempt.saturating_sub(1));
        self.pause.saturating_mul(doubled).min(Self::LONGEST_PAUSE)
    }
}

/// What one step does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Act {
    effects: Vec<Effect>,
    waits: bool,
}

impl Act {
    /// Nothing more is to be waited for: the next step follows at once.
    pub fn done() -> Self {
        Self::default()
    }

    /// It is done when a signal says so, or the answer to its call does.
    pub fn wait() -> Self {
        Self { effects: Vec::new(), waits: true }
    }

    /// And this is to be done.
    #[must_use]
    pub fn effect(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }
}

/// How a mission ended.
#[trellis_guest_macros::state]
#[derive(Eq)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Every step is done.
    Completed,
    /// Every step that was done is undone.
    RolledBack {
        /// Why.
        reason: String,
    },
}

/// Where a run is.
#[trellis_guest_macros::state]
#[derive(Copy, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// An attempt at a step is under way.
    Acting,
    /// An attempt failed; another follows.
    Resting,
    /// An attempt to undo a step is under way.
    Undoing,
    /// An attempt to undo failed; another follows.
    UndoResting,
    /// A step cannot be undone: a person must see to it.
    Stuck,
}

/// A mission under way.
#[trellis_guest_macros::state]
pub struct Run<S> {
    /// Its steps.
    pub steps: Vec<S>,
    /// Which of them it is at.
    pub at: usize,
    /// What it does there.
    pub phase: Phase,
    /// The how-manyth attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// In which commit that attempt began: its call's answer names it.
    pub seq: u64,
    /// May something of the step have happened, although no attempt succeeded?
    pub uncertain: bool,
    /// Why it is being undone.
    pub reason: String,
}

impl<S: Copy> Run<S> {
    /// The step that it is at.
    pub fn step(&self) -> Option<S> {
        self.steps.get(self.at).copied()
    }
}

/// How far a mission is: a part of the actor's state.
#[trellis_guest_macros::state]
pub struct Flow<S> {
    run: Option<Run<S>>,
    ended: Option<End>,
}

impl<S> Default for Flow<S> {
    fn default() -> Self {
        Self { run: None, ended: None }
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For people.
    pub reason: String,
    /// Something of it may have happened.
    pub uncertain: bool,
}

impl From<super::CallError> for Failure {
    /// A call without a good answer may still have had its effect.
    fn from(error: super::CallError) -> Self {
        Self { reason: format!("{}: {}", error.code, error.what), uncertain: true }
    }
}

/// What a signal brought about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Moves<S> {
    events: Vec<Event<S>>,
    effects: Vec<Effect>,
    end: Option<End>,
}

impl<S> Moves<S> {
    fn none() -> Self {
        Self { events: Vec::new(), effects: Vec::new(), end: None }
    }

    /// How the mission ended, if it did with this.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// As a decision, with each event of the flow wrapped into one of the actor's.
    pub fn decision<E, R>(self, wrap: impl Fn(Event<S>) -> E) -> Decision<E, R> {
        Decision::events(self.events.into_iter().map(wrap)).effects(self.effects)
    }
}

impl<S: Step> Flow<S> {
    /// The mission under way, if there is one.
    pub fn run(&self) -> Option<&Run<S>> {
        self.run.as_ref()
    }

    /// How the last mission ended, until the next one starts.
    pub fn ended(&self) -> Option<&End> {
        self.ended.as_ref()
    }

    /// Begins a mission.
    ///
    /// # Errors
    /// `flow-busy`: one is under way. `flow-empty`: it has no steps.
    pub fn start<G: Saga<Step = S>>(
        &self,
        saga: &G,
        steps: impl IntoIterator<Item = S>,
        turn: &Turn,
    ) -> Result<Moves<S>, Refusal> {
        let steps: Vec<S> = steps.into_iter().collect();
        if let Some(run) = &self.run {
            let message =
                format!("a mission is under way, at {:?}; abort it, or wait for its end", run.step());
            return Err(Refusal::new("flow-busy", message));
        }
        if steps.is_empty() {
            return Err(Refusal::new("flow-empty", "a mission wants at least one step"));
        }
        let mut walk = Walk::new(self, saga, turn);
        walk.start(steps);
        Ok(walk.finish())
    }

    /// Takes a signal in. One that comes too late, or again, brings nothing about.
    ///
    /// # Errors
    /// `flow-idle`: no mission is under way, and none has been. `flow-order`: the step is not yet at its turn.
    pub fn signal<G: Saga<Step = S>>(
        &self,
        saga: &G,
        signal: Signal<S>,
        turn: &Turn,
    ) -> Result<Moves<S>, Refusal> {
        let Some(run) = &self.run else {
            // What comes after the end is late, not wrong; a timer's command may never be refused.
            let late = self.ended.is_some() || signal.is_own();
            return if late {
                Ok(Moves::none())
            } else {
                Err(Refusal::new("flow-idle", "no mission is under way"))
            };
        };
        let forward = matches!(run.phase, Phase::Acting | Phase::Resting);
        if let (Signal::Done { step }, true) = (&signal, forward) {
            let place = run.steps.iter().position(|each| each == step);
            if place.is_none_or(|place| place > run.at) {
                let message = format!("step {step:?} is not at its turn; the mission is at {:?}", run.step());
                return Err(Refusal::new("flow-order", message));
            }
        }
        let mut walk = Walk::new(self, saga, turn);
        walk.signal(signal);
        Ok(walk.finish())
    }

    /// Takes in the answer to the call of the attempt under way. An answer to an earlier attempt brings nothing about.
    pub fn answer<G: Saga<Step = S>>(&self, saga: &G, outcome: Result<(), Failure>, turn: &Turn) -> Moves<S> {
        let current = self.run.as_ref().filter(|run| turn.answers().is_some_and(|(seq, _)| seq == run.seq));
        let Some(run) = current else { return Moves::none() };
        let (phase, mut walk) = (run.phase, Walk::new(self, saga, turn));
        match (phase, outcome) {
            (Phase::Acting, Ok(())) => walk.done(),
            (Phase::Acting, Err(failure)) => walk.missed(failure),
            (Phase::Undoing, Ok(())) => walk.undone(),
            (Phase::Undoing, Err(failure)) => walk.undo_missed(failure.reason),
            (Phase::Resting | Phase::UndoResting | Phase::Stuck, _) => {}
        }
        walk.finish()
    }

    /// Takes an event of the flow in.
    pub fn apply(&mut self, event: Event<S>) {
        event.change(&mut self.run, &mut self.ended);
    }
}

#[cfg(test)]
mod tests;
