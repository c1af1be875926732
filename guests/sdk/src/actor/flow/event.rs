//! What a flow is told, and what happens to it.

use serde::{Deserialize, Serialize};

use super::{End, Phase, Run};

/// What a flow is told: by the actors and devices that do its steps, by its own timer, by people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal<S> {
    /// A step is done.
    Done {
        /// Which.
        step: S,
    },
    /// A step is undone.
    Undone {
        /// Which.
        step: S,
    },
    /// An attempt at a step, or to undo it, has failed.
    Failed {
        /// Which.
        step: S,
        /// Why.
        reason: String,
        /// Something of it may have happened.
        #[serde(default)]
        uncertain: bool,
    },
    /// Stop, and undo what was done.
    Abort {
        /// Why.
        reason: String,
    },
    /// A person has seen to what was stuck: try to undo it again.
    Resume,
    /// From the flow's timer: an attempt has not ended in time.
    Late {
        /// Which step's.
        step: S,
        /// Which attempt.
        attempt: u32,
    },
    /// From the flow's timer: the pause after an attempt is over.
    Again {
        /// Which step's.
        step: S,
        /// After which attempt.
        attempt: u32,
    },
}

impl<S> Signal<S> {
    /// Is it from the flow's own timer?
    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::Late { .. } | Self::Again { .. })
    }
}

/// What happens to a flow: inside an event of the actor's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event<S> {
    /// A mission began.
    Started {
        /// Its steps.
        steps: Vec<S>,
    },
    /// An attempt at a step began.
    Acting {
        /// Which.
        step: S,
        /// The how-manyth, from 1.
        attempt: u32,
        /// In which commit of the actor's.
        seq: u64,
    },
    /// A step is done.
    Done {
        /// Which.
        step: S,
    },
    /// An attempt failed.
    Missed {
        /// At which step.
        step: S,
        /// Why.
        reason: String,
        /// Something of it may have happened.
        uncertain: bool,
    },
    /// What was done is being undone.
    RollingBack {
        /// Why.
        reason: String,
        /// How many steps are to be undone.
        steps: usize,
    },
    /// An attempt to undo a step began.
    Undoing {
        /// Which.
        step: S,
        /// The how-manyth, from 1.
        attempt: u32,
        /// In which commit of the actor's.
        seq: u64,
    },
    /// A step is undone.
    Undone {
        /// Which.
        step: S,
    },
    /// An attempt to undo failed.
    UndoMissed {
        /// Which step.
        step: S,
        /// Why.
        reason: String,
    },
    /// A step cannot be undone.
    Stuck {
        /// Which.
        step: S,
        /// Why.
        reason: String,
    },
    /// A person said to go on.
    Resumed,
    /// Every step is done.
    Completed,
    /// Every step that was done is undone.
    RolledBack {
        /// Why.
        reason: String,
    },
}

impl<S> Event<S> {
    /// What it makes of a run. Total: an event of no run changes nothing.
    pub(super) fn change(self, slot: &mut Option<Run<S>>, ended: &mut Option<End>) {
        match self {
            Self::Started { steps } => {
                *ended = None;
                *slot = Some(Run {
                    steps,
                    at: 0,
                    phase: Phase::Resting,
                    attempt: 0,
                    seq: 0,
                    uncertain: false,
                    reason: String::new(),
                });
            }
            Self::Completed => (*slot, *ended) = (None, Some(End::Completed)),
            Self::RolledBack { reason } => (*slot, *ended) = (None, Some(End::RolledBack { reason })),
            event => slot.iter_mut().for_each(|run| event.change_run(run)),
        }
    }

    /// What it makes of a run that goes on.
    fn change_run(&self, run: &mut Run<S>) {
        match self {
            Self::Acting { attempt, seq, .. } => {
                (run.phase, run.attempt, run.seq) = (Phase::Acting, *attempt, *seq);
            }
            Self::Done { .. } => {
                (run.phase, run.at, run.attempt, run.uncertain) = (Phase::Resting, run.at + 1, 0, false);
            }
            Self::Missed { uncertain, .. } => {
                (run.phase, run.uncertain) = (Phase::Resting, run.uncertain || *uncertain);
            }
            Self::RollingBack { reason, steps } => {
                reason.clone_into(&mut run.reason);
                run.steps.truncate(*steps);
                (run.phase, run.attempt) = (Phase::UndoResting, 0);
                run.at = steps.saturating_sub(1);
            }
            Self::Undoing { attempt, seq, .. } => {
                (run.phase, run.attempt, run.seq) = (Phase::Undoing, *attempt, *seq);
            }
            Self::Undone { .. } => {
                run.steps.pop();
                (run.phase, run.attempt) = (Phase::UndoResting, 0);
                run.at = run.steps.len().saturating_sub(1);
            }
            Self::UndoMissed { .. } => run.phase = Phase::UndoResting,
            Self::Stuck { .. } => run.phase = Phase::Stuck,
            Self::Resumed => (run.phase, run.attempt) = (Phase::UndoResting, 0),
            Self::Started { .. } | Self::Completed | Self::RolledBack { .. } => {}
        }
    }
}
