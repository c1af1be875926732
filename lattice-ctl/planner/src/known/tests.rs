//! What is kept beside the records says the same as reading all of them: specs and the check.

use super::*;
use crate::fixtures::{actor, app, heartbeat, host, link, provider};
use crate::observed::Profile;
use crate::plan::NoPolicy;
use lattice_protocol::manifest::{ActorManifest, Scale};
use lattice_protocol::rollout::{Gate, RolloutPolicy, Strategy as RolloutStrategy};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Happens {
    Puts {
        app: u8,
        actors: u8,
        replicas: u32,
        digest: u8,
        borrows: Option<u8>,
        rolls: bool,
    },
    Undeploys(u8),
    Deletes(u8),
    /// A host says that it runs so much later a generation than it was told; none: another spec of
    /// that very generation.
    Runs {
        host: u8,
        ahead: u64,
    },
    /// All say what they have; some are not heard.
    Passes {
        seconds: u8,
        silent: u8,
    },
    /// A plan; every decision comes into force, or not.
    Plans {
        lost: u8,
    },
    /// Hosts are told; every write succeeds, or not.
    Tells {
        lost: u8,
    },
    /// Somebody else has told a host something, or a spec is gone.
    Foreign {
        host: u8,
        gone: bool,
    },
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (0u8..3, 0u8..3, 0u32..4, 0u8..4, proptest::option::of(0u8..3), any::<bool>()).prop_map(
            |(app, actors, replicas, digest, borrows, rolls)| Happens::Puts {
                app, actors, replicas, digest, borrows, rolls
            }
        ),
        1 => (0u8..3).prop_map(Happens::Undeploys),
        1 => (0u8..3).prop_map(Happens::Deletes),
        1 => (0u8..4, 0u64..3).prop_map(|(host, ahead)| Happens::Runs { host, ahead }),
        3 => (0u8..20, any::<u8>()).prop_map(|(seconds, silent)| Happens::Passes { seconds, silent }),
        6 => (0u8..4).prop_map(|lost| Happens::Plans { lost }),
        6 => (0u8..4).prop_map(|lost| Happens::Tells { lost }),
        1 => (0u8..4, any::<bool>()).prop_map(|(host, gone)| Happens::Foreign { host, gone }),
    ]
}

struct Story {
    known: Known,
    observed: Observed,
    trials: Trials,
    scaling: Scaling,
    lattice: LatticeName,
    now_ms: u64,
    revision: u64,
    beats: u64,
}

fn name(number: u8) -> AppName {
    format!("app{number}").parse().unwrap()
}

fn host_id(number: u8) -> HostId {
    host(&format!("H{number}"))
}

impl Story {
    fn new() -> Self {
        let mut story = Self {
            known: Known::default(),
            observed: Observed::new(Profile::FAST, 0),
            trials: Trials::default(),
            scaling: Scaling::default(),
            lattice: "prod".parse().unwrap(),
            now_ms: 0,
            revision: 0,
            beats: 0,
        };
        (0..4).for_each(|host| story.beat(host, None));
        story
    }

    /// A host says that it does what it was told, or that it has something so much newer.
    fn beat(&mut self, number: u8, ahead: Option<u64>) {
        self.beats += 1;
        let id = host_id(number);
        let mut beat = heartbeat(id.as_str(), "b1", self.beats);
        if let Some(told) = self.known.specs().get(&id) {
            beat.generation = told.value.generation;
            beat.apps = told.value.apps.clone();
            let runs = |spec: &crate::ToldActor| {
                let id = spec.id.clone();
                lattice_protocol::heartbeat::ActorStatus::running(id, &spec.artifact.digest, spec.replicas)
            };
            beat.actors = told.value.actors.iter().map(runs).collect();
        }
        beat.generation.n += ahead.unwrap_or(0);
        beat.conflicting = ahead == Some(0);
        self.known.heard(&mut beat);
        self.observed.apply(beat, self.now_ms);
    }

