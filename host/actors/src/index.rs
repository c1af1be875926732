//! Where in the log each actor's commits are, and which timers run: what a shard must know of
//! actors that are not in memory. Built while the log is read at the start, kept up with every
//! record.

use lattice_journal::command::CommandRef;
use lattice_journal::ledger::Timer;
use lattice_journal::{Command, Commit, Effect, Record, RecordSeq};
use lattice_protocol::EntityKey;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The records with commits of each actor, as far as the log is kept.
#[derive(Debug, Default)]
pub struct Index {
    records: BTreeMap<EntityKey, Vec<RecordSeq>>,
    /// All places together.
    places: usize,
}

impl Index {
    /// A valid record.
    pub fn add(&mut self, record: &Record) {
        for commit in record.commits() {
            if commit.is_tombstone() {
                // Its history is not to be found any more.
                self.places -= self.records.remove(&commit.key).map_or(0, |places| places.len());
                continue;
            }
            match self.records.get_mut(&commit.key) {
                // Several commits of one actor in one record are one place.
                Some(places) if places.last() == Some(&record.seq) => continue,
                Some(places) => places.push(record.seq),
                None => drop(self.records.insert(commit.key.clone(), vec![record.seq])),
            }
            self.places += 1;
        }
    }

    /// Takes out the places of an actor, until [`Self::give_back`].
    pub fn lend(&mut self, key: &EntityKey) -> Vec<RecordSeq> {
        let places = self.records.remove(key).unwrap_or_default();
        self.places -= places.len();
        places
    }

    /// Puts them back.
    pub fn give_back(&mut self, key: EntityKey, places: Vec<RecordSeq>) {
        if !places.is_empty() {
            self.places += places.len();
            self.records.insert(key, places);
        }
    }

    /// How many places are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places
    }

    /// How many actors have commits that are kept.
    #[must_use]
    pub fn count(&self) -> usize {
        self.records.len()
    }

    /// Is none known?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The actors with commits that are kept, each with its records.
    pub fn iter(&self) -> impl Iterator<Item = (&EntityKey, &[RecordSeq])> {
        self.records.iter().map(|(key, places)| (key, places.as_slice()))
    }

    /// The records of an actor behind this one.
    #[must_use]
    pub fn after(&self, key: &EntityKey, record: RecordSeq) -> &[RecordSeq] {
        let places = self.records.get(key).map(Vec::as_slice).unwrap_or_default();
        places.get(places.partition_point(|place| *place <= record)..).unwrap_or_default()
    }

    /// Has it any commit that is kept?
    #[must_use]
    pub fn knows(&self, key: &EntityKey) -> bool {
        self.records.contains_key(key)
    }

    /// The actors with commits that are kept.
    pub fn actors(&self) -> impl Iterator<Item = &EntityKey> {
        self.records.keys()
    }

    /// The log was trimmed through this record.
    pub fn trim(&mut self, through: RecordSeq) {
        let mut left = 0;
        self.records.retain(|_, places| {
            places.drain(..places.partition_point(|place| *place <= through));
            left += places.len();
            !places.is_empty()
        });
        self.places = left;
    }
}

/// The timers of all actors of a shard, in memory or not.
#[derive(Debug, Default)]
pub struct Schedule {
    timers: BTreeMap<EntityKey, BTreeMap<Arc<str>, Timer>>,
    due: BTreeSet<(u64, EntityKey, Arc<str>)>,
}

impl Schedule {
    /// Takes in what a commit says of timers.
    pub fn add(&mut self, commit: &Commit) {
        if let CommandRef::Timer { name, .. } = &commit.command {
            self.stop(&commit.key, name);
        }
        for effect in &commit.effects {
            match effect {
                Effect::TimerSet { name, due_ms, misfire, command, body } => {
                    let timer = Timer {
                        due_ms: *due_ms,
                        misfire: *misfire,
                        command: command.clone(),
                        body: bytes::Bytes::copy_from_slice(body),
                    };
                    self.set(commit.key.clone(), name.clone(), timer);
                }
                Effect::TimerCancel { name } => self.stop(&commit.key, name),
                Effect::Stop | Effect::Delete => self.stop_all(&commit.key),
                _ => {}
            }
        }
    }

    /// Sets a timer.
    pub fn set(&mut self, key: EntityKey, name: Arc<str>, timer: Timer) {
        self.stop(&key, &name);
        self.due.insert((timer.due_ms, key.clone(), name.clone()));
        self.timers.entry(key).or_default().insert(name, timer);
    }

    /// The command of this timer is carried out.
    pub fn settle(&mut self, key: &EntityKey, reference: &CommandRef) {
        if let CommandRef::Timer { name, .. } = reference
            && self.get(key, reference).is_some()
        {
            self.stop(key, name);
        }
    }

    fn stop(&mut self, key: &EntityKey, name: &Arc<str>) {
        let Some(timers) = self.timers.get_mut(key) else { return };
        if let Some(timer) = timers.remove(name) {
            self.due.remove(&(timer.due_ms, key.clone(), name.clone()));
        }
        if timers.is_empty() {
            self.timers.remove(key);
        }
    }

    fn stop_all(&mut self, key: &EntityKey) {
        for (name, timer) in self.timers.remove(key).unwrap_or_default() {
            self.due.remove(&(timer.due_ms, key.clone(), name));
        }
    }

    /// Timers due by this time, milliseconds since 1970, the earliest first.
    pub fn due(&self, unix_ms: u64) -> impl Iterator<Item = (EntityKey, Command, &Timer)> {
        let due = self.due.iter().take_while(move |(due_ms, ..)| *due_ms <= unix_ms);
        due.filter_map(|(due_ms, key, name)| {
            let timer = self.timers.get(key)?.get(name)?;
            let reference = CommandRef::Timer { name: name.clone(), due_ms: *due_ms };
            let command = Command { reference, name: timer.command.to_string(), body: timer.body.clone() };
            Some((key.clone(), command, timer))
        })
    }

