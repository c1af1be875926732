//! Owners, fenced owners, checkpoints in every state of being made, trimmed streams: whoever begins sees
//! what an owner sees who has read everything there ever was, or is refused; never less.

use super::*;
use crate::document::Milestone;
use crate::fixtures::{SHARD, record, session};
use crate::ids::{Epoch, Hash, RecordSeq};
use crate::model::ModelLog;
use crate::record::{Checkpoint, Kept};
use crate::retain::Keep;
use bytes::Bytes;
use lattice_protocol::seeded::Seeded;
use std::collections::BTreeMap;

pub(crate) struct World {
    pub(crate) log: ModelLog,
    /// Everything that was ever appended.
    pub(crate) all: Vec<Bytes>,
    pub(crate) store: BTreeMap<Digest, Bytes>,
    hints: Vec<Hint>,
    owner: Tail,
    fenced: Vec<Chain>,
    pub(crate) current: Option<(Digest, Document)>,
    now_ms: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            log: ModelLog::default(),
            all: Vec::new(),
            store: BTreeMap::new(),
            hints: Vec::new(),
            owner: Tail::new(Chain::new(SHARD)),
            fenced: Vec::new(),
            current: None,
            now_ms: 0,
        };
        world.take_over();
        world
    }

    /// Appends whatever the log has come to, as a leader does that has lost track.
    fn append(&mut self, sealed: &Sealed) -> Position {
        self.all.push(sealed.bytes().clone());
        let position = self.log.force(sealed.bytes());
        self.owner.follow(vec![(position, sealed.bytes().clone())]).unwrap();
        position
    }

    fn take_over(&mut self) {
        self.fenced.push(self.owner.chain.clone());
        let chain = &self.owner.chain;
        let opening = chain.opening(chain.epoch().next(), session("A")).seal().unwrap();
        self.append(&opening);
        // The new owner goes on from what it finds, as it finds it.
        let begun = self.begin().unwrap();
        self.current = begun.checkpoint.map(|(hint, document)| (hint.document, document));
    }

    fn commit(&mut self) {
        let next = record(&self.owner.chain, Vec::new());
        self.append(&next);
    }

    /// A fenced owner writes on: a record, or a checkpoint of what it knows.
    fn write_late(&mut self, random: &mut Seeded) {
        let at = usize::try_from(random.below(self.fenced.len() as u64)).unwrap();
        let chain = self.fenced[at].clone();
        if chain.seq() == RecordSeq(0) {
            return;
        }
        self.now_ms += 1;
        let body = if random.below(2) == 0 {
            Body::Commits { relayed: None, commits: Vec::new() }
        } else {
            let Some(position) = self.owner.places.of(chain.seq()) else { return };
            let document = self.document(&chain, chain.seq(), position);
            let name = self.keep(&document);
            Body::Checkpoint(Checkpoint {
                kept: Some(Kept { document: name, position }),
                ..document.checkpoint
            })
        };
        let late = chain.next(body).seal().unwrap();
        // It never learns that this was valid, so it goes no further.
        self.append(&late);
    }

    fn document(&self, chain: &Chain, through: RecordSeq, position: Position) -> Document {
        let list = crate::trim::SnapshotList::default().to_bytes().1;
        let (hash, epoch) = (chain.hash_of(through).unwrap(), self.epoch_at(through).min(chain.epoch()));
        Document {
            shard: SHARD,
            epoch: chain.epoch(),
            checkpoint: Checkpoint { through, hash, epoch, snapshots: 0, list, kept: None },
            position,
            at_ms: self.now_ms,
            places: self.owner.places.clone(),
            timers: Vec::new(),
            packs: Vec::new(),
            snapshots: BTreeMap::new(),
            milestones: self.current.iter().map(|(name, before)| before.milestone(*name)).collect(),
        }
    }

    fn epoch_at(&self, through: RecordSeq) -> Epoch {
        let mut chain = Chain::new(SHARD);
        for bytes in &self.all {
            if chain.seq() < through {
                // Skipped ones change nothing.
                let _ = chain.offer(&Sealed::open(bytes.clone()).unwrap());
            }
        }
        chain.epoch()
    }

    /// History is kept for a time, and up to a size that is said by a record.
    fn retained(&self, random: &mut Seeded) -> Keep {
        let too_much = RecordSeq(random.below(self.owner.chain.seq().0 + 1));
        let age_ms = random.below(40);
        Keep { now_ms: self.now_ms, age_ms, too_much, span_ms: age_ms }
    }

    fn keep(&mut self, document: &Document) -> Digest {
        let bytes = document.to_bytes();
        let name = Digest::of(&bytes);
        self.store.insert(name, bytes);
        name
    }

    /// A checkpoint that gets so far: its document, its record, the hint, the trimming.
    fn checkpoint(&mut self, random: &mut Seeded, steps: u64) {
        self.now_ms += 10;
        let last = self.current.as_ref().map_or(0, |(_, document)| document.checkpoint.through.0);
        let chain = self.owner.chain.clone();
        let through = RecordSeq(last + 1 + random.below(chain.seq().0 - last));
        let Some(position) = self.owner.places.of(through).filter(|_| chain.hash_of(through).is_some())
        else {
            return;
        };
        let document = self.document(&chain, through, position);
        let name = self.keep(&document);
        if steps < 1 {
            return;
        }
        let kept = Some(Kept { document: name, position });
        let body = Body::Checkpoint(Checkpoint { kept, ..document.checkpoint.clone() });
        let record = self.append(&chain.next(body).seal().unwrap());
        let before = self.current.replace((name, document.clone()));
        if steps < 2 {
            return;
        }
        self.hints.insert(0, Hint { document: name, position, record });
        self.hints.truncate(2);
        if steps < 3 {
            return;
        }
        if let Some((_, position)) = document.may_go(self.retained(random)) {
            self.log.trim(position);
        }
        if steps < 4 {
            return;
        }
        // As the shelf deletes: what the one before named, and this one does not.
        if let Some((_, before)) = before {
            for gone in before.names().difference(&document.names()) {
                self.store.remove(gone);
            }
        }
    }

    pub(crate) fn begin(&self) -> Result<Begun, Refusal> {
        begin(&self.log, &self.store, &self.hints)
    }

    /// What an owner sees that has read everything.
    fn truth(&self) -> Tail {
        let mut tail = Tail::new(Chain::new(SHARD));
        tail.follow((1..).map(Position).zip(self.all.iter().cloned()).collect()).unwrap();
        tail
    }

    pub(crate) fn holds(&self, begun: &Begun) {
        let truth = self.truth();
        let seen = |tail: &Tail| (tail.chain.seq(), tail.chain.head(), tail.chain.epoch(), tail.position);
        assert_eq!(seen(&begun.tail), seen(&truth));
        let through = begun.checkpoint.as_ref().map_or(0, |(_, document)| document.checkpoint.through.0);
        for seq in through + 1..=truth.chain.seq().0 {
            assert_eq!(begun.tail.places.of(RecordSeq(seq)), truth.places.of(RecordSeq(seq)), "record {seq}");
        }
    }
}

