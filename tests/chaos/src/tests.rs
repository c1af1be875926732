//! The checker held to both sides: nothing found in what is right, and every planted bug found.

use crate::generate::{Random, Size, generate};
use crate::plant::{PLANTS, Plant};
use crate::{Entry, History, Kind, check};

const SEEDS: u64 = 60;

fn sound(seed: u64) -> History {
    generate(seed, Size::default())
}

#[test]
fn nothing_is_wrong_with_what_is_right() {
    for seed in 0..SEEDS {
        let verdict = check(&sound(seed));
        assert!(verdict.is_clean() && verdict.undecided.is_empty(), "seed {seed}:\n{verdict}");
    }
}

/// A chaos run is longer than a unit test's: every check but the search is linear, or nearly so.
#[test]
fn a_long_run_is_checked_as_well() {
    let size = Size { shards: 8, actors: 40, clients: 64, calls: 20_000 };
    let verdict = check(&generate(1, size));
    assert!(verdict.is_clean() && verdict.undecided.is_empty(), "{verdict}");
    assert!(verdict.counts.acknowledged > 8_000, "{verdict}");
}

/// A generator that never does a thing shows nothing about it.
#[test]
fn the_generator_does_everything_that_it_says() {
    let mut totals = [0; 8];
    for seed in 0..SEEDS {
        let history = sound(seed);
        let counts = check(&history).counts;
        let count = |wanted: fn(&Entry) -> bool| history.0.iter().filter(|entry| wanted(entry)).count();
        let each = [
            counts.acknowledged,
            counts.unknown,
            counts.reads,
            counts.skipped,
            counts.owners - 3,
            counts.effects,
            count(|entry| matches!(entry, Entry::Record { accepted: Some(false), .. })),
            count(|entry| matches!(entry, Entry::Effect { accepted: false, .. })),
        ];
        totals.iter_mut().zip(each).for_each(|(total, each)| *total += each);
    }
    assert!(totals.iter().all(|total| *total >= 100), "{totals:?}");
}

#[test]
fn the_same_seed_gives_the_same_history_and_it_reads_back() {
    let (one, two) = (sound(7), sound(7));
    assert_eq!(one, two);
    assert_ne!(one, sound(8));
    assert_eq!(one.to_string().parse::<History>().unwrap(), one);
}

/// Plants into as many histories as have a place for it.
fn found(plant: &Plant) {
    let mut planted = 0;
    for seed in 0..SEEDS {
        let (mut history, mut random) = (sound(seed), Random::new(seed ^ 0x0bad_cafe));
        if !(plant.plant)(&mut history, &mut random) {
            continue;
        }
        planted += 1;
        let verdict = check(&history);
        assert!(verdict.count(plant.kind) > 0, "{}, seed {seed}: not found\n{verdict}", plant.name);
    }
    assert!(planted >= 20, "{}: only {planted} of {SEEDS} histories have a place for it", plant.name);
}

macro_rules! plants {
    ($($name:ident: $bug:literal,)*) => {
        $(#[test]
        fn $name() {
            found(PLANTS.iter().find(|plant| plant.name == $bug).unwrap());
        })*

        #[test]
        fn every_plant_has_a_test() {
            let tested = [$($bug),*];
            let names: Vec<&str> = PLANTS.iter().map(|plant| plant.name).collect();
            assert_eq!(names, tested);
        }
    };
}

plants! {
    bug_01: "an actor's first commit is gone",
    bug_02: "a commit in the middle is gone",
    bug_03: "an actor's last commit is gone",
    bug_04: "the stream's tail is cut off",
    bug_05: "acknowledged before it was stored",
    bug_06: "a retry is carried out again",
    bug_07: "an actor's message is taken twice",
    bug_08: "a command out of nowhere",
    bug_09: "a refused command is carried out",
    bug_10: "another command under the same id",
    bug_11: "an answer that was not stored",
    bug_12: "a retry is answered anew",
    bug_13: "a place that is another's",
    bug_14: "answered by an owner of before",
    bug_15: "a read from a stale copy",
    bug_16: "a read of what is not stored",
    bug_17: "a read of the future",
    bug_18: "a read that goes back",
    bug_19: "an update that overwrites another",
    bug_20: "two sums that cannot both be",
    bug_21: "commits in another order than seen",
    bug_22: "an actor's number is skipped",
    bug_23: "an actor's history is replaced",
    bug_24: "a fenced owner's record counts",
    bug_25: "two owners in one epoch",
    bug_26: "a record that follows nothing counts",
    bug_27: "a valid record is thrown away",
    bug_28: "two copies differ",
    bug_29: "a bit has flipped",
    bug_30: "an effect takes effect twice",
    bug_31: "an effect that no commit asked for",
    bug_32: "an effect of a fenced owner",
    bug_33: "an effect that never comes out",
    bug_34: "a message that never arrives",
}

/// Without the journal, what clients saw must still be enough for some of it.
#[test]
fn clients_alone_show_that_an_order_is_impossible() {
    let plant = PLANTS.iter().find(|plant| plant.kind == Kind::NotLinearizable).unwrap();
    let mut planted = 0;
    for seed in 0..SEEDS {
        let (mut history, mut random) = (sound(seed), Random::new(seed));
        let planted_here = (plant.plant)(&mut history, &mut random);
        history
            .0
            .retain(|entry| !matches!(entry, Entry::Record { .. } | Entry::Effect { .. } | Entry::Ended));
        history
            .0
            .retain(|entry| !matches!(entry, Entry::Invoke { actor, .. } if actor.starts_with("inbox/")));
        let asked: Vec<u64> = history
            .0
            .iter()
            .filter_map(|entry| if let Entry::Invoke { op, .. } = entry { Some(*op) } else { None })
            .collect();
        history.0.retain(|entry| !matches!(entry, Entry::Answer { op, .. } if !asked.contains(op)));
        let count = check(&history).count(Kind::NotLinearizable);
        assert_eq!(count > 0, planted_here, "seed {seed}");
        planted += usize::from(planted_here);
    }
    assert!(planted >= 20, "{planted}");
}

#[test]
fn what_is_no_history_is_an_error_with_its_line() {
    let error = |text: &str| text.parse::<History>().unwrap_err().to_string();
    assert!(error("{\"entry\":\"ended\"}\n{").starts_with("history: line 2: EOF"), "{}", error("{"));
    assert!(error(r#"{"entry":"nothing"}"#).contains("unknown variant"));
    let again = r#"{"entry":"invoke","op":1,"actor":"a/b","name":"read"}"#;
    let text = format!(
        "{again}\n{again}\n{{\"entry\":\"answer\",\"op\":9,\"outcome\":{{\"unknown\":{{\"why\":\"x\"}}}}}}"
    );
    assert_eq!(check(&text.parse().unwrap()).count(Kind::History), 2);
}
