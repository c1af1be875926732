//! Planning in a scenario: every plan is checked, and made twice.

use super::{Records, World, said};
use lattice_ctl_planner::plan::{self, Allowance, Input, Plan, Planner};
use lattice_ctl_planner::{Decision, Revised, SpecInput, check, host_specs};
use lattice_protocol::desired::{Origin, Placement};
use lattice_protocol::{AppName, HostId, LatticeName};
use std::collections::BTreeMap;

impl World {
    pub(super) fn decisions(&self) -> impl Iterator<Item = Decision<'_>> {
        self.placements.iter().filter_map(|(app, placement)| {
            let revision = self.revisions.get(app).copied().unwrap_or(0);
            Some(Decision { desired: self.desired.get(app)?, placement, revision })
        })
    }

    /// Hosts are told what the decisions in force mean for them.
    pub(super) fn tell(&mut self) {
        let lattice: LatticeName = "prod".parse().unwrap();
        let revised = |(app, placement): (&AppName, &Placement)| {
            let revision = self.revisions.get(app).copied().unwrap_or(0);
            (app.clone(), Revised::new(placement.clone(), revision))
        };
        let placements: BTreeMap<AppName, Revised<Placement>> = self.placements.iter().map(revised).collect();
        let specs = host_specs(&SpecInput {
            lattice: &lattice,
            incarnation: 0,
            desired: self.desired.iter().collect(),
            placements: placements.iter().collect(),
            previous: self.specs.iter().collect(),
            astray: BTreeMap::new(),
        });
        self.specs.extend(specs);
        for (name, host) in self.hosts.iter_mut().filter(|(_, host)| !host.silent) {
            host.spec = self.specs.get(&name.parse::<HostId>().unwrap()).cloned().or(host.spec.take());
        }
    }

    pub(super) fn input(&self, allowance: Allowance) -> Input<'_> {
        Input {
            desired: self.desired.iter().collect(),
            placements: self.placements.iter().collect(),
            observed: &self.observed,
            now_ms: self.now_ms,
            seed: 1,
            policy: &self.forbidden,
            allowance,
            trials: &self.trials,
            scaling: &self.scaling,
            seen: Origin::default(),
        }
    }

    pub(super) fn plan(&mut self, words: &[&str]) -> Vec<String> {
        let mut allowance = Allowance::default();
        for word in words {
            let (key, number) = word.split_once('=').unwrap();
            let number = number.parse().unwrap();
            match key {
                "failovers" => allowance.failovers = number,
                "evictions" => allowance.evictions = number,
                "moves" => allowance.moves = number,
                "parts" => allowance.parts = number,
                other => panic!("no such allowance: {other}"),
            }
        }
        let mut trials = std::mem::take(&mut self.trials);
        trials.observe(self.decisions(), &self.observed, self.now_ms);
        self.trials = trials;
        let mut scaling = std::mem::take(&mut self.scaling);
        let apps = self.desired.iter().map(|(app, desired)| (desired, self.placements.get(app)));
        scaling.observe(apps, &self.observed, self.now_ms);
        self.scaling = scaling;
        let plan = self.planned(allowance);
        let mut lines = said(&plan);
        self.carry_out(plan);
        // Nothing is left to do then; but where replicas went may be what a gate waited for.
        for round in 0.. {
            let again = self.planned(allowance);
            if !words.is_empty() || (again.changed.is_empty() && again.removed.is_empty()) {
                break;
            }
            let rolls = |app: &AppName| self.placements.get(app).is_some_and(|have| have.rollout.is_some());
            assert!(round < 3 && again.changed.keys().all(rolls), "something is left to do: {again:#?}");
            lines.extend(said(&again));
            self.carry_out(again);
        }
        self.tell();
        self.beat_all();
        lines
    }

    /// A plan, checked; the planner that is kept comes to the same as one that begins with nothing.
    pub(super) fn planned(&mut self, allowance: Allowance) -> Plan {
        let kept = self.planner.take();
        let input = self.input(allowance);
        let plan = plan::plan(&input);
        assert_eq!(check(&input, &plan), [], "{plan:#?}");
        let apps = self.desired.keys().chain(self.placements.keys());
        let record = |app: &AppName| (self.desired.get(app).cloned(), self.placements.get(app).cloned());
        let now: Records = apps.map(|app| (app.clone(), record(app))).collect();
        let (mut planner, before) = kept.unwrap_or_else(|| (Planner::of(&input), Records::new()));
        for app in before.keys().chain(now.keys()).filter(|app| before.get(*app) != now.get(*app)) {
            planner.touch(app);
        }
        assert_eq!(planner.plan(&input), plan, "kept (left) and from nothing (right)");
        self.planner = Some((planner, now));
        plan
    }

    pub(super) fn carry_out(&mut self, plan: Plan) {
        for app in &plan.removed {
            self.placements.remove(app);
        }
        for app in plan.changed.keys() {
            *self.revisions.entry(app.clone()).or_default() += 1;
        }
        self.placements.extend(plan.changed);
    }
}
