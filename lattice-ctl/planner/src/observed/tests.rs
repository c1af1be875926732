//! Liveness, replays, restarts, and two machines with one name.

use super::*;
use crate::fixtures::{heartbeat, host, status};
use lattice_protocol::heartbeat::RunState;
use proptest::prelude::*;

fn seen(name: &str) -> (Observed, HostId) {
    let mut observed = Observed::new(Profile::EDGE, 0);
    assert_eq!(observed.apply(heartbeat(name, "b1", 1), 0), Applied::Joined);
    (observed, host(name))
}

#[test]
fn silence_makes_a_host_suspect_and_then_lost_by_the_receivers_clock() {
    let (mut observed, a) = seen("A");
    let judged = |observed: &Observed, times: &[u64]| {
        times.iter().map(|now| observed.judge(&a, *now)).collect::<Vec<_>>()
    };
    assert_eq!(
        judged(&observed, &[0, 15_000, 15_001, 30_000, 30_001]),
        [Verdict::Alive, Verdict::Alive, Verdict::Suspect, Verdict::Suspect, Verdict::Lost]
    );
    assert_eq!(observed.next_change_ms(0), Some(15_001));
    assert_eq!(observed.next_change_ms(15_001), Some(30_001));
    let mut beat = heartbeat("A", "b1", 2);
    beat.at_unix_ms = 1;
    assert_eq!(observed.apply(beat, 40_000), Applied::Rejoined);
    assert_eq!(
        judged(&observed, &[40_000, 44_999, 45_000]),
        [Verdict::Rejoined, Verdict::Rejoined, Verdict::Alive]
    );
    assert_eq!(observed.next_change_ms(40_000), Some(45_000), "held for a heartbeat");
    assert_eq!(
        observed.timeout_report(&a).to_string(),
        "E_HEARTBEAT_TIMEOUT: heartbeat timeout: 30000ms: A; check the host's network and its trellis process"
    );
}

#[test]
fn a_host_that_speaks_less_often_than_is_expected_is_not_suspect_between_its_words() {
    let mut observed = Observed::new(Profile::FAST, 0);
    let beat = |seq| Heartbeat { interval_ms: 5_000, ..heartbeat("A", "b1", seq) };
    let a = host("A");
    observed.apply(beat(1), 0);
    let judged: Vec<_> = [7_500, 7_501, 15_000, 15_001].iter().map(|now| observed.judge(&a, *now)).collect();
    assert_eq!(judged, [Verdict::Alive, Verdict::Suspect, Verdict::Suspect, Verdict::Lost]);
    assert_eq!(observed.apply(beat(2), 14_000), Applied::Heard, "it was not away");
    assert_eq!(observed.next_change_ms(14_000), Some(21_501));
    assert!(observed.timeout_report(&a).to_string().contains("timeout: 15000ms"));
    // Who speaks more often is judged as everybody is, and nobody is believed for ever.
    observed.apply(Heartbeat { interval_ms: 1, ..beat(3) }, 40_000);
    assert_eq!(observed.judge(&a, 40_751), Verdict::Suspect);
    observed.apply(Heartbeat { interval_ms: u64::MAX, ..beat(4) }, 41_000);
    assert_eq!(observed.judge(&a, 41_000 + 90_001), Verdict::Lost);
}

#[test]
fn a_controller_that_has_just_started_calls_nobody_lost() {
    let observed = Observed::new(Profile::EDGE, 1_000_000);
    assert_eq!(observed.judge(&host("A"), 1_000_000), Verdict::Suspect);
    assert_eq!(observed.judge(&host("A"), 1_030_001), Verdict::Lost);
    assert_eq!(observed.next_change_ms(1_000_000), Some(1_030_001));
}

#[test]
fn a_controller_that_has_just_started_hears_everybody_once_before_it_decides() {
    let mut observed = Observed::new(Profile::EDGE, 1_000_000);
    observed.apply(heartbeat("A", "b1", 1), 1_000_000);
    assert!(observed.is_listening(1_007_499), "hosts beat every 5 s");
    assert!(!observed.is_listening(1_007_500));
}

#[test]
fn a_replayed_or_overtaken_heartbeat_keeps_nobody_alive() {
    let (mut observed, a) = seen("A");
    assert_eq!(observed.apply(heartbeat("A", "b1", 5), 1_000), Applied::Heard);
    for seq in [1, 4, 5] {
        assert_eq!(observed.apply(heartbeat("A", "b1", seq), 20_000), Applied::Stale);
    }
    assert_eq!(observed.judge(&a, 20_000), Verdict::Suspect);
}

