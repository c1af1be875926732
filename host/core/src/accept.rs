//! Which spec wins? A host keeps the newest generation it has verified, and of each application
//! the highest placement revision: two controllers can race, and neither undoes the other.
//!
//! Invariants: a spec for another host or lattice is never taken; a generation never falls; a
//! higher incarnation (a lattice restored from backup, by a signed act) replaces everything,
//! because its revisions have begun anew.

use lattice_protocol::{AppName, ErrorCode, HostId, HostSpec, LatticeName, Report};

/// What came of an offered spec.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The host shall run this from now on.
    Accepted {
        /// What to reconcile to: the offered spec, but for what is named in `kept`.
        spec: Box<HostSpec>,
        /// Applications of which the host keeps what it has, because the offer was planned from
        /// an older placement.
        kept: Vec<AppName>,
    },
    /// The host has this very spec already.
    Unchanged,
}

/// Compares an offered spec, whose signature was verified, with the one in force.
///
/// # Errors
/// `E_DENIED` for another host or lattice, `E_FENCED` for an older generation, `E_CONFLICT` for
/// another spec under the same generation.
pub fn accept(
    lattice: &LatticeName,
    host: &HostId,
    current: Option<&HostSpec>,
    offered: HostSpec,
) -> Result<Verdict, Report> {
    if offered.lattice != *lattice {
        return Err(refused(ErrorCode::Denied, "host spec of another lattice", &offered.lattice, lattice));
    }
    if offered.host != *host {
        return Err(refused(ErrorCode::Denied, "host spec of another host", &offered.host, host));
    }
    let Some(current) = current else {
        return Ok(Verdict::Accepted { spec: Box::new(offered), kept: Vec::new() });
    };
    let (have, got) = (current.generation, offered.generation);
    if got < have {
        let limit = format!("{have} or newer");
        return Err(refused(ErrorCode::Fenced, "host spec of an older generation", got, limit));
    }
    if got == have {
        // What is in force may be a merge; then only the generation is the offer's.
        return match merge(current, offered) {
            (merged, _) if merged == *current => Ok(Verdict::Unchanged),
            _ => Err(refused(ErrorCode::Conflict, "two host specs of one generation", got, "one")
                .hint("a controller signed two different specs; the next generation settles it")),
        };
    }
    if got.incarnation > have.incarnation {
        return Ok(Verdict::Accepted { spec: Box::new(offered), kept: Vec::new() });
    }
    let (spec, kept) = merge(current, offered);
    Ok(Verdict::Accepted { spec: Box::new(spec), kept })
}

fn refused(
    code: ErrorCode,
    what: &str,
    got: impl std::fmt::Display,
    limit: impl std::fmt::Display,
) -> Report {
    Report::new(code, what).got(got).limit(limit)
}

/// The offer, with the parts of applications that `current` has at a higher revision.
fn merge(current: &HostSpec, mut offered: HostSpec) -> (HostSpec, Vec<AppName>) {
    let newer_here =
        |app: &AppName, revision: u64| current.apps.get(app).is_some_and(|have| *have > revision);
    let kept: Vec<AppName> = offered
        .apps
        .iter()
        .filter(|(app, revision)| newer_here(app, **revision))
        .map(|(app, _)| app.clone())
        .collect();
    if kept.is_empty() {
        return (offered, kept);
    }
    offered.actors.retain(|actor| !kept.contains(&actor.id.app));
    offered.providers.retain(|provider| !kept.contains(&provider.id.app));
    offered.links.retain(|link| !kept.contains(&link.source.app));
    let of_kept = |app: &AppName| kept.contains(app);
    offered.actors.extend(current.actors.iter().filter(|actor| of_kept(&actor.id.app)).cloned());
    offered.providers.extend(current.providers.iter().filter(|provider| of_kept(&provider.id.app)).cloned());
    offered.links.extend(current.links.iter().filter(|link| of_kept(&link.source.app)).cloned());
    for (app, revision) in &current.apps {
        if of_kept(app) {
            offered.apps.insert(app.clone(), *revision);
        }
    }
    offered.actors.sort_by(|left, right| left.id.cmp(&right.id));
    offered.providers.sort_by(|left, right| left.id.cmp(&right.id));
    offered.links.sort_by_cached_key(lattice_protocol::LinkDefinition::key);
    (offered, kept)
}

#[cfg(test)]
mod tests;