fn begin(log: &ModelLog, store: &BTreeMap<Digest, Bytes>, hints: &[Hint]) -> Result<Begun, Refusal> {
    let mut begin = Begin::new(SHARD, hints.to_vec());
    let mut todo: VecDeque<BeginAction> = begin.start().into();
    let mut folded: Vec<RecordSeq> = Vec::new();
    while let Some(action) = todo.pop_front() {
        todo.extend(match action {
            BeginAction::Read { after, one } => match log.read(after, if one { 1 } else { 3 }) {
                Some(back) => begin.read(back),
                None => begin.trimmed(log.first()),
            },
            BeginAction::Fetch(name) => {
                let found = store.get(&name).cloned().ok_or_else(|| "gone".to_owned());
                begin.document(
                    found.and_then(|bytes| Document::from_bytes(bytes).map_err(|error| error.to_string())),
                )
            }
            BeginAction::Restart(document) => {
                folded = document.iter().map(|document| document.checkpoint.through).collect();
                Vec::new()
            }
            BeginAction::Fold(records) => {
                for sealed in records {
                    let seq = sealed.record().seq;
                    assert_eq!(seq.0, folded.last().map_or(1, |last| last.0 + 1), "folded without a gap");
                    folded.push(seq);
                }
                Vec::new()
            }
            BeginAction::Skipped(_) => Vec::new(),
            BeginAction::Begun => return Ok(begin.into_begun()),
            BeginAction::Refused(refusal) => return Err(refusal),
        });
    }
    panic!("it neither began nor was refused")
}

pub(crate) fn world(seed: u64, steps: usize, mut each: impl FnMut(&World, &mut Seeded)) -> World {
    let mut random = Seeded::new(seed);
    let mut world = World::new();
    for _ in 0..steps {
        match random.below(16) {
            0..7 => world.commit(),
            7..9 => world.take_over(),
            9..12 => world.write_late(&mut random),
            _ => {
                let steps = random.below(6);
                world.checkpoint(&mut random, steps);
            }
        }
        each(&world, &mut random);
    }
    world
}