#[test]
fn a_restart_is_a_new_boot_and_not_a_conflict() {
    let (mut observed, a) = seen("A");
    observed.apply(heartbeat("A", "b1", 900), 1_000);
    assert_eq!(observed.apply(heartbeat("A", "b2", 1), 2_000), Applied::Rebooted);
    assert_eq!(observed.apply(heartbeat("A", "b1", 901), 2_001), Applied::Heard, "one was on its way");
    assert!(observed.conflicts(2_001).is_empty());
    for seq in 2..20 {
        assert_eq!(observed.apply(heartbeat("A", "b2", seq), seq * 5_000), Applied::Heard);
    }
    assert_eq!(observed.apply(heartbeat("A", "b1", 902), 100_000), Applied::Stale, "that life is over");
    assert_eq!(observed.view(&a, 100_000).unwrap().heartbeat.boot_id, "b2");
}

#[test]
fn two_machines_with_one_id_are_told_apart_and_neither_is_failed_over() {
    let (mut observed, a) = seen("A");
    for round in 1..4 {
        observed.apply(heartbeat("A", "clone", round), round * 5_000);
        observed.apply(heartbeat("A", "b1", round + 1), round * 5_000 + 1);
    }
    let conflict = Conflict { host: a.clone(), holder: "b1".into(), intruder: "clone".into() };
    assert_eq!(observed.conflicts(15_001), [conflict]);
    let view = observed.view(&a, 15_001).unwrap();
    assert_eq!((view.verdict, view.unfit), (Verdict::Alive, Some(Unfit::Conflict)));
    assert_eq!(view.heartbeat.boot_id, "b1");
    // The intruder stops: the holder goes on as if nothing had been.
    for seq in 5..15 {
        observed.apply(heartbeat("A", "b1", seq), seq * 5_000);
    }
    assert!(observed.conflicts(70_000).is_empty());
    assert_eq!(observed.view(&a, 70_000).unwrap().unfit, None);
}

#[test]
fn more_used_than_there_is_makes_a_host_unfit_not_lost() {
    let mut observed = Observed::new(Profile::EDGE, 0);
    let mut beat = heartbeat("A", "b1", 1);
    beat.load.cpu_used_millis = beat.load.cpu_millis + 1;
    observed.apply(beat, 0);
    let view = observed.view(&host("A"), 0).unwrap();
    assert_eq!((view.verdict, view.unfit), (Verdict::Alive, Some(Unfit::ImplausibleLoad)));
}

#[test]
fn a_host_that_says_it_leaves_is_leaving_until_it_starts_again() {
    let (mut observed, a) = seen("A");
    let mut beat = heartbeat("A", "b1", 2);
    beat.leaving = true;
    observed.apply(beat, 1_000);
    assert_eq!(observed.judge(&a, 1_000), Verdict::Leaving);
    assert_eq!(observed.judge(&a, 31_001), Verdict::Lost);
    observed.apply(heartbeat("A", "b2", 1), 2_000);
    assert_eq!(observed.judge(&a, 2_000), Verdict::Alive);
}

#[test]
fn seed_004s_health_words() {
    let mut observed = Observed::new(Profile::EDGE, 0);
    let mut say = |name: &str, seq, errors, now_ms| {
        let mut beat = heartbeat(name, "b1", seq);
        beat.errors = errors;
        observed.apply(beat, now_ms);
    };
    say("edge-us-west-1", 1, 100, 0);
    for name in ["edge-ap-east-1", "edge-ap-southeast-1", "edge-eu-1"] {
        say(name, 1, 100, 20_000);
    }
    say("edge-ap-east-1", 2, 100, 43_000);
    say("edge-ap-southeast-1", 2, 102, 40_000);
    say("edge-eu-1", 2, 105, 40_000);
    let words: Vec<_> =
        observed.views(45_000).map(|view| format!("[{}] {}", view.health(), view.id)).collect();
    assert_eq!(
        words,
        [
            "[HEALTHY] edge-ap-east-1",
            "[DEGRADED] edge-ap-southeast-1",
            "[UNHEALTHY] edge-eu-1",
            "[UNHEALTHY] edge-us-west-1",
        ]
    );
    assert_eq!(observed.view(&host("edge-eu-1"), 45_000).unwrap().unfit, Some(Unfit::Errors(5)));
    for (seq, at) in [(3, 65_000), (4, 85_000), (5, 100_001)] {
        let mut later = heartbeat("edge-eu-1", "b1", seq);
        later.errors = 105;
        observed.apply(later, at);
    }
    assert_eq!(observed.view(&host("edge-eu-1"), 100_001).unwrap().health(), "HEALTHY", "long ago");
}

