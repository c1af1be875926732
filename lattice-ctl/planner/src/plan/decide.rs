//! The end of a plan: from what came out for each actor to the decisions that differ from those in force.
//! Application by application, so that of what stays as it is nothing is kept.

use super::planner::Planner;
use super::tasks::{Dealt, Outcome};
use super::{Input, Step};
use crate::rollout;
use lattice_protocol::desired::{DesiredApp, Placement};
use lattice_protocol::{ActorId, AppName};
use std::collections::BTreeMap;

/// What comes out of a plan.
#[derive(Default)]
pub(super) struct Decided {
    /// Decisions that differ.
    pub(super) changed: BTreeMap<AppName, Placement>,
    /// Applications of which nothing is desired any more.
    pub(super) removed: Vec<AppName>,
    /// Turns of rollouts.
    pub(super) turns: Vec<Step>,
}

impl Planner {
    /// What was placed, of applications that are planned whole and of those in which something is
    /// otherwise than before. Remembers where, who is still waiting, and what has to be planned again.
    pub(super) fn decide<'a>(
        &mut self,
        apps: Vec<Dealt<'_>>,
        outcomes: impl Iterator<Item = (ActorId, Outcome<'a>)>,
        input: &Input<'_>,
    ) -> Decided {
        let mut decided = Decided::default();
        let (mut apps, mut outcomes) = (apps.into_iter().peekable(), outcomes.peekable());
        loop {
            let first = apps.peek().map(|app| &app.name);
            let actors = outcomes.peek().map(|(id, _)| &id.app);
            let Some(name) = first.into_iter().chain(actors).min().cloned() else { break };
            let whole = apps.next_if(|app| app.name == name).filter(|app| app.is_whole);
            let of_app = std::iter::from_fn(|| outcomes.next_if(|(id, _)| id.app == name));
            match whole {
                Some(app) => self.decide_whole(app, of_app, input, &mut decided),
                None => {
                    let before = input.placements.get(&name);
                    let mut placement: Option<Placement> = None;
                    for (id, outcome) in of_app {
                        self.remember(&id, &outcome);
                        if outcome.is_changed() && placement.is_none() {
                            placement = before.cloned();
                        }
                        if let Some(placement) = &mut placement {
                            put(placement, id, outcome, before);
                        }
                    }
                    decided.changed.extend(placement.map(|placement| (name, placement)));
                }
            }
        }
        decided.changed.retain(|app, _| {
            // Whether it comes into force is not known.
            self.whole.insert(app.clone());
            !input.awaits(app)
        });
        decided.removed.retain(|app| !input.awaits(app));
        decided
    }

    /// One application that is planned whole; its rollout is taken a turn further.
    fn decide_whole<'a>(
        &mut self,
        app: Dealt<'_>,
        outcomes: impl Iterator<Item = (ActorId, Outcome<'a>)>,
        input: &Input<'_>,
        decided: &mut Decided,
    ) {
        let Dealt { name, desired, placement: before, stance, .. } = app;
        let mut placement = Placement::empty(name.clone(), desired.map_or(0, |desired| desired.version));
        // Whoever writes it says from where it is; as long as it is not another one it is from there.
        placement.origin = before.map(|before| before.origin).unwrap_or_default();
        for (id, outcome) in outcomes {
            self.remember(&id, &outcome);
            put(&mut placement, id, outcome, before);
        }
        let Some(desired) = desired else {
            if before.is_some() {
                decided.removed.push(name.clone());
                self.whole.insert(name);
            }
            return;
        };
        decided.turns.extend(rollout::carry_on(stance, desired, before, &mut placement, input));
        if is_moving(desired, &placement) {
            self.whole.insert(name.clone());
        }
        if before != Some(&placement) {
            decided.changed.insert(name, placement);
        }
    }

    /// Where an actor is from now on, and whether it waits.
    fn remember(&mut self, id: &ActorId, outcome: &Outcome<'_>) {
        let places = match outcome {
            Outcome::Rests(places) => places,
            Outcome::Placed(places) => places,
            Outcome::Open(task) => {
                if task.unplaced.is_some() {
                    self.alone.insert(id.clone());
                }
                &task.placed
            }
        };
        let Some(known) = self.apps.get_mut(&id.app) else { return };
        for host in places.keys() {
            match self.ledger.slot(host) {
                Some(slot) => known.hosts.insert(slot.index),
                None => {
                    self.unheard.entry(host.clone()).or_default().insert(id.clone());
                    known.unheard.insert(host.clone());
                }
            }
        }
    }
}

/// Writes down what came out for one actor, over what was written down before.
fn put(placement: &mut Placement, id: ActorId, outcome: Outcome<'_>, before: Option<&Placement>) {
    let scaled_before = || before.and_then(|before| before.scaled.get(&id)).copied();
    let (places, unplaced, scaled) = match outcome {
        Outcome::Rests(places) => (places.clone(), None, scaled_before()),
        Outcome::Placed(places) => (places, None, None),
        Outcome::Open(task) => (task.placed, task.unplaced, task.scaled.map(|(count, _)| count)),
    };
    match scaled {
        Some(count) => drop(placement.scaled.insert(id.clone(), count)),
        None => drop(placement.scaled.remove(&id)),
    }
    match unplaced {
        Some(words) => drop(placement.unplaced.insert(id.clone(), words)),
        None => drop(placement.unplaced.remove(&id)),
    }
    if places.is_empty() {
        placement.actors.remove(&id);
    } else {
        placement.actors.insert(id, places);
    }
}

/// May time alone, or what hosts say of their work, change what there shall be of it?
fn is_moving(desired: &DesiredApp, placement: &Placement) -> bool {
    let rolls = placement.rollout.as_ref().is_some_and(|rollout| !rollout.is_rolled_back());
    rolls || desired.application.actors.iter().any(|actor| actor.autoscale.is_some())
}
