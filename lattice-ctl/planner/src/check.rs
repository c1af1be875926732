//! An independent judge of plans. It knows the rules and not the algorithm, reads only input and
//! plan, and is run by the tests and by the controller on every plan before anything is written.

use crate::observed::HostView;
use crate::outline::Outline;
use crate::plan::{Distance, Input, Plan, distance, kinds};
use lattice_protocol::desired::{DesiredApp, Placement, Verdict};
use lattice_protocol::heartbeat::{ActorStatus, RunState};
use lattice_protocol::manifest::{ActorManifest, Scale};
use lattice_protocol::{ActorId, AppName, HostId, Places};
use std::collections::{BTreeMap, BTreeSet};

mod rollout;

/// A rule that a plan breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Of which actor, or host.
    pub subject: String,
    /// Which rule, in words.
    pub rule: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.subject, self.rule)
    }
}

fn violation(subject: impl std::fmt::Display, rule: impl Into<String>) -> Violation {
    Violation { subject: subject.to_string(), rule: rule.into() }
}

/// Every rule that the plan breaks; none, for a good plan.
#[must_use]
pub fn check(input: &Input<'_>, plan: &Plan) -> Vec<Violation> {
    let mut found = Vec::new();
    for (app, desired) in input.desired.iter().filter(|(app, _)| !input.awaits(app)) {
        check_desired(input, plan, (app, desired), &mut found);
    }
    for app in input.placements.keys().filter(|app| !input.desired.contains_key(app)) {
        if !plan.removed.contains(app) && !input.awaits(app) {
            found.push(violation(app, "is placed and not desired"));
        }
    }
    check_seen(input, plan, &mut found);
    let mut by_host: BTreeMap<&HostId, Vec<&ActorId>> = BTreeMap::new();
    for (id, hosts) in input.placements.values().flat_map(|placement| &placement.actors) {
        hosts.keys().for_each(|host| by_host.entry(host).or_default().push(id));
    }
    let of_host = |host: &HostId| by_host.get(host).cloned().unwrap_or_default();
    check_capacity(input, plan, &of_host, &mut found);
    found
}

/// Every rule that what the plan changes breaks: for somebody who has checked all that is in force.
pub(crate) fn check_changes(input: &Input<'_>, plan: &Plan, outline: &Outline) -> Vec<Violation> {
    let mut found = Vec::new();
    for app in plan.changed.keys() {
        match input.desired.get(app) {
            Some(desired) => check_desired(input, plan, (app, desired), &mut found),
            None => found.push(violation(app, "is placed and not desired")),
        }
    }
    for app in plan.removed.iter().filter(|app| input.desired.contains_key(app)) {
        found.push(violation(app, "has no placement"));
    }
    check_seen(input, plan, &mut found);
    let of_host = |host: &HostId| outline.actors(host).collect();
    check_capacity(input, plan, &of_host, &mut found);
    found
}

fn check_seen(input: &Input<'_>, plan: &Plan, found: &mut Vec<Violation>) {
    let decided = plan.changed.keys().chain(&plan.removed);
    let early = decided.filter(|app| input.awaits(app));
    found.extend(early.map(|app| violation(app, "is decided after a decision from a record not known yet")));
}

fn check_desired(
    input: &Input<'_>,
    plan: &Plan,
    (app, desired): (&AppName, &DesiredApp),
    found: &mut Vec<Violation>,
) {
    let before = input.placements.get(app);
    let Some(after) = plan.changed.get(app).or(before) else {
        found.push(violation(app, "has no placement"));
        return;
    };
    check_app(input, desired, after, found);
    rollout::check(input, desired, (before, after), found);
}

fn check_app(input: &Input<'_>, desired: &DesiredApp, placement: &Placement, found: &mut Vec<Violation>) {
    if placement.desired_version != desired.version {
        found.push(violation(&placement.app, "was planned from another version"));
    }
    for (id, hosts) in &placement.actors {
        let manifest = desired.application.actor(&id.name).or_else(|| last(placement, id));
        match manifest.filter(|_| desired.deployed && id.app == placement.app) {
            None => found.push(violation(id, "is placed and not desired")),
            Some(manifest) => {
                for (host, count) in hosts {
                    let before = replicas(input.placements.get(&placement.app), id, host);
                    if *count == 0 {
                        found.push(violation(id, format!("is listed on {host} with no replica")));
                    }
                    if *count > before {
                        found.extend(
                            unfit(input, (desired, manifest), id, host).map(|rule| violation(id, rule)),
                        );
                    }
                }
            }
        }
    }
    for manifest in desired.application.actors.iter().filter(|_| desired.deployed) {
        let id = ActorId::new(placement.app.clone(), manifest.name.clone());
        if !is_taken_back(placement, &id) {
            check_count((desired, manifest), &id, placement, found);
        }
    }
}