#[test]
fn a_host_that_flaps_is_held_longer_each_time() {
    let (mut observed, a) = seen("A");
    let mut now = 0;
    let mut held = Vec::new();
    for seq in 2..8 {
        now += 40_000;
        assert_eq!(observed.apply(heartbeat("A", "b1", seq), now), Applied::Rejoined);
        held.push(observed.hosts[&a].returns.held_until_ms - now);
    }
    assert_eq!(held, [5_000, 20_000, 80_000, 320_000, 600_000, 600_000]);
    let view = observed.view(&a, now).unwrap();
    assert_eq!((view.verdict, view.unfit), (Verdict::Rejoined, Some(Unfit::Flapping(6))));
    assert_eq!(view.health(), "DEGRADED");
    // Forgotten after ten quiet minutes.
    now += 600_001;
    observed.apply(heartbeat("A", "b1", 9), now);
    assert_eq!(observed.hosts[&a].returns.count(), 1);
}

#[test]
fn a_host_that_starts_again_and_again_flaps_and_one_that_said_so_does_not() {
    let (mut observed, a) = seen("A");
    observed.apply(heartbeat("A", "b2", 1), 1_000);
    assert_eq!(observed.judge(&a, 1_000), Verdict::Rejoined);
    observed.apply(heartbeat("A", "b3", 1), 2_000);
    assert_eq!(observed.view(&a, 2_000).unwrap().unfit, Some(Unfit::Flapping(2)));
    let (mut observed, a) = seen("A");
    let mut goodbye = heartbeat("A", "b1", 2);
    goodbye.leaving = true;
    observed.apply(goodbye, 1_000);
    observed.apply(heartbeat("A", "b2", 1), 2_000);
    assert_eq!(observed.judge(&a, 2_000), Verdict::Alive, "a planned restart");
}

/// Hosts of one site, heard last at these times.
fn site(heard: &[(&str, u64)]) -> Observed {
    let mut observed = Observed::new(Profile::EDGE, 0);
    for (name, at) in heard {
        let mut beat = heartbeat(name, "b1", 1);
        beat.labels.insert(SITE_LABEL.into(), "pier".into());
        observed.apply(beat, *at);
    }
    observed
}

#[test]
fn a_site_that_falls_silent_together_is_cut_off_and_lost_only_later() {
    let observed = site(&[("A", 100_000), ("B", 104_000), ("old", 50_000)]);
    let judged = |name: &str, now| observed.judge(&host(name), now);
    assert_eq!(judged("A", 120_000), Verdict::Suspect);
    assert_eq!(judged("A", 130_001), Verdict::CutOff, "B is late as well");
    assert_eq!(judged("B", 130_001), Verdict::Suspect);
    assert_eq!(judged("B", 134_001), Verdict::CutOff);
    assert_eq!(judged("old", 134_001), Verdict::Lost, "it fell silent long before");
    assert_eq!(observed.next_change_ms(134_001), Some(404_001));
    assert_eq!(judged("B", 404_001), Verdict::Lost, "300 s after the last word of the site");
    assert_eq!(observed.view(&host("B"), 134_001).unwrap().health(), "UNHEALTHY");
}

#[test]
fn one_host_alone_is_no_site() {
    let observed = site(&[("A", 100_000), ("B", 60_000)]);
    assert_eq!(observed.judge(&host("A"), 131_000), Verdict::Lost);
    let observed = site(&[("A", 100_000), ("B", 120_000)]);
    assert_eq!(observed.judge(&host("A"), 131_000), Verdict::Lost, "B is heard");
    let mut observed = site(&[("A", 100_000), ("B", 100_000)]);
    observed.forget(&host("B"));
    assert_eq!(observed.judge(&host("A"), 131_000), Verdict::Lost);
}

#[test]
fn a_refusal_counts_for_a_while() {
    let (mut observed, a) = seen("A");
    let actor: ActorId = "shop/web".parse().unwrap();
    let mut beat = heartbeat("A", "b1", 2);
    beat.actors = vec![
        status("shop/web", RunState::Failed, Some("actor start failed: insufficient resources")),
        status("shop/api", RunState::Failed, Some("trap")),
    ];
    observed.apply(beat, 1_000);
    assert!(observed.has_refused(&a, &actor, 1_000));
    assert!(!observed.has_refused(&a, &"shop/api".parse().unwrap(), 1_000));
    assert!(!observed.has_refused(&a, &actor, 301_000));
}

