//! What counts for and against a host, at the edges: what the observer has missed, and deadlines.

use super::*;
use crate::fixtures::{actor, app, heartbeat, host};
use crate::observed::Profile;
use crate::rollout::report;
use lattice_protocol::heartbeat::Checked;
use lattice_protocol::manifest::Scale;
use lattice_protocol::rollout::{Ask, Base, Check, Content, Gate, Phase, Strategy};

/// A version on trial on A, with a gate of 2 s and a deadline of 6 s.
struct Shop {
    desired: DesiredApp,
    placement: Placement,
    observed: Observed,
    trials: Trials,
    beat: Heartbeat,
}

impl Shop {
    fn new(strategy: Strategy, updated: bool) -> Self {
        let mut desired = app("shop", vec![actor("web", Scale::Replicas(1))]);
        let content =
            Content { application: desired.application.clone(), artifacts: desired.artifacts.clone() };
        let id: ActorId = "shop/web".parse().unwrap();
        desired.artifacts.get_mut(&id).unwrap().digest = "sha256:new".into();
        let gate = Gate { window_ms: 2_000, deadline_ms: 6_000, ..Gate::default() };
        desired.application.rollout = Some(RolloutPolicy { gate, ..RolloutPolicy::new(strategy) });
        desired.version = 2;
        let mut placement = Placement::empty("shop".parse().unwrap(), 2);
        placement.actors.insert(id.clone(), [(host("A"), 1)].into());
        let updated = updated.then(|| host("A")).into_iter().collect();
        let progress = Progress { target: desired.component(&id), wave: 0, updated };
        placement.rollout = Some(Box::new(Rollout {
            base: Base { version: 1, content },
            phase: Phase::Advancing,
            actors: BTreeMap::from([(id, progress)]),
            attempt: 0,
        }));
        Self {
            desired,
            placement,
            observed: Observed::new(Profile::FAST, 0),
            trials: Trials::default(),
            beat: heartbeat("A", "b1", 0),
        }
    }

    /// A heartbeat by this decision, while another is in force: what the gate says of A.
    fn says(&mut self, now_ms: u64, obeys: u64, in_force: u64, actors: Vec<ActorStatus>) -> String {
        self.beat.seq += 1;
        self.beat.apps = BTreeMap::from([("shop".parse().unwrap(), obeys)]);
        self.beat.actors = actors;
        self.observed.apply(self.beat.clone(), now_ms);
        let decision = Decision { desired: &self.desired, placement: &self.placement, revision: in_force };
        self.trials.observe([decision], &self.observed, now_ms);
        report(&decision, &self.observed, &self.trials, now_ms).remove(0).why
    }
}

fn runs(digest: &str, next: Option<NextState>) -> Vec<ActorStatus> {
    let next = next.map(|state| {
        Box::new(lattice_protocol::heartbeat::NextComponent {
            digest: "sha256:new".into(),
            state,
            reason: (state == NextState::Failed).then(|| "E_TIMEOUT: not fetched".to_owned()),
        })
    });
    vec![ActorStatus { next, ..ActorStatus::running("shop/web".parse().unwrap(), digest, 1) }]
}

#[test]
fn a_host_that_was_told_otherwise_in_between_begins_anew() {
    let mut shop = Shop::new(
        Strategy::Rolling {
            max_unavailable: lattice_protocol::rollout::Share::Count(1),
            max_surge: lattice_protocol::rollout::Share::Count(0),
        },
        true,
    );
    assert_eq!(shop.says(1_000, 5, 5, runs("sha256:new", None)), "runs, and is watched for 2000 ms");
    // Decision 6 took it away, 7 gave it back, and this observer has seen neither the one nor the other.
    assert_eq!(shop.says(9_000, 6, 7, Vec::new()), "has not taken the decision yet");
    assert_eq!(shop.says(9_100, 7, 7, Vec::new()), "is being prepared");
    assert_eq!(shop.says(9_200, 7, 7, runs("sha256:new", None)), "runs, and is watched for 2000 ms");
    assert_eq!(shop.says(11_300, 7, 7, runs("sha256:new", None)), "runs well");
}

