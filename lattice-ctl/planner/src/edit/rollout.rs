//! `app rollback`, `app pause`, `app resume`, `app finalise`: orders about new versions, as edits of
//! what is desired.

use super::Edited;
use lattice_protocol::desired::{DesiredApp, PastVersion, Placement};
use lattice_protocol::rollout::Phase;
use lattice_protocol::{ErrorCode, Report};

/// Versions that can come back, newest first, without the one that is desired now.
fn others(record: &DesiredApp) -> impl Iterator<Item = &PastVersion> {
    let differs = |past: &&PastVersion| {
        past.content.as_ref().is_some_and(|content| {
            content.application != record.application || content.artifacts != record.artifacts
        })
    };
    record.history.iter().filter(differs)
}

/// Desires what an earlier version was: the one named, or the last that was different. It comes
/// into force as any new version does; one that was never final goes back at once.
///
/// # Errors
/// `E_NOT_FOUND` for a version that is not kept, or when there is no earlier one.
pub fn rollback(record: &DesiredApp, to: Option<u64>) -> Result<Edited, Report> {
    let known = || {
        let known: Vec<String> = others(record).map(|past| past.version.to_string()).collect();
        if known.is_empty() { "none".to_owned() } else { known.join(", ") }
    };
    let app = &record.application.name;
    let found = match to {
        Some(version) => record.history.iter().find(|past| past.version == version),
        None => others(record).next(),
    };
    let Some((past, content)) = found.and_then(|past| Some((past, past.content.as_deref()?))) else {
        let what = match to {
            Some(version) => format!("version not found: {version}"),
            None => "no earlier version is kept".to_owned(),
        };
        return Err(Report::new(ErrorCode::NotFound, what)
            .at(format!("application {app}"))
            .limit(format!("one of {}", known()))
            .hint(format!("see: trellis app history {app}")));
    };
    let mut next = record.clone();
    next.application.clone_from(&content.application);
    next.artifacts.clone_from(&content.artifacts);
    (next.rollout.paused, next.rollout.finalise) = (false, false);
    Edited::new(next, format!("rollback to version {}", past.version))
}

/// No further host gets the new version.
///
/// # Errors
/// `E_ROLLOUT` when nothing is being rolled out.
pub fn pause(record: &DesiredApp, placement: Option<&Placement>) -> Result<Edited, Report> {
    match phase(placement) {
        Some(Phase::Advancing | Phase::Paused | Phase::Complete) => {}
        _ => return Err(nothing(record, "pause")),
    }
    let mut next = record.clone();
    next.rollout.paused = true;
    Edited::new(next, "pause".to_owned())
}

/// Goes on; a version that was rolled back is tried again.
///
/// # Errors
/// `E_ROLLOUT` when nothing is paused or was rolled back.
pub fn resume(record: &DesiredApp, placement: Option<&Placement>) -> Result<Edited, Report> {
    let mut next = record.clone();
    next.rollout.paused = false;
    match phase(placement) {
        Some(Phase::RolledBack { .. }) => {
            next.rollout.attempt = next.rollout.attempt.wrapping_add(1);
            Edited::new(next, "try again".to_owned())
        }
        _ if record.rollout.paused => Edited::new(next, "resume".to_owned()),
        _ => Err(nothing(record, "resume")),
    }
}

/// A complete rollout is final: hosts refuse the version before from now on.
///
/// # Errors
/// `E_ROLLOUT` when none is complete.
pub fn finalise(record: &DesiredApp, placement: Option<&Placement>) -> Result<Edited, Report> {
    if phase(placement) != Some(&Phase::Complete) {
        return Err(nothing(record, "finalise"));
    }
    let mut next = record.clone();
    next.rollout.finalise = true;
    Edited::new(next, "finalise".to_owned())
}

fn phase(placement: Option<&Placement>) -> Option<&Phase> {
    placement.and_then(|placement| placement.rollout.as_ref()).map(|rollout| &rollout.phase)
}

fn nothing(record: &DesiredApp, verb: &str) -> Report {
    let app = &record.application.name;
    Report::new(ErrorCode::Rollout, format!("nothing to {verb}"))
        .at(format!("application {app}"))
        .hint(format!("see: trellis app status {app}"))
}
