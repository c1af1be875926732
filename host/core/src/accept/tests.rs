//! Races of controllers, replays and misdelivery, as a host sees them.

use super::*;
use crate::fixtures::{actor, link, provider};
use lattice_protocol::Generation;

fn lattice() -> LatticeName {
    "prod".parse().unwrap()
}

fn host() -> HostId {
    "NEDGE01".parse().unwrap()
}

/// A spec at generation `incarnation.n` with these applications, each with one actor of as many
/// replicas as the application's revision.
fn spec(incarnation: u64, n: u64, apps: &[(&str, u64)]) -> HostSpec {
    let mut spec = HostSpec::empty(lattice(), host());
    spec.generation = Generation { incarnation, n };
    for (app, revision) in apps {
        spec.apps.insert(app.parse().unwrap(), *revision);
        let mut of_app = actor(&format!("{app}/web"), "aa");
        of_app.replicas = u32::try_from(*revision).unwrap();
        spec.actors.push(of_app);
        spec.providers.push(provider(&format!("{app}/kv"), "keyvalue-embedded"));
        spec.links.push(link(&format!("{app}/web"), "wasi:keyvalue", &format!("{app}/kv")));
    }
    spec
}

fn offer(current: Option<&HostSpec>, offered: HostSpec) -> Result<Verdict, String> {
    accept(&lattice(), &host(), current, offered).map_err(|report| report.to_string())
}

fn accepted(verdict: Result<Verdict, String>) -> (HostSpec, Vec<String>) {
    match verdict {
        Ok(Verdict::Accepted { spec, kept }) => (*spec, kept.iter().map(ToString::to_string).collect()),
        other => panic!("not accepted: {other:?}"),
    }
}

#[test]
fn the_first_and_each_newer_spec_is_taken() {
    let first = spec(0, 1, &[("shop", 1)]);
    assert_eq!(accepted(offer(None, first.clone())), (first.clone(), vec![]));
    let second = spec(0, 2, &[("shop", 2)]);
    assert_eq!(accepted(offer(Some(&first), second.clone())), (second, vec![]));
}

#[test]
fn a_replay_changes_nothing_and_an_older_one_is_fenced() {
    let current = spec(0, 5, &[("shop", 2)]);
    assert_eq!(offer(Some(&current), current.clone()), Ok(Verdict::Unchanged));
    assert_eq!(
        offer(Some(&current), spec(0, 4, &[("shop", 9)])),
        Err("E_FENCED: host spec of an older generation (got 0.4, expected 0.5 or newer)".into())
    );
}

#[test]
fn what_is_meant_for_others_is_refused() {
    let mut elsewhere = spec(0, 1, &[]);
    elsewhere.host = "NEDGE02".parse().unwrap();
    assert_eq!(
        offer(None, elsewhere),
        Err("E_DENIED: host spec of another host (got NEDGE02, expected NEDGE01)".into())
    );
    let mut foreign = spec(0, 1, &[]);
    foreign.lattice = "test".parse().unwrap();
    assert!(offer(None, foreign).unwrap_err().starts_with("E_DENIED: host spec of another lattice"));
}

#[test]
fn a_slow_controller_does_not_undo_what_a_faster_one_placed() {
    let current = spec(0, 5, &[("shop", 7), ("blog", 3)]);
    let stale = spec(0, 6, &[("shop", 6), ("blog", 4)]);
    let (merged, kept) = accepted(offer(Some(&current), stale.clone()));
    assert_eq!(kept, ["shop"]);
    assert_eq!(merged, {
        let mut expected = spec(0, 6, &[("blog", 4), ("shop", 7)]);
        expected.apps = [("blog".parse().unwrap(), 4), ("shop".parse().unwrap(), 7)].into();
        expected
    });
    assert_eq!(offer(Some(&merged), stale), Ok(Verdict::Unchanged), "its repetition is no conflict");
}

#[test]
fn an_application_that_is_gone_from_a_newer_spec_is_gone() {
    let (now, kept) = accepted(offer(Some(&spec(0, 5, &[("shop", 7)])), spec(0, 6, &[])));
    assert!(now.actors.is_empty() && kept.is_empty());
}

#[test]
fn a_new_incarnation_starts_its_revisions_anew() {
    let restored = spec(1, 1, &[("shop", 1)]);
    assert_eq!(accepted(offer(Some(&spec(0, 900, &[("shop", 70)])), restored.clone())), (restored, vec![]));
    let old_life = offer(Some(&spec(1, 1, &[])), spec(0, 901, &[]));
    assert!(old_life.unwrap_err().starts_with("E_FENCED"));
}

#[test]
fn two_specs_of_one_generation_are_a_conflict() {
    let verdict = offer(Some(&spec(0, 5, &[("shop", 1)])), spec(0, 5, &[("shop", 2)]));
    assert!(verdict.unwrap_err().starts_with("E_CONFLICT: two host specs of one generation (got 0.5"));
}
