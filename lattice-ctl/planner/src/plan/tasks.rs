//! The actors that a plan deals with: all, when there is nothing to build on; otherwise those that
//! something has changed for, and any other as soon as it is drawn in by one of them.
//!
//! Most of a million need little: one that is placed nowhere yet waits for its turn, one that keeps all
//! that it has and lacks nothing rests, and of one that has had its turn only its places count. These are
//! *closed*: a few words each. A [`Task`] is opened from them when it is its turn, when it has to give way
//! or when it moves, and is the same as if it had been open all along.
//!
//! Most are known from the start, in the order of applications and of their manifests; lists in other
//! orders hold their indices. The few that are drawn in later stand in trees beside those lists.

use super::planner::draw;
use super::room::Room;
use super::{Asked, Callers, Input, Task, keep};
use crate::rollout::Stance;
use lattice_protocol::desired::{DesiredApp, Placement};
use lattice_protocol::manifest::ActorManifest;
use lattice_protocol::spec::Artifact;
use lattice_protocol::{ActorId, ActorName, AppName, Places};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Whose turn it is: the most important first, then by application, then as its manifest lists them.
pub(super) type Turn = (Reverse<u8>, AppName, usize);

/// An application that is dealt with.
#[derive(Debug)]
pub(super) struct Dealt<'seen> {
    pub(super) name: AppName,
    pub(super) desired: Option<&'seen DesiredApp>,
    pub(super) placement: Option<&'seen Placement>,
    /// How its rollout stands.
    pub(super) stance: Stance<'seen>,
    /// All of it, or some of its actors.
    pub(super) is_whole: bool,
}

/// What a task is made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seed<'seen> {
    /// Index of its application.
    pub(super) app: u32,
    /// Its place among the actors of that.
    pub(super) position: u32,
    pub(super) manifest: &'seen ActorManifest,
    pub(super) artifact: Option<&'seen Artifact>,
}

/// How far one is.
#[derive(Debug)]
enum State<'seen> {
    /// It is placed nowhere, and its turn has not come.
    Waits,
    /// It keeps all that it has, and lacks nothing.
    Rests,
    /// It was placed nowhere, and has been given these.
    Placed(Places),
    Open(Box<Task<'seen>>),
    AtHand,
}

/// What came out for one actor.
#[derive(Debug)]
pub(super) enum Outcome<'seen> {
    /// It is as it was, here.
    Rests(&'seen Places),
    /// It was placed nowhere, and is here now.
    Placed(Places),
    /// Look.
    Open(Box<Task<'seen>>),
}

impl Outcome<'_> {
    /// Is it otherwise than it was decided before?
    pub(super) fn is_changed(&self) -> bool {
        match self {
            Self::Rests(_) => false,
            Self::Placed(places) => !places.is_empty(),
            Self::Open(task) => task.is_changed(),
        }
    }
}

/// Every actor that is dealt with.
#[derive(Debug)]
pub(super) struct Tasks<'run, 'seen> {
    input: &'run Input<'seen>,
    callers: &'run Callers,
    apps: Vec<Dealt<'seen>>,
    all: Vec<(Seed<'seen>, State<'seen>)>,
    /// Those from the start, in turn; and how many of them have had theirs.
    in_turn: Vec<u32>,
    had: usize,
    /// Those from the start, by actor.
    by_id: Vec<u32>,
    /// Those drawn in later: their indices go on where the others end. Nothing, while it is at hand.
    drawn: Vec<Option<Box<Task<'seen>>>>,
    drawn_in_turn: BTreeMap<Turn, usize>,
    drawn_by_id: BTreeMap<ActorId, usize>,
}

pub(super) fn turn(task: &Task<'_>) -> Turn {
    (Reverse(task.manifest.placement.priority), task.id.app.clone(), task.position)
}

