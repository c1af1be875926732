//! A standby that lags as it likes, over every world that a beginner is tested in: what it goes on from is
//! what everybody sees, or it says that it has to begin anew.

use super::*;
use crate::begin::tests::{World, world};
use crate::model::ModelLog;
use lattice_protocol::seeded::Seeded;

struct Follower {
    standby: Standby,
    begun: u32,
}

impl Follower {
    fn new(world: &World) -> Self {
        Self { standby: Standby::new(world.begin().unwrap()), begun: 1 }
    }

    fn begin_anew(&mut self, world: &World) {
        self.standby = Standby::new(world.begin().unwrap());
        self.begun += 1;
    }

    /// Some of what there is, as a consumer delivers it.
    fn step(&mut self, world: &World, random: &mut Seeded) {
        let first = Position(world.log.first().0 - 1);
        let after = self.standby.tail().position.max(first);
        let most = usize::try_from(random.below(4)).unwrap();
        let back = world.log.read(after, most).unwrap();
        if self.standby.follow(back.entries).is_err() {
            return self.begin_anew(world);
        }
        if let Some(name) = self.standby.wanted().filter(|_| random.below(3) > 0) {
            let document = world.store.get(&name).cloned().ok_or_else(|| "gone".to_owned());
            let document = document.map(|bytes| Document::from_bytes(bytes).unwrap());
            if self.standby.document(document).is_err() {
                self.begin_anew(world);
            }
        }
    }
}

fn checked(standby: &Standby, log: &ModelLog) -> Result<Standby, Lost> {
    let mut standby = standby.clone();
    let seq = standby.tail().chain.seq();
    let after = standby.check_after().ok_or(Lost::Diverged { seq })?;
    let back = log.read(after, usize::MAX).ok_or(Lost::Diverged { seq })?;
    standby.check(back)?;
    Ok(standby)
}

#[test]
fn what_a_standby_goes_on_from_is_what_whoever_begins_sees() {
    let (mut went_on, mut waited, mut anew) = (0, 0, 0);
    for seed in 0..150 {
        let mut follower: Option<Follower> = None;
        world(seed, 60, |world, random| {
            let follower = follower.get_or_insert_with(|| Follower::new(world));
            follower.step(world, random);
            match checked(&follower.standby, &world.log) {
                Ok(standby) if standby.wanted().is_none() => {
                    let begun = world.begin().unwrap();
                    let (tail, checkpoint) = standby.into_parts();
                    let name = |checkpoint: &Option<(Hint, Document)>| {
                        checkpoint.as_ref().map(|(hint, _)| hint.document)
                    };
                    // The checkpoint is the last one that counts: packs that only older ones name may go.
                    let newest = world.current.as_ref().map(|(name, _)| *name);
                    assert_eq!(name(&checkpoint), newest);
                    world.holds(&Begun { tail, checkpoint, ..begun });
                    went_on += 1;
                }
                Ok(_) => waited += 1,
                Err(lost) => {
                    assert!(matches!(lost, Lost::Diverged { .. } | Lost::Owner { .. }), "{lost}");
                    anew += 1;
                }
            }
        });
        anew += follower.map_or(0, |follower| follower.begun - 1);
    }
    assert!(went_on > 3_000 && waited > 100 && anew > 100, "{went_on} {waited} {anew}");
}

#[test]
fn a_log_that_has_lost_or_changed_what_was_followed_is_told_from_the_one_that_was_followed() {
    let mut told = 0;
    for seed in 0..100 {
        let end = world(seed, 30, |_, _| {});
        let standby = Standby::new(end.begin().unwrap());
        assert!(checked(&standby, &end.log).is_ok());
        let place = standby.tail().places.of(standby.tail().chain.seq()).unwrap();
        let mut shorter = ModelLog::default();
        for entry in end.all.iter().take(usize::try_from(place.0).unwrap() - 1) {
            shorter.force(entry);
        }
        let lost = Lost::Diverged { seq: standby.tail().chain.seq() };
        assert_eq!(checked(&standby, &shorter).unwrap_err(), lost);
        // Others have written there since.
        let mut truth = Tail::new(crate::chain::Chain::new(crate::fixtures::SHARD));
        truth.follow(shorter.read(Position(0), usize::MAX).unwrap().entries).unwrap();
        let opening = truth.chain.opening(truth.chain.epoch().next(), crate::fixtures::session("Z"));
        shorter.force(opening.seal().unwrap().bytes());
        for _ in 0..3 {
            assert_eq!(checked(&standby, &shorter).unwrap_err(), lost);
            shorter.force(&end.all[0]);
        }
        told += 1;
    }
    assert_eq!(told, 100);
}

#[test]
fn entries_that_cannot_be_read_or_are_left_out_are_told() {
    let mut end = world(5, 20, |_, _| {});
    let mut standby = Standby::new(end.begin().unwrap());
    let at = end.log.force(&Bytes::from_static(b"TRJ\x09newer"));
    let entry = end.log.read(Position(at.0 - 1), 1).unwrap().entries;
    let far = vec![(at.next(), entry[0].1.clone())];
    assert_eq!(standby.follow(far), Err(Lost::Gap { after: Position(at.0 - 1), next: at.next() }));
    assert!(matches!(standby.follow(entry), Err(Lost::Damaged { at: place, .. }) if place == at));
}

#[test]
fn a_document_of_another_checkpoint_is_not_taken() {
    let mut refused = 0;
    for seed in 0..100 {
        let mut standby: Option<Standby> = None;
        world(seed, 60, |world, _| {
            let standby = standby.get_or_insert_with(|| Standby::new(world.begin().unwrap()));
            let Some(back) = world.log.read(standby.tail().position, usize::MAX) else {
                *standby = Standby::new(world.begin().unwrap());
                return;
            };
            if standby.follow(back.entries).is_err() {
                *standby = Standby::new(world.begin().unwrap());
            }
            let Some(name) = standby.wanted() else { return };
            let right = Document::from_bytes(world.store[&name].clone()).unwrap().checkpoint;
            for (other, bytes) in &world.store {
                let document = Document::from_bytes(bytes.clone()).unwrap();
                if document.checkpoint == right {
                    continue;
                }
                let lost = standby.clone().document(Ok(document)).unwrap_err();
                assert!(
                    matches!(lost, Lost::Document { name: named, .. } if named == name),
                    "{other}: {lost}"
                );
                refused += 1;
            }
            let bytes = world.store[&name].clone();
            let document = standby.document(Ok(Document::from_bytes(bytes).unwrap())).unwrap();
            assert!(document.is_some() && standby.wanted().is_none());
        });
    }
    assert!(refused > 100, "{refused}");
}
