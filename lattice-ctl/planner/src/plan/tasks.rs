//! The actors that a plan deals with: all, when there is nothing to build on; otherwise those that
//! something has changed for, and any other as soon as it is drawn in by one of them.

use super::Task;
use lattice_protocol::{ActorId, AppName};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Whose turn it is: the most important first, then by application, then as its manifest lists them.
pub(super) type Turn = (Reverse<u8>, AppName, usize);

/// Every actor that is dealt with.
#[derive(Debug, Default)]
pub(super) struct Tasks<'seen> {
    /// Nothing, while it is at hand.
    all: Vec<Option<Task<'seen>>>,
    turns: BTreeMap<Turn, usize>,
    by_id: BTreeMap<ActorId, usize>,
}

pub(super) fn turn(task: &Task<'_>) -> Turn {
    (Reverse(task.manifest.placement.priority), task.id.app.clone(), task.position)
}

impl<'seen> Tasks<'seen> {
    pub(super) fn new(tasks: Vec<Task<'seen>>) -> Self {
        let turns = tasks.iter().enumerate().map(|(index, task)| (turn(task), index)).collect();
        let by_id = tasks.iter().enumerate().map(|(index, task)| (task.id.clone(), index)).collect();
        Self { all: tasks.into_iter().map(Some).collect(), turns, by_id }
    }

    /// One more. Its index.
    pub(super) fn insert(&mut self, task: Task<'seen>) -> usize {
        let index = self.all.len();
        self.turns.insert(turn(&task), index);
        self.by_id.insert(task.id.clone(), index);
        self.all.push(Some(task));
        index
    }

    pub(super) fn index(&self, actor: &ActorId) -> Option<usize> {
        self.by_id.get(actor).copied()
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

    /// Whose turn is next after this one.
    pub(super) fn after(&self, turn: Option<&Turn>) -> Option<(&Turn, usize)> {
        let from = turn.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let (turn, index) = self.turns.range::<Turn, _>((from, std::ops::Bound::Unbounded)).next()?;
        Some((turn, *index))
    }

    /// Every one, in turn.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Task<'seen>> {
        self.turns.values().filter_map(|index| self.get(*index))
    }

    /// Every one, by actor.
    pub(super) fn by_id(&self) -> impl Iterator<Item = (&ActorId, &Task<'seen>)> {
        self.by_id.iter().filter_map(|(id, index)| Some((id, self.get(*index)?)))
    }

    /// All of them, by actor.
    pub(super) fn into_by_id(mut self) -> BTreeMap<ActorId, Task<'seen>> {
        let by_id = std::mem::take(&mut self.by_id);
        by_id.into_iter().filter_map(|(id, index)| Some((id, self.take(index)?))).collect()
    }
}