    fn happen(&mut self, happens: Happens) {
        self.revision += 1;
        match happens {
            Happens::Puts { app: number, actors, replicas, digest, borrows, rolls } => {
                let scale = |index| if index == 2 { Scale::Daemon } else { Scale::Replicas(replicas) };
                let manifest = |index: u8| -> ActorManifest {
                    let mut manifest = actor(&format!("a{index}"), scale(index));
                    if let Some(other) = borrows {
                        let source = format!("app{number}/a{index}");
                        manifest.links = vec![link(&source, "wasi:keyvalue", &format!("app{other}/kv"))];
                    }
                    manifest
                };
                let mut desired = app(&format!("app{number}"), (0..=actors).map(manifest).collect());
                desired.application.providers = vec![provider("kv", &format!("kind{digest}"))];
                desired.artifacts.values_mut().for_each(|one| one.digest = format!("sha256:{digest}").into());
                let before = self.known.desired().get(&name(number)).map(|have| Arc::clone(&have.value));
                if let Some(before) = before {
                    desired.version = before.version;
                    desired.history.clone_from(&before.history);
                }
                let gate = Gate { window_ms: 2_000, deadline_ms: 6_000, ..Gate::default() };
                let policy = RolloutPolicy::new(RolloutStrategy::Canary { waves: vec![50] });
                desired.application.rollout = rolls.then_some(RolloutPolicy { gate, ..policy });
                desired.stamp("", 0, "put");
                self.known.desire(&name(number), Some(Revised::new(desired, self.revision)));
            }
            Happens::Undeploys(number) => {
                let have = self.known.desired().get(&name(number)).map(|have| (*have.value).clone());
                if let Some(mut desired) = have {
                    desired.deployed = false;
                    desired.stamp("", 0, "undeploy");
                    self.known.desire(&name(number), Some(Revised::new(desired, self.revision)));
                }
            }
            Happens::Deletes(number) => {
                self.known.desire(&name(number), None);
            }
            Happens::Runs { host, ahead } => self.beat(host, Some(ahead)),
            Happens::Passes { seconds, silent } => {
                for _ in 0..4 {
                    self.now_ms += u64::from(seconds) * 250;
                    (0..4).filter(|host| silent & (1 << host) == 0).for_each(|host| self.beat(host, None));
                }
            }
            Happens::Plans { lost } => self.plan(lost),
            Happens::Tells { lost } => self.tell(lost),
            Happens::Foreign { host, gone } => {
                let have = self.known.specs().get(&host_id(host)).map(|have| have.value.spec());
                if let Some(mut spec) = have {
                    spec.generation.n += 1;
                    spec.actors.pop();
                    let record = (!gone).then(|| Revised::new(spec, self.revision));
                    self.known.tell(&host_id(host), record);
                }
            }
        }
    }

    fn plan_now(&mut self) -> Plan {
        let (known, now_ms) = (&mut self.known, self.now_ms);
        self.trials.observe(known.rolling(), &self.observed, now_ms);
        self.scaling.observe(known.scaling(), &self.observed, now_ms);
        let moment = Moment {
            observed: &self.observed,
            now_ms,
            allowance: Allowance::default(),
            trials: &self.trials,
            scaling: &self.scaling,
            policy: &NoPolicy,
        };
        let plan = known.plan(&moment);
        assert_eq!(plan, known.plan_afresh(&moment));
        assert_eq!((known.check(&moment, &plan), known.check_all(&moment, &plan)), (vec![], vec![]));
        // What the plan would do wrong is found by looking at the changes alone.
        let mut wrong = plan.clone();
        if let Some(hosts) = wrong.changed.values_mut().flat_map(|one| one.actors.values_mut()).next() {
            hosts.insert(host("H9"), 1_000_000);
            assert_ne!(known.check(&moment, &wrong), []);
        }
        plan
    }

    fn plan(&mut self, lost: u8) {
        let plan = self.plan_now();
        for (index, (app, placement)) in (0u8..).zip(plan.changed) {
            if index != lost {
                self.revision += 1;
                self.known.place(&app, Some(Revised::new(placement, self.revision)));
            }
        }
        for app in &plan.removed {
            self.known.place(app, None);
        }
    }

