//! What planning needs of earlier versions of an application. A record keeps ten that can come back,
//! for people; a million actors ten times over do not fit a controller's memory.
//!
//! A new version is compared with the one that the decision in force was made from, and only where a
//! rule says how it comes into force: without one it is in force at once, whatever was before. A
//! rollout that has begun has what it can go back to in its own record.

use lattice_protocol::desired::{DesiredApp, Placement};
use std::sync::Arc;

/// Drops the contents of versions that no plan looks at. The list of versions stays.
///
/// With a rule, those from the decision's version on stay: another controller may have decided by a later
/// one already, and its decision comes after this record. When it is the newest, the one before it stays.
pub(super) fn forget(record: &mut Arc<DesiredApp>, placement: Option<&Placement>) {
    let is_needed = needed(record, placement);
    let is_any = record.history.iter().any(|past| past.content.is_some() && !is_needed(past.version));
    if is_any {
        for past in &mut Arc::make_mut(record).history {
            past.content.take_if(|_| !is_needed(past.version));
        }
    }
}

fn needed(record: &DesiredApp, placement: Option<&Placement>) -> impl Fn(u64) -> bool + use<> {
    let actors = &record.application.actors;
    let rolls = record.application.rollout.is_some() || actors.iter().any(|actor| actor.rollout.is_some());
    let newest = record.version;
    let before = record.history.iter().map(|past| past.version).find(|version| *version < newest);
    let decided = placement.map(|placement| placement.desired_version);
    move |version| {
        let counts = match decided {
            None => true,
            Some(decided) if decided < newest => version >= decided,
            Some(_) => Some(version) == before,
        };
        rolls && version != newest && counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{actor, app};
    use lattice_protocol::manifest::Scale;
    use lattice_protocol::rollout::{RolloutPolicy, Strategy};

    fn kept(rolls: bool, decided: Option<u64>) -> Vec<u64> {
        let mut desired = app("shop", vec![actor("web", Scale::Replicas(1))]);
        if rolls {
            desired.application.actors[0].rollout = Some(Box::new(RolloutPolicy::new(Strategy::BlueGreen)));
        }
        desired.version = 0;
        (0..5).for_each(|_| desired.stamp("somebody", 0, "put"));
        let name = desired.application.name.clone();
        let mut record = Arc::new(desired);
        let placement = decided.map(|version| Placement::empty(name, version));
        forget(&mut record, placement.as_ref());
        assert_eq!((record.version, record.history.len()), (5, 5));
        let has = record.history.iter().filter(|past| past.content.is_some());
        has.map(|past| past.version).collect()
    }

    #[test]
    fn what_a_plan_compares_with_stays() {
        assert_eq!(kept(true, Some(3)), [4, 3], "by the fourth others may have decided meanwhile");
        assert_eq!(kept(true, Some(5)), [4], "another may still decide by it");
        assert_eq!(kept(true, None), [4, 3, 2, 1], "nobody knows yet by which it was decided");
        assert_eq!(kept(false, None), [0u64; 0], "in force at once, whatever was before");
    }
}
