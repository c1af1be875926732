//! What a controller tells the audit stream: hosts that come and go, decisions, failovers, and what
//! found no place. Pure but for the queue it writes to.

use lattice_ctl_planner::Turn;
use lattice_io::Events;
use lattice_protocol::desired::{ObservedHost, Placement, Verdict};
use lattice_protocol::{AppName, HostId, Places};
use serde_json::json;

/// A host is judged otherwise than before, or has started again.
pub fn host(events: &Events, host: &HostId, before: Option<Verdict>, record: &ObservedHost) {
    let kind = match (before, record.verdict) {
        (None, Verdict::Alive) => "host.joined",
        (Some(Verdict::Lost | Verdict::Leaving | Verdict::CutOff), Verdict::Alive)
        | (_, Verdict::Rejoined) => "host.rejoined",
        (Some(Verdict::Suspect | Verdict::Rejoined), Verdict::Alive) => "host.recovered",
        (Some(Verdict::Alive), Verdict::Alive) => "host.restarted",
        (_, Verdict::CutOff) => "host.cut-off",
        (_, Verdict::Suspect) => "host.suspect",
        (_, Verdict::Lost) => "host.lost",
        (_, Verdict::Leaving) => "host.left",
    };
    let data = json!({ "verdict": record.verdict, "before": before, "reason": record.reason });
    events.emit(kind, Some(host.to_string()), data);
}

/// A rollout has taken a turn, by a decision that is in force.
pub fn turned(events: &Events, app: &AppName, turn: &Turn) {
    let kind = match turn {
        Turn::Begun { .. } => "app.rollout-begun",
        Turn::Switched { .. } => "app.rollout-advanced",
        Turn::Paused => "app.rollout-paused",
        Turn::Resumed => "app.rollout-resumed",
        Turn::Complete => "app.rollout-complete",
        Turn::Final { .. } => "app.rollout-final",
        Turn::RolledBack { .. } => "app.rolled-back",
        Turn::Withdrawn { .. } => "app.rollout-withdrawn",
        Turn::AtOnce { .. } => "app.rollout-skipped",
    };
    events.emit(kind, Some(app.to_string()), json!({ "text": turn.to_string() }));
}

/// A decision is in force: what it is, which actors left hosts that are lost, what found no place.
pub fn placed(
    events: &Events,
    before: Option<&Placement>,
    now: &Placement,
    is_lost: impl Fn(&HostId) -> bool,
) {
    let app = now.app.to_string();
    let data = json!({
        "version": now.desired_version, "actors": now.actors, "unplaced": now.unplaced,
    });
    events.emit("app.placed", Some(app), data);
    let none = Places::new();
    for (actor, hosts) in before.map(|before| &before.actors).into_iter().flatten() {
        let to = now.actors.get(actor).unwrap_or(&none);
        let from: Vec<&HostId> =
            hosts.keys().filter(|host| !to.contains_key(host) && is_lost(host)).collect();
        if !from.is_empty() {
            events.emit("app.failover", Some(actor.to_string()), json!({ "from": from, "to": to }));
        }
    }
    for (actor, reason) in &now.unplaced {
        if before.and_then(|before| before.unplaced.get(actor)) != Some(reason) {
            events.emit("app.refused", Some(actor.to_string()), json!({ "reason": reason }));
        }
    }
}