#[test]
fn what_was_ready_and_is_made_ready_again_has_the_whole_time_for_it() {
    let mut shop = Shop::new(Strategy::BlueGreen, false);
    assert_eq!(shop.says(1_000, 5, 5, runs("sha256:web", Some(NextState::Ready))), "is ready");
    // It starts again long after it was told.
    shop.beat.boot_id = "b2".into();
    shop.says(20_000, 5, 5, runs("sha256:web", Some(NextState::Preparing)));
    let preparing = shop.says(25_900, 5, 5, runs("sha256:web", Some(NextState::Preparing)));
    assert_eq!(preparing, "is being prepared");
    let late = shop.says(26_000, 5, 5, runs("sha256:web", Some(NextState::Preparing)));
    assert_eq!(late, "does not run 6000 ms after it was told: is being prepared");
}

#[test]
fn a_staging_that_failed_and_is_tried_again_has_until_its_deadline() {
    let mut shop = Shop::new(Strategy::BlueGreen, false);
    let failed = Some(NextState::Failed);
    shop.says(1_000, 5, 5, runs("sha256:web", failed));
    assert_eq!(shop.says(1_500, 5, 5, runs("sha256:web", failed)), "E_TIMEOUT: not fetched");
    shop.says(2_000, 5, 5, runs("sha256:web", Some(NextState::Preparing)));
    assert_eq!(shop.says(2_500, 5, 5, runs("sha256:web", Some(NextState::Ready))), "is ready");
    let mut shop = Shop::new(Strategy::BlueGreen, false);
    shop.says(1_000, 5, 5, runs("sha256:web", failed));
    // Tried again and again, it fails for the reason that it gave, not for being prepared too long.
    let preparing = Some(NextState::Preparing);
    assert_eq!(shop.says(3_000, 5, 5, runs("sha256:web", preparing)), "E_TIMEOUT: not fetched");
}

#[test]
fn a_version_with_a_check_runs_well_only_while_it_answers_well() {
    let mut shop = Shop::new(Strategy::Canary { waves: vec![50] }, true);
    let gate = &mut shop.desired.application.rollout.as_mut().unwrap().gate;
    gate.check = Some(Check::new(Ask::http("/ready").unwrap()));
    let said = |check: Option<Result<(), &str>>| {
        let mut runs = runs("sha256:new", None);
        runs[0].check =
            check.map(|check| Checked { well: check.is_ok(), reason: check.err().map(str::to_owned) }.into());
        runs
    };
    assert_eq!(shop.says(1_000, 5, 5, said(None)), "is being prepared", "nobody has asked it yet");
    assert_eq!(shop.says(2_000, 5, 5, said(Some(Ok(())))), "runs, and is watched for 2000 ms");
    assert_eq!(shop.says(3_000, 5, 5, said(Some(Err("answered 503")))), "answered 503");
    assert_eq!(shop.says(3_500, 5, 5, said(Some(Ok(())))), "runs, and is watched for 2000 ms", "from anew");
    assert_eq!(shop.says(5_500, 5, 5, said(Some(Ok(())))), "runs well");
    shop.says(6_000, 5, 5, said(Some(Err("answered 503"))));
    assert_eq!(
        shop.says(6_500, 5, 5, said(Some(Ok(())))),
        "stopped running 2 times, at most 1",
        "it wavers: each time that it does not answer well is one that it did not run"
    );
    let mut shop_that_never_answers = Shop::new(Strategy::Canary { waves: vec![50] }, true);
    shop_that_never_answers.desired.application.rollout = shop.desired.application.rollout.clone();
    let shop = &mut shop_that_never_answers;
    shop.says(1_000, 5, 5, said(None));
    assert_eq!(
        shop.says(7_000, 5, 5, said(None)),
        "does not run 6000 ms after it was told: is being prepared",
        "a host that cannot ask lets nothing pass"
    );
}
