//! A host that leaves is let go only when what it had runs elsewhere: until then its spec stays as it
//! is, and it goes on serving. An empty spec is the word that it waits for.

use lattice_ctl_planner::Known;
use lattice_ctl_planner::observed::Observed;
use lattice_protocol::desired::Verdict;
use lattice_protocol::heartbeat::RunState;
use lattice_protocol::places::Places;
use lattice_protocol::{ActorId, HostId, HostSpec};

/// Is this spec to be held back, because it takes something from a host that leaves and does not run
/// elsewhere yet?
pub(crate) fn is_early(known: &Known, observed: &Observed, spec: &HostSpec, now_ms: u64) -> bool {
    if observed.judge(&spec.host, now_ms) != Verdict::Leaving {
        return false;
    }
    let before = known.specs().get(&spec.host);
    let mut before = before.iter().flat_map(|before| &before.value.actors);
    let is_taken = |id: &ActorId| !spec.actors.iter().any(|actor| actor.id == *id);
    before.any(|actor| is_taken(&actor.id) && awaits(known, observed, (&actor.id, &spec.host), now_ms))
}

/// Shall it run on another host where it does not run yet? What nobody takes is not waited for.
fn awaits(known: &Known, observed: &Observed, (id, leaving): (&ActorId, &HostId), now_ms: u64) -> bool {
    let places = known.placements().get(&id.app).and_then(|placement| placement.value.actors.get(id));
    let mut others =
        places.into_iter().flat_map(Places::iter).filter(|(host, count)| *host != leaving && **count > 0);
    others.any(|(host, _)| {
        let view = observed.view(host, now_ms);
        let status = view.and_then(|view| view.heartbeat.actors.iter().find(|status| status.id == *id));
        !status.is_some_and(|status| status.state == RunState::Running && status.reason.is_none())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lattice_ctl_planner::{Profile, Revised};
    use lattice_protocol::desired::Placement;
    use lattice_protocol::heartbeat::{ActorStatus, Heartbeat};
    use lattice_protocol::spec::Artifact;
    use lattice_protocol::{ActorSpec, LatticeName};

    fn host(name: &str) -> HostId {
        name.parse().unwrap()
    }

    fn lattice() -> LatticeName {
        "test".parse().unwrap()
    }

    /// `A` had `shop/web`, which is placed on these now.
    fn known(places: &[&str]) -> Known {
        let mut known = Known::default();
        let mut placement = Placement::empty("shop".parse().unwrap(), 1);
        let places = places.iter().map(|name| (host(name), 1)).collect();
        placement.actors.insert("shop/web".parse().unwrap(), places);
        known.place(&"shop".parse().unwrap(), Some(Revised::new(placement, 7)));
        let mut spec = HostSpec::empty(lattice(), host("A"));
        let artifact = Artifact { digest: "sha256:aa".into(), size: 1 };
        spec.actors.push(ActorSpec::new("shop/web".parse().unwrap(), artifact));
        known.tell(&host("A"), Some(Revised::new(spec, 1)));
        known
    }

    fn beat(name: &str, seq: u64, status: Option<ActorStatus>, leaving: bool) -> Heartbeat {
        let actors = status.into_iter().collect();
        Heartbeat { seq, actors, leaving, ..Heartbeat::new(lattice(), host(name), "b1") }
    }

    #[test]
    fn a_leaving_host_is_let_go_when_what_it_had_runs_elsewhere() {
        let (known, empty) = (known(&["B"]), HostSpec::empty(lattice(), host("A")));
        let running = || ActorStatus::running("shop/web".parse().unwrap(), "sha256:aa", 1);
        let mut observed = Observed::new(Profile::FAST, 0);
        observed.apply(beat("A", 1, Some(running()), false), 0);
        assert!(!is_early(&known, &observed, &empty, 1), "it does not leave: a plan moved this");
        observed.apply(beat("A", 2, Some(running()), true), 1);
        assert!(is_early(&known, &observed, &empty, 2), "nobody has heard of B");
        let starting = ActorStatus { state: RunState::Starting, ..running() };
        observed.apply(beat("B", 1, Some(starting), false), 2);
        assert!(is_early(&known, &observed, &empty, 3));
        let without =
            ActorStatus { reason: Some("E_PROVIDER: provider is starting".to_owned()), ..running() };
        observed.apply(beat("B", 2, Some(without), false), 3);
        assert!(is_early(&known, &observed, &empty, 4), "it runs, and yet nobody can reach it");
        observed.apply(beat("B", 3, Some(running()), false), 4);
        assert!(!is_early(&known, &observed, &empty, 5));
    }

    #[test]
    fn what_nobody_takes_holds_nobody_up() {
        let mut observed = Observed::new(Profile::FAST, 0);
        observed.apply(beat("A", 1, None, true), 0);
        let empty = HostSpec::empty(lattice(), host("A"));
        assert!(!is_early(&known(&[]), &observed, &empty, 1));
        assert!(!is_early(&Known::default(), &observed, &empty, 1));
        assert!(is_early(&known(&["B"]), &observed, &empty, 1));
    }
}