    /// When the first one behind this time is due.
    #[must_use]
    pub fn next(&self, unix_ms: u64) -> Option<u64> {
        self.due.iter().map(|(due_ms, ..)| *due_ms).find(|due_ms| *due_ms > unix_ms)
    }

    /// The timer of this reference, if it still runs.
    #[must_use]
    pub fn get(&self, key: &EntityKey, reference: &CommandRef) -> Option<&Timer> {
        let CommandRef::Timer { name, due_ms } = reference else { return None };
        self.timers.get(key)?.get(name).filter(|timer| timer.due_ms == *due_ms)
    }

    /// How many timers run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Does none run?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// The actors of which timers run, and how many.
    pub fn actors(&self) -> impl Iterator<Item = (&EntityKey, usize)> {
        self.timers.iter().map(|(key, timers)| (key, timers.len()))
    }

    /// How many timers of an actor run.
    #[must_use]
    pub fn of(&self, key: &EntityKey) -> usize {
        self.timers.get(key).map_or(0, BTreeMap::len)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&EntityKey, &Arc<str>, &Timer)> {
        self.timers
            .iter()
            .flat_map(|(key, timers)| timers.iter().map(move |(name, timer)| (key, name, timer)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lattice_journal::commit::Misfire;
    use lattice_journal::ledger::{Decision, Ledger};
    use lattice_journal::record::Body;
    use lattice_journal::{CommandId, Epoch, Hash, ShardId};

    fn key(name: &str) -> EntityKey {
        name.parse().unwrap()
    }

    fn commit(ledger: &mut Ledger, reference: CommandRef, effects: Vec<Effect>) -> Commit {
        let command = Command { reference, name: "c".into(), body: bytes::Bytes::new() };
        let decision = Decision { effects, ..Decision::default() };
        let commit = ledger.commit(&command, decision, keys::Digest::from_bytes([1; 32]), 5).unwrap();
        ledger.apply(&commit).unwrap();
        commit
    }

    fn set(name: &str, due_ms: u64) -> Effect {
        let command = "ring".into();
        let (misfire, body) = (Misfire::FireLate, bytes::Bytes::new());
        Effect::TimerSet { name: name.into(), due_ms, misfire, command, body }
    }

    fn id(n: u8) -> CommandRef {
        CommandRef::Id(CommandId::new(5, [n; 10]))
    }

    #[test]
    fn the_schedule_says_of_timers_what_the_ledger_says() {
        let mut ledger = Ledger::new(key("a/1"));
        let mut schedule = Schedule::default();
        let fired = CommandRef::Timer { name: "one".into(), due_ms: 10 };
        let steps = [
            (id(1), vec![set("one", 10), set("two", 20), set("three", 5)]),
            (id(2), vec![set("two", 7), Effect::TimerCancel { name: "three".into() }]),
            (fired, vec![set("four", 30)]),
        ];
        for (reference, effects) in steps {
            schedule.add(&commit(&mut ledger, reference, effects));
            let due: Vec<_> = schedule.due(u64::MAX).map(|(_, command, _)| command).collect();
            assert_eq!(due.first(), ledger.next_timer().map(|(_, command)| command).as_ref());
            assert_eq!(due.len(), ledger.timers().len());
        }
        assert_eq!(schedule.next(7), Some(30));
        assert_eq!(schedule.due(7).count(), 1);
        for (number, end) in [(3, Effect::Stop), (4, Effect::Delete)] {
            schedule.add(&commit(&mut ledger, id(number), vec![end]));
            assert_eq!(schedule.iter().count(), 0);
            schedule.set(
                key("a/1"),
                "again".into(),
                Timer {
                    due_ms: 1,
                    misfire: Misfire::Skip,
                    command: "ring".into(),
                    body: bytes::Bytes::new(),
                },
            );
        }
        schedule.stop_all(&key("a/1"));
        assert_eq!(schedule.due(u64::MAX).count(), 0);
    }

    #[test]
    fn the_index_names_the_records_behind_a_snapshot() {
        let mut index = Index::default();
        for seq in 1..=3 {
            let mut ledger = Ledger::new(key("a/1"));
            let commits =
                vec![commit(&mut ledger, id(1), Vec::new()), commit(&mut ledger, id(2), Vec::new())];
            index.add(&Record {
                shard: ShardId(0),
                seq: RecordSeq(seq),
                previous: Hash::ZERO,
                epoch: Epoch(1),
                body: Body::Commits { relayed: None, commits },
            });
        }
        assert_eq!(index.after(&key("a/1"), RecordSeq(1)), [RecordSeq(2), RecordSeq(3)]);
        assert_eq!(index.len(), 3, "several commits of one actor in one record are one place");
        index.trim(RecordSeq(2));
        assert_eq!((index.after(&key("a/1"), RecordSeq(0)), index.len()), (&[RecordSeq(3)][..], 1));
        index.trim(RecordSeq(3));
        assert!(!index.knows(&key("a/1")) && index.is_empty());
        let mut ledger = Ledger::new(key("a/1"));
        let commits =
            vec![commit(&mut ledger, id(1), Vec::new()), commit(&mut ledger, id(2), vec![Effect::Delete])];
        let body = Body::Commits { relayed: None, commits };
        let (shard, seq) = (ShardId(0), RecordSeq(4));
        index.add(&Record { shard, seq, previous: Hash::ZERO, epoch: Epoch(1), body });
        assert!(index.is_empty(), "of a deleted actor nothing is to be found");
        assert_eq!(index.len(), 0);
    }
}