/// An actor that the new version has no more stays until it is final.
fn last<'a>(placement: &'a Placement, id: &ActorId) -> Option<&'a ActorManifest> {
    placement.rollout.as_deref()?.base.content.actor(id)
}

/// One that only a version has that was rolled back is not there at all.
fn is_taken_back(placement: &Placement, id: &ActorId) -> bool {
    let rollout = placement.rollout.as_deref().filter(|rollout| rollout.is_rolled_back());
    rollout.is_some_and(|rollout| rollout.actors.contains_key(id) && rollout.base.content.actor(id).is_none())
}

fn replicas(placement: Option<&Placement>, id: &ActorId, host: &HostId) -> u32 {
    placement.and_then(|placement| placement.actors.get(id)?.get(host)).copied().unwrap_or(0)
}

/// Why a host may not get more of this actor.
fn unfit(
    input: &Input<'_>,
    (desired, manifest): (&DesiredApp, &ActorManifest),
    id: &ActorId,
    host: &HostId,
) -> Option<String> {
    let rule = &manifest.placement;
    let Some(view) = input.observed.view(host, input.now_ms) else {
        return Some(format!("goes to {host}, which nobody knows"));
    };
    let share =
        rule.spread.is_empty() || rule.spread.iter().any(|share| view.has_labels(&share.requirements));
    if let Some(unfit) = view.barred() {
        Some(format!("goes to {host}: {unfit}"))
    } else if !rule.hosts.is_empty() && !rule.hosts.contains(host) {
        Some(format!("goes to {host}, which its rule does not name"))
    } else if !view.has_labels(&rule.requirements) || !share {
        Some(format!("goes to {host}, which does not match"))
    } else if input.observed.has_refused(host, id, input.now_ms) {
        Some(format!("goes to {host}, which has refused it"))
    } else {
        beyond(input, (desired, manifest), id, &view).map(|rule| format!("goes to {host}, {rule}"))
    }
}

/// Providers, distance, policy.
fn beyond(
    input: &Input<'_>,
    (desired, manifest): (&DesiredApp, &ActorManifest),
    id: &ActorId,
    view: &HostView<'_>,
) -> Option<String> {
    let have = &view.heartbeat.kinds;
    let lacks = |kind: &&&str| !have.is_empty() && !have.iter().any(|have| have == **kind);
    if let Some(kind) = kinds(&desired.application, manifest).iter().find(lacks) {
        return Some(format!("which has no {kind}"));
    }
    match (manifest.placement.max_latency_ms, distance(&manifest.placement, view)) {
        (Some(limit), Distance::Known(got)) if got > limit => {
            return Some(format!("which is {got} ms away, at most {limit}"));
        }
        _ => {}
    }
    input.policy.refusal(id, manifest, view).map(|words| format!("which policy forbids: {words}"))
}

fn check_count(
    (desired, manifest): (&DesiredApp, &ActorManifest),
    id: &ActorId,
    placement: &Placement,
    found: &mut Vec<Violation>,
) {
    if let (Some(count), Some(_)) = (placement.scaled.get(id), &manifest.autoscale) {
        let (least, most) = crate::scaling::bounds(manifest);
        if !(least..=most).contains(count) {
            found.push(violation(id, format!("is scaled to {count}, which is not within {least}..{most}")));
        }
    }
    let hosts = placement.actors.get(id);
    let sum: u64 = hosts.map_or(0, Places::total);
    match placement.scale(id, manifest.scale) {
        Scale::Replicas(wanted)
            if sum > u64::from(wanted) + u64::from(rollout::surge(desired, placement, id, wanted)) =>
        {
            found.push(violation(id, format!("has {sum} replicas of {wanted}")));
        }
        Scale::Replicas(wanted) if sum < wanted.into() && !placement.unplaced.contains_key(id) => {
            found.push(violation(id, format!("has {sum} replicas of {wanted} and no reason")));
        }
        Scale::Daemon if hosts.is_some_and(|hosts| hosts.values().any(|count| *count != 1)) => {
            found.push(violation(id, "has more than one replica on a host"));
        }
        _ => {}
    }
}