#[test]
fn a_refusal_ends_when_what_was_asked_for_changes_or_the_host_does() {
    let (mut observed, a, actor) = (Observed::new(Profile::EDGE, 0), host("A"), "shop/web".parse().unwrap());
    let app: AppName = "shop".parse().unwrap();
    let says = |seq, revision| {
        let mut beat = heartbeat("A", "b1", seq);
        beat.apps.insert("shop".parse().unwrap(), revision);
        beat.actors = vec![status("shop/web", RunState::Failed, Some("insufficient resources"))];
        beat
    };
    observed.apply(says(1, 7), 0);
    assert_eq!(observed.runs_only(&a, &actor, 1), Some(0));
    // The application is mended: what the host says of the decision before is not about it.
    observed.forgive(&app, 7);
    observed.apply(says(2, 7), 10);
    assert!(!observed.has_refused(&a, &actor, 11));
    observed.apply(says(3, 8), 20);
    assert!(observed.has_refused(&a, &actor, 21), "refused again");
    // The host has more memory from now on, and says no more that it has no room.
    let mut larger = says(4, 8);
    larger.actors.clear();
    observed.apply(larger.clone(), 30);
    assert!(observed.has_refused(&a, &actor, 31), "it was not asked since");
    (larger.seq, larger.load.memory_mib) = (5, 4_096);
    observed.apply(larger, 40);
    assert!(!observed.has_refused(&a, &actor, 41));
}

#[test]
fn what_runs_of_an_actor_of_which_there_is_no_room_for_more_is_known() {
    let (mut observed, a, actor) = (Observed::new(Profile::EDGE, 0), host("A"), "shop/web".parse().unwrap());
    let mut beat = heartbeat("A", "b1", 1);
    let why = Some("actor start failed: insufficient resources");
    beat.actors = vec![status("shop/web", RunState::Running, why)];
    beat.actors[0].replicas = 2;
    observed.apply(beat, 0);
    assert_eq!(observed.runs_only(&a, &actor, 1), Some(2));
}

proptest! {
    /// Whatever boots and sequences arrive in whatever order, memory is bounded, time never
    /// un-hears a heartbeat, and replaying everything changes nothing.
    #[test]
    fn any_stream_of_heartbeats_is_survived(
        beats in proptest::collection::vec((0u8..8, 1u64..20, 0u64..20_000), 1..80),
    ) {
        let (mut observed, a) = seen("A");
        let mut now = 0;
        for (boot, seq, later) in &beats {
            now += later;
            let applied = observed.apply(heartbeat("A", &format!("boot{boot}"), *seq), now);
            if applied != Applied::Stale {
                prop_assert_ne!(observed.judge(&a, now), Verdict::Lost);
            }
            let replay = observed.apply(heartbeat("A", &format!("boot{boot}"), *seq), now);
            prop_assert_eq!(replay, Applied::Stale);
            prop_assert!(observed.conflicts(now).len() <= 1);
        }
        prop_assert_eq!(observed.judge(&a, now + 60_000), Verdict::Lost);
    }
}

#[test]
fn a_host_that_is_not_connected_any_more_is_lost_as_soon_as_it_is_suspect() {
    let mut observed = Observed::new(Profile::FAST, 0);
    let a = host("A");
    observed.apply(heartbeat("A", "b1", 1), 0);
    observed.vanish(&a, "b1", 1);
    assert_eq!([750, 751].map(|now| observed.judge(&a, now)), [Verdict::Alive, Verdict::Lost]);
    // It had only connected anew: held, as one that comes back is.
    assert_eq!(observed.apply(heartbeat("A", "b1", 2), 800), Applied::Rejoined);
    assert_eq!(observed.judge(&a, 801), Verdict::Rejoined);
    // What was asked about an older word, or another life, says nothing of this one.
    observed.vanish(&a, "b1", 1);
    observed.vanish(&a, "b0", 2);
    assert_eq!(observed.judge(&a, 1_600), Verdict::Suspect);
    // A site whose uplink is down is not connected either.
    let mut observed = site(&[("A", 0), ("B", 0)]);
    for name in ["A", "B"] {
        observed.vanish(&host(name), "b1", 1);
    }
    assert_eq!(observed.judge(&a, 15_001), Verdict::CutOff);
}