#[test]
fn whoever_begins_sees_what_everybody_sees_at_every_step_of_every_checkpoint() {
    let mut trimmed = 0;
    for seed in 0..150 {
        let end = world(seed, 60, |world, _| world.holds(&world.begin().unwrap()));
        trimmed += u32::from(end.log.first() > Position(1));
    }
    assert!(trimmed > 50, "{trimmed} worlds were trimmed: that shows little");
}

#[test]
fn without_hints_the_stream_itself_says_where_to_begin() {
    for seed in 0..60 {
        let end = world(seed, 50, |_, _| {});
        end.holds(&begin(&end.log, &end.store, &[]).unwrap());
    }
}

#[test]
fn hints_of_nothing_mislead_nobody() {
    for seed in 0..40 {
        world(seed, 40, |world, random| {
            let places = world.log.last().0;
            let position = Position(random.below(places + 1));
            let names: Vec<Digest> = world.store.keys().copied().collect();
            let wrong = names.first().map(|name| Hint { document: *name, position, record: position });
            let hints: Vec<Hint> = wrong.into_iter().chain(world.hints.iter().copied()).collect();
            world.holds(&begin(&world.log, &world.store, &hints).unwrap());
        });
    }
}

#[test]
fn a_lost_document_gives_way_to_the_one_before_and_losing_both_refuses() {
    let (mut fell_back, mut refused) = (0, 0);
    for seed in 0..150 {
        world(seed, 50, |world, _| {
            let Some(newest) = world.hints.first() else { return };
            let mut store = world.store.clone();
            store.remove(&newest.document);
            let begun = begin(&world.log, &store, &world.hints).unwrap();
            world.holds(&begun);
            assert!(!begun.troubles.is_empty(), "it is told");
            fell_back += 1;
            match begin(&world.log, &BTreeMap::new(), &world.hints) {
                Ok(begun) => {
                    assert_eq!(world.log.first(), Position(1), "nothing was trimmed yet");
                    world.holds(&begun);
                }
                Err(Refusal::Uncovered { first, troubles }) => {
                    assert_eq!(first, world.log.first());
                    assert!(!troubles.is_empty());
                    refused += 1;
                }
                Err(other) => panic!("{other}"),
            }
        });
    }
    assert!(fell_back > 100 && refused > 100, "{fell_back} {refused}");
}

#[test]
fn a_stream_that_was_trimmed_further_than_any_checkpoint_covers_is_refused() {
    let mut refused = 0;
    for seed in 0..100 {
        world(seed, 50, |world, random| {
            let mut log = world.log.clone();
            log.trim(Position(1 + random.below(world.log.last().0)));
            match begin(&log, &world.store, &world.hints) {
                Ok(begun) => world.holds(&begun),
                Err(Refusal::Uncovered { .. }) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        });
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn a_stream_that_has_lost_its_acknowledged_end_is_refused_and_an_empty_one_as_well() {
    let mut refused = 0;
    for seed in 0..100 {
        let end = world(seed, 50, |_, _| {});
        let Some(newest) = end.hints.first() else { continue };
        let mut shorter = ModelLog::default();
        for entry in end.all.iter().take(usize::try_from(newest.record.0).unwrap() - 1) {
            shorter.force(entry);
        }
        for log in [shorter, ModelLog::default()] {
            let refusal = begin(&log, &end.store, &end.hints).unwrap_err();
            assert!(matches!(refusal, Refusal::Shorter { .. }), "{refusal}");
            assert!(Report::from(refusal).hint.is_some());
            refused += 1;
        }
    }
    assert!(refused > 50, "{refused}");
}

#[test]
fn an_entry_that_cannot_be_read_stops_it_with_its_place() {
    let mut end = world(3, 20, |_, _| {});
    let at = end.log.force(&Bytes::from_static(b"TRJ\x09newer"));
    assert!(matches!(end.begin(), Err(Refusal::Damaged { at: place, .. }) if place == at));
    end.hints.clear();
    assert!(end.begin().is_err());
}

#[test]
fn milestones_lead_from_one_to_the_one_before() {
    let end = world(11, 80, |_, _| {});
    let Some((_, document)) = &end.current else { panic!("seed 11 makes no checkpoint") };
    let last: Option<&Milestone> = document.milestones.last();
    assert!(last.is_none_or(|last| last.through <= document.checkpoint.through));
    assert_ne!(document.checkpoint.hash, Hash::ZERO);
}