fn wide(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

impl<'run, 'seen> Tasks<'run, 'seen> {
    /// After the first pass: what stays where it is has been reserved. Given in the order of applications,
    /// and within each of its manifest.
    pub(super) fn new(
        (input, callers): (&'run Input<'seen>, &'run Callers),
        apps: Vec<Dealt<'seen>>,
        seeds: Vec<Seed<'seen>>,
        room: &mut Room<'_, 'seen>,
    ) -> Self {
        let mut tasks = Self {
            input,
            callers,
            apps,
            all: seeds.into_iter().map(|seed| (seed, State::Waits)).collect(),
            in_turn: Vec::new(),
            had: 0,
            by_id: Vec::new(),
            drawn: Vec::new(),
            drawn_in_turn: BTreeMap::new(),
            drawn_by_id: BTreeMap::new(),
        };
        let mut unsettled = Vec::new();
        for index in 0..tasks.all.len() {
            if !tasks.had_place(index) {
                continue;
            }
            if let Some(mut task) = tasks.make(index) {
                keep::keep(&mut task, input, room);
                let state = match keep::rests(&task, room) {
                    true => State::Rests,
                    false => {
                        unsettled.push(index);
                        State::Open(Box::new(task))
                    }
                };
                tasks.set(index, state);
            }
        }
        for index in unsettled {
            if let Some((_, State::Open(task))) = tasks.all.get_mut(index) {
                keep::settle(task, room);
            }
        }
        tasks.in_turn = (0..narrow(tasks.all.len())).collect();
        let all = &tasks.all;
        let priority = |index: &u32| {
            Reverse(all.get(wide(*index)).map_or(0, |(seed, _)| seed.manifest.placement.priority))
        };
        tasks.in_turn.sort_by_key(priority);
        let mut by_id = tasks.in_turn.clone();
        by_id.sort_unstable_by_key(|index| tasks.name(wide(*index)));
        tasks.by_id = by_id;
        tasks
    }

    /// Opens one as it was before the first pass.
    fn make(&self, index: usize) -> Option<Task<'seen>> {
        let (seed, _) = self.all.get(index)?;
        let Dealt { name, desired, placement, stance, .. } = self.apps.get(wide(seed.app))?;
        let asked = Asked {
            input: self.input,
            app: name,
            desired: (*desired)?,
            placement: *placement,
            callers: self.callers,
        };
        Some(asked.task((wide(seed.position), seed.manifest), seed.artifact, stance))
    }

    /// Is it placed anywhere by the decision in force?
    fn had_place(&self, index: usize) -> bool {
        let placement = self.all.get(index).and_then(|(seed, _)| self.apps.get(wide(seed.app))?.placement);
        placement.zip(self.name(index)).is_some_and(|(placement, (app, actor))| {
            placement.actors.contains_key(&ActorId::new(app.clone(), actor.clone()))
        })
    }

    fn set(&mut self, index: usize, state: State<'seen>) {
        if let Some((_, have)) = self.all.get_mut(index) {
            *have = state;
        }
    }

    /// Of one from the start.
    fn name(&self, index: usize) -> Option<(&AppName, &ActorName)> {
        let (seed, _) = self.all.get(index)?;
        Some((&self.apps.get(wide(seed.app))?.name, &seed.manifest.name))
    }

    /// One more, that holds something: as the first pass would have left it. `None` when there is no such
    /// actor.
    fn draw(&mut self, actor: &ActorId, room: &mut Room<'_, 'seen>) -> Option<usize> {
        let mut task = draw(actor, self.input, self.callers)?;
        keep::keep(&mut task, self.input, room);
        keep::settle(&mut task, room);
        let index = self.all.len() + self.drawn.len();
        self.drawn_in_turn.insert(turn(&task), index);
        self.drawn_by_id.insert(task.id.clone(), index);
        self.drawn.push(Some(Box::new(task)));
        Some(index)
    }

    /// Where an actor stands that is dealt with.
    pub(super) fn find(&self, actor: &ActorId) -> Option<usize> {
        let key = Some((&actor.app, &actor.name));
        let found = self.by_id.binary_search_by(|index| self.name(wide(*index)).cmp(&key));
        let first = found.ok().and_then(|at| self.by_id.get(at)).map(|index| wide(*index));
        first.or_else(|| self.drawn_by_id.get(actor).copied())
    }

    /// The same of any actor: one that nothing had changed for is drawn in.
    pub(super) fn index(&mut self, actor: &ActorId, room: &mut Room<'_, 'seen>) -> Option<usize> {
        self.find(actor).or_else(|| self.draw(actor, room))
    }

    /// Where an actor is by this plan; `None` when that is where it was before, or not said yet.
    pub(super) fn placed(&self, actor: &ActorId) -> Option<&Places> {
        let index = self.find(actor)?;
        match self.all.get(index) {
            Some((_, State::Placed(places))) => Some(places),
            Some((_, State::Open(task))) => Some(&task.placed),
            Some(_) => None,
            None => self.drawn.get(index - self.all.len())?.as_ref().map(|task| &task.placed),
        }
    }

    /// One to change.
    pub(super) fn open(&mut self, index: usize, room: &mut Room<'_, 'seen>) -> Option<&mut Task<'seen>> {
        let opened = match self.all.get_mut(index) {
            None => return self.drawn.get_mut(index - self.all.len())?.as_deref_mut(),
            Some((_, State::Open(_) | State::AtHand)) => None,
            Some((_, state)) => {
                let before = std::mem::replace(state, State::AtHand);
                Some(self.opened(index, before, room)?)
            }
        };
        if let Some(task) = opened {
            self.set(index, State::Open(Box::new(task)));
        }
        match self.all.get_mut(index) {
            Some((_, State::Open(task))) => Some(task),
            _ => None,
        }
    }

    fn opened(&self, index: usize, state: State<'seen>, room: &mut Room<'_, 'seen>) -> Option<Task<'seen>> {
        let mut task = self.make(index)?;
        match state {
            State::AtHand | State::Waits => {}
            State::Placed(places) => task.placed = places,
            State::Rests => {
                keep::keep(&mut task, self.input, room);
                keep::settle(&mut task, room);
            }
            State::Open(task) => return Some(*task),
        }
        Some(task)
    }

    /// Takes one at hand; it is put back by [`Tasks::put`].
    pub(super) fn take(&mut self, index: usize, room: &mut Room<'_, 'seen>) -> Option<Box<Task<'seen>>> {
        let Some((_, state)) = self.all.get_mut(index) else {
            return self.drawn.get_mut(index - self.all.len())?.take();
        };
        match std::mem::replace(state, State::AtHand) {
            State::Open(task) => Some(task),
            other => self.opened(index, other, room).map(Box::new),
        }
    }

    pub(super) fn put(&mut self, index: usize, task: Box<Task<'seen>>) {
        if index < self.all.len() {
            let state = if task.is_plain() { State::Placed(task.placed) } else { State::Open(task) };
            self.set(index, state);
        } else if let Some(place) = self.drawn.get_mut(index - self.all.len()) {
            *place = Some(task);
        }
    }

    /// Takes whose turn is next at hand, after the one whose turn was last. Whoever rests has none.
    pub(super) fn take_next(
        &mut self,
        last: &mut Option<Turn>,
        room: &mut Room<'_, 'seen>,
    ) -> Option<(usize, Box<Task<'seen>>)> {
        let first = loop {
            let Some(index) = self.in_turn.get(self.had).map(|index| wide(*index)) else { break None };
            match self.all.get(index) {
                Some((_, State::Rests)) => self.had += 1,
                Some((Seed { manifest, app, position, .. }, _)) => {
                    let app = self.apps.get(wide(*app))?.name.clone();
                    break Some(((Reverse(manifest.placement.priority), app, wide(*position)), index));
                }
                None => break None,
            }
        };
        let after = last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let drawn = self.drawn_in_turn.range::<Turn, _>((after, Bound::Unbounded)).next();
        let drawn = drawn.map(|(turn, index)| (turn.clone(), *index));
        let (turn, index) = match (first, drawn) {
            (Some(first), drawn) if drawn.as_ref().is_none_or(|drawn| first < *drawn) => {
                self.had += 1;
                first
            }
            (_, drawn) => drawn?,
        };
        *last = Some(turn);
        Some((index, self.take(index, room)?))
    }

    /// Those that are open, in no order that means anything.
    pub(super) fn all_open(&self) -> impl Iterator<Item = &Task<'seen>> {
        let first = self.all.iter().filter_map(|(_, state)| match state {
            State::Open(task) => Some(&**task),
            _ => None,
        });
        first.chain(self.drawn.iter().flatten().map(|task| &**task))
    }

    /// The applications that are planned whole and had a placement.
    pub(super) fn whole(&self) -> impl Iterator<Item = &'seen Placement> {
        self.apps.iter().filter(|app| app.is_whole).filter_map(|app| app.placement)
    }

    /// Those that rest though their turn would do something.
    #[cfg(test)]
    pub(super) fn restless(&mut self, room: &mut Room<'_, 'seen>) -> Vec<ActorId> {
        let resting = self.all.iter().enumerate().filter(|(_, (_, state))| matches!(state, State::Rests));
        let resting: Vec<usize> = resting.map(|(index, _)| index).collect();
        let lacks = |task: &Task<'_>| {
            let mut kept = task.groups.iter().map(|group| group.count).zip(&task.kept);
            task.is_changed()
                || !task.displaced.is_empty()
                || kept.len() != task.groups.len()
                || kept.any(|(wanted, kept)| wanted != Some(*kept))
        };
        let open =
            |index: usize| self.open(index, room).filter(|task| lacks(task)).map(|task| task.id.clone());
        resting.into_iter().filter_map(open).collect()
    }

    /// The applications, and what came out for every actor, by actor.
    pub(super) fn finish(self) -> (Vec<Dealt<'seen>>, Outcomes<'seen>) {
        let names = self.apps.iter().map(|app| (app.name.clone(), app.placement)).collect();
        let drawn = self.drawn.into_iter().flatten().map(|task| (task.id.clone(), task)).collect();
        (self.apps, Outcomes { names, by_id: self.by_id.into_iter(), all: self.all, next: None, drawn })
    }
}

