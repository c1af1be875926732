//! The actors that a plan deals with: all, when there is nothing to build on; otherwise those that
//! something has changed for, and any other as soon as it is drawn in by one of them.
//!
//! Most are known from the start, in the order of applications and of their manifests; lists in other
//! orders hold their indices. The few that are drawn in later stand in trees beside those lists.

use super::Task;
use lattice_protocol::{ActorId, AppName};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Whose turn it is: the most important first, then by application, then as its manifest lists them.
pub(super) type Turn = (Reverse<u8>, AppName, usize);

/// Every actor that is dealt with.
#[derive(Debug, Default)]
pub(super) struct Tasks<'seen> {
    /// Nothing, while it is at hand.
    all: Vec<Option<Task<'seen>>>,
    /// Those from the start, in turn; and how many of them have had theirs.
    in_turn: Vec<usize>,
    had: usize,
    /// Those from the start, by actor.
    by_id: Vec<(ActorId, usize)>,
    /// Those drawn in later, in turn and by actor.
    drawn: BTreeMap<Turn, usize>,
    drawn_by_id: BTreeMap<ActorId, usize>,
}

pub(super) fn turn(task: &Task<'_>) -> Turn {
    (Reverse(task.manifest.placement.priority), task.id.app.clone(), task.position)
}

impl<'seen> Tasks<'seen> {
    /// Given in the order of applications, and within each of its manifest.
    pub(super) fn new(tasks: Vec<Task<'seen>>) -> Self {
        let mut in_turn: Vec<usize> = (0..tasks.len()).collect();
        let priority =
            |index: &usize| Reverse(tasks.get(*index).map_or(0, |task| task.manifest.placement.priority));
        in_turn.sort_by_key(priority);
        let mut by_id: Vec<(ActorId, usize)> =
            tasks.iter().enumerate().map(|(index, task)| (task.id.clone(), index)).collect();
        by_id.sort();
        Self { all: tasks.into_iter().map(Some).collect(), in_turn, by_id, ..Self::default() }
    }

    /// One more. Its index.
    pub(super) fn insert(&mut self, task: Task<'seen>) -> usize {
        let index = self.all.len();
        self.drawn.insert(turn(&task), index);
        self.drawn_by_id.insert(task.id.clone(), index);
        self.all.push(Some(task));
        index
    }

    pub(super) fn index(&self, actor: &ActorId) -> Option<usize> {
        let found = self.by_id.binary_search_by(|(id, _)| id.cmp(actor));
        let first = found.ok().and_then(|at| self.by_id.get(at)).map(|(_, index)| *index);
        first.or_else(|| self.drawn_by_id.get(actor).copied())
    }
    pub(super) fn get(&self, index: usize) -> Option<&Task<'seen>> {
        self.all.get(index)?.as_ref()
    }
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Task<'seen>> {
        self.all.get_mut(index)?.as_mut()
    }
    pub(super) fn of(&self, actor: &ActorId) -> Option<&Task<'seen>> {
        self.get(self.index(actor)?)
    }

    /// Takes one at hand; it is put back by [`Tasks::put`].
    pub(super) fn take(&mut self, index: usize) -> Option<Task<'seen>> {
        self.all.get_mut(index)?.take()
    }
    pub(super) fn put(&mut self, index: usize, task: Task<'seen>) {
        if let Some(place) = self.all.get_mut(index) {
            *place = Some(task);
        }
    }

    /// Takes whose turn is next at hand, after the one whose turn was last.
    pub(super) fn take_next(&mut self, last: &mut Option<Turn>) -> Option<(usize, Task<'seen>)> {
        let first = self.in_turn.get(self.had).copied();
        let first = first.and_then(|index| Some((turn(self.get(index)?), index)));
        let after = last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let drawn = self.drawn.range::<Turn, _>((after, Bound::Unbounded)).next();
        let drawn = drawn.map(|(turn, index)| (turn.clone(), *index));
        let (turn, index) = match (first, drawn) {
            (Some(first), drawn) if drawn.as_ref().is_none_or(|drawn| first < *drawn) => {
                self.had += 1;
                first
            }
            (_, drawn) => drawn?,
        };
        *last = Some(turn);
        Some((index, self.take(index)?))
    }

    /// Every one, in no order that means anything.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Task<'seen>> {
        self.all.iter().flatten()
    }

    /// Every one, by actor.
    pub(super) fn by_id(&self) -> impl Iterator<Item = &Task<'seen>> {
        self.order_by_id().into_iter().filter_map(move |index| self.get(index))
    }

    /// Takes every one, by actor.
    pub(super) fn drain_by_id(mut self) -> impl Iterator<Item = Task<'seen>> {
        self.order_by_id().into_iter().filter_map(move |index| self.take(index))
    }

    fn order_by_id(&self) -> Vec<usize> {
        let mut drawn = self.drawn_by_id.iter().peekable();
        let mut order = Vec::with_capacity(self.all.len());
        for (id, index) in &self.by_id {
            while let Some((_, drawn)) = drawn.next_if(|(drawn, _)| *drawn < id) {
                order.push(*drawn);
            }
            order.push(*index);
        }
        order.extend(drawn.map(|(_, index)| *index));
        order
    }
}