/// No host that gets something new is promised more than it has. `of_host` says which actors have
/// something on a host by the decisions in force.
fn check_capacity<'p>(
    input: &Input<'p>,
    plan: &'p Plan,
    of_host: &dyn Fn(&HostId) -> Vec<&'p ActorId>,
    found: &mut Vec<Violation>,
) {
    let changed = || plan.changed.values().flat_map(|placement| &placement.actors);
    let mut hosts: BTreeMap<&HostId, Account<'_>> = BTreeMap::new();
    for (id, places) in changed() {
        for (host, count) in places {
            if *count > replicas(input.placements.get(&id.app), id, host)
                && let Some(view) = input.observed.view(host, input.now_ms)
                && matches!(view.verdict, Verdict::Alive | Verdict::Rejoined)
            {
                hosts.entry(host).or_insert_with(|| Account::new(view));
            }
        }
    }
    let mut new: BTreeMap<&HostId, Vec<&ActorId>> = BTreeMap::new();
    for (id, places) in changed() {
        for host in places.keys().filter(|host| hosts.contains_key(host)) {
            new.entry(host).or_default().push(id);
        }
    }
    for (host, account) in &mut hosts {
        let ids: BTreeSet<&ActorId> =
            of_host(host).into_iter().chain(new.remove(host).into_iter().flatten()).collect();
        for id in ids {
            let Some(desired) = input.desired.get(&id.app).filter(|desired| desired.deployed) else {
                continue;
            };
            let Some(manifest) = desired.application.actor(&id.name) else { continue };
            let before = input.placements.get(&id.app);
            let after = plan.changed.get(&id.app).or(before);
            account.add(id, manifest, (replicas(before, id, host), replicas(after, id, host)));
        }
    }
    for account in hosts.values() {
        let load = &account.view.heartbeat.load;
        for (what, total, capacity, used) in [
            ("cpu", account.cpu, load.cpu_millis, load.cpu_used_millis),
            ("memory", account.memory, load.memory_mib, load.memory_used_mib),
        ] {
            let used = u64::from(used).saturating_sub(total.freed);
            let busy = total.running.max(used).saturating_add(total.pending);
            if total.added > 0 && busy > capacity.into() {
                found
                    .push(violation(account.view.id, format!("{what} over capacity ({busy} of {capacity})")));
            }
        }
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Total {
    running: u64,
    pending: u64,
    added: u64,
    /// Measured use of replicas that go.
    freed: u64,
}

impl Total {
    fn add(&mut self, one: u32, (running, pending, added): (u32, u32, u32)) {
        let times = |count: u32| u64::from(one) * u64::from(count);
        self.running = self.running.saturating_add(times(running));
        self.pending = self.pending.saturating_add(times(pending));
        self.added = self.added.saturating_add(times(added));
    }
}

/// What a plan promises of one host.
struct Account<'seen> {
    view: HostView<'seen>,
    running: BTreeMap<&'seen ActorId, &'seen ActorStatus>,
    cpu: Total,
    memory: Total,
}

impl<'seen> Account<'seen> {
    fn new(view: HostView<'seen>) -> Self {
        let running = view.heartbeat.actors.iter().filter(|status| status.state == RunState::Running);
        let running = running.map(|status| (&status.id, status)).collect();
        Self { view, running, cpu: Total::default(), memory: Total::default() }
    }

    fn add(&mut self, id: &ActorId, manifest: &ActorManifest, (before, after): (u32, u32)) {
        let status = self.running.get(id);
        if let Some(status) = status {
            let gone = u64::from(status.replicas.min(before).saturating_sub(after));
            let one = |all: u32| u64::from(all) / u64::from(status.replicas.max(1));
            self.cpu.freed = self.cpu.freed.saturating_add(gone * one(status.cpu_used_millis));
            self.memory.freed = self.memory.freed.saturating_add(gone * one(status.memory_used_mib));
        }
        let running = status.map_or(0, |status| status.replicas).min(after).min(before);
        let counts = (running, after - running, after.saturating_sub(before));
        let need = &manifest.placement.resources;
        self.cpu.add(need.cpu_millis, counts);
        self.memory.add(need.memory_mib, counts);
    }
}