/// What came out, actor by actor, in their order.
#[derive(Debug)]
pub(super) struct Outcomes<'seen> {
    names: Vec<(AppName, Option<&'seen Placement>)>,
    by_id: std::vec::IntoIter<u32>,
    all: Vec<(Seed<'seen>, State<'seen>)>,
    next: Option<(ActorId, Outcome<'seen>)>,
    drawn: BTreeMap<ActorId, Box<Task<'seen>>>,
}

impl<'seen> Outcomes<'seen> {
    /// Of one from the start.
    fn next_of_first(&mut self) -> Option<(ActorId, Outcome<'seen>)> {
        loop {
            let (seed, state) = self.all.get_mut(wide(self.by_id.next()?))?;
            let (app, placement) = self.names.get(wide(seed.app))?;
            let id = ActorId::new(app.clone(), seed.manifest.name.clone());
            let outcome = match std::mem::replace(state, State::AtHand) {
                State::Rests => placement.and_then(|placement| placement.actors.get(&id)).map(Outcome::Rests),
                State::Placed(places) => Some(Outcome::Placed(places)),
                State::Open(task) => Some(Outcome::Open(task)),
                // After every turn there is none of these.
                State::Waits | State::AtHand => None,
            };
            if let Some(outcome) = outcome {
                return Some((id, outcome));
            }
        }
    }
}

impl<'seen> Iterator for Outcomes<'seen> {
    type Item = (ActorId, Outcome<'seen>);

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.next.take().or_else(|| self.next_of_first());
        let drawn = self.drawn.first_key_value();
        let is_drawn = match (&first, drawn) {
            (Some((first, _)), Some((drawn, _))) => drawn < first,
            (None, drawn) => drawn.is_some(),
            (Some(_), None) => false,
        };
        if !is_drawn {
            return first;
        }
        self.next = first;
        self.drawn.pop_first().map(|(id, task)| (id, Outcome::Open(task)))
    }
}