    fn tell(&mut self, lost: u8) {
        let afresh = self.known.specs_afresh(&self.lattice, 0);
        let due = self.known.due_specs(&self.lattice, 0);
        assert_eq!(due, afresh, "of those that are due (left) and of all (right)");
        for (index, (host, spec)) in (0u8..).zip(due) {
            if index != lost {
                self.revision += 1;
                self.known.tell(&host, Some(Revised::new(spec, self.revision)));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn plans_specs_and_checks_of_what_has_changed_are_those_of_everything(
        story in proptest::collection::vec(happens(), 1..40),
    ) {
        let mut told = Story::new();
        story.into_iter().for_each(|happens| told.happen(happens));
        for _ in 0..3 {
            told.plan(u8::MAX);
            told.tell(u8::MAX);
        }
    }
}

#[test]
fn an_older_record_changes_nothing_and_what_is_at_peace_is_not_due() {
    let mut story = Story::new();
    let put = |actors| Happens::Puts { app: 0, actors, replicas: 2, digest: 0, borrows: None, rolls: false };
    story.happen(put(0));
    story.plan(u8::MAX);
    story.tell(u8::MAX);
    story.plan(u8::MAX);
    story.tell(u8::MAX);
    assert!(story.known.is_settled());
    let desired = Arc::clone(&story.known.desired()[&name(0)].value);
    assert!(!story.known.desire(&name(0), Some(Revised::new(desired, 1))));
    assert!(story.known.is_settled());
    story.happen(put(1));
    assert!(!story.known.is_settled());
}

#[test]
fn a_host_with_another_spec_of_the_generation_in_force_is_told_once_more() {
    let mut story = Story::new();
    let puts = Happens::Puts { app: 0, actors: 1, replicas: 1, digest: 0, borrows: None, rolls: false };
    story.happen(puts);
    for _ in 0..3 {
        story.plan(u8::MAX);
        story.tell(u8::MAX);
    }
    let (number, told) = (0..4u8)
        .find_map(|number| Some((number, story.known.specs().get(&host_id(number))?.value.generation)))
        .unwrap();
    let due = |story: &mut Story| -> Vec<Generation> {
        let specs = story.known.due_specs(&story.lattice, 0);
        specs.values().map(|spec| spec.generation).collect()
    };
    assert_eq!(due(&mut story), []);
    story.beat(number, Some(0));
    assert_eq!(due(&mut story), [Generation { n: told.n + 1, ..told }]);
    // It was settled in another way before the write: what is in force is what the host has.
    story.beat(number, None);
    assert_eq!(due(&mut story), []);
}

#[test]
fn nothing_is_decided_after_a_decision_from_a_record_that_was_not_seen() {
    let mut story = Story::new();
    let put =
        |replicas| Happens::Puts { app: 0, actors: 1, replicas, digest: 0, borrows: None, rolls: false };
    story.happen(put(1));
    story.plan(u8::MAX);
    // Somebody else has decided from a newer record, and the watch of decisions is the faster one.
    let mut decided = Placement::clone(&story.known.placements()[&name(0)].value);
    let newer = story.revision + 1;
    (decided.desired_version, decided.origin) = (3, Origin { incarnation: 0, revision: newer });
    story.known.place(&name(0), Some(Revised::new(decided, newer + 1)));
    let changed = |story: &mut Story| story.plan_now().changed.len();
    assert_eq!(changed(&mut story), 0, "the older record is not decided once more");
    // Nor is the decision about an application taken back that was never heard of.
    let mut unheard = Placement::empty(name(1), 1);
    unheard.origin = Origin { incarnation: 0, revision: newer + 2 };
    story.known.place(&name(1), Some(Revised::new(unheard.clone(), newer + 3)));
    assert!(story.plan_now().removed.is_empty());
    // The watch comes to where the records are: one newer, one deleted.
    story.known.saw_desired(newer + 4);
    let plan = story.plan_now();
    assert_eq!((plan.changed.len(), plan.removed), (1, vec![name(1)]));
    // In the next life of the lattice revisions mean something else.
    story.known = Known::of_life(1);
    story.known.place(&name(1), Some(Revised::new(unheard, 1)));
    assert_eq!(story.plan_now().removed, vec![name(1)]);
}
