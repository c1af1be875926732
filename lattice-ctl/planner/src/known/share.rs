//! Text that stands in many records is kept once. What comes from the network brings its own copy of every
//! name and digest; here they become those that are known already, and lists give back the room that
//! they do not use. Of what a record says nothing changes.

use crate::known::Told;
use crate::sorted::Sorted;
use lattice_protocol::desired::{DesiredApp, Placement};
use lattice_protocol::heartbeat::Heartbeat;
use lattice_protocol::{ActorId, ActorName, AppName, ArtifactDigest, HostId, HostSpec};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Texts kept of each kind, at most.
const MOST: usize = 1 << 16;

/// Names of actors and digests that many applications have in common.
#[derive(Debug, Default)]
pub(super) struct Texts {
    names: BTreeSet<ActorName>,
    digests: BTreeSet<ArtifactDigest>,
}

/// The one that was seen before, if there was any. When there are too many, those that are there go: they
/// are shared no less by whoever has them.
fn once<T: Ord + Clone>(seen: &mut BTreeSet<T>, text: &mut T) {
    if let Some(known) = seen.get(text) {
        text.clone_from(known);
        return;
    }
    if seen.len() >= MOST {
        seen.clear();
    }
    seen.insert(text.clone());
}

/// Of an application: its artifacts are under the names of its actors; each name and digest is there once.
pub(super) fn desired(record: &mut Arc<DesiredApp>, texts: &mut Texts) {
    // One that somebody else has as well is not ours to change.
    let Some(record) = Arc::get_mut(record) else { return };
    record.application.actors.shrink_to_fit();
    record.application.actors.iter_mut().for_each(|actor| once(&mut texts.names, &mut actor.name));
    let artifacts = std::mem::take(&mut record.artifacts).into_iter().map(|(id, mut artifact)| {
        let (mut name, ours) = (id.name.clone(), &record.application.name);
        once(&mut texts.names, &mut name);
        once(&mut texts.digests, &mut artifact.digest);
        (ActorId::new(if id.app == *ours { ours.clone() } else { id.app.clone() }, name), artifact)
    });
    record.artifacts = artifacts.collect();
}

/// Of a decision: actors are those of the application, hosts those that were told something.
pub(super) fn placement<'h>(
    record: &mut Arc<Placement>,
    desired: Option<&DesiredApp>,
    host: impl Fn(&HostId) -> Option<&'h HostId>,
) {
    let Some(record) = Arc::get_mut(record) else { return };
    let actors = std::mem::take(&mut record.actors).into_iter().map(|(id, places)| {
        let known =
            desired.and_then(|desired| desired.artifacts.get_key_value(&id)).map(|(id, _)| id.clone());
        let places = places.into_iter().map(|(id, count)| (host(&id).cloned().unwrap_or(id), count));
        (known.unwrap_or(id), places.collect())
    });
    record.actors = actors.collect();
}

/// Of a spec: actors are those that decisions place on its host, with the digests of their applications.
pub(super) fn spec<'d>(
    record: &mut HostSpec,
    placed: Option<&Sorted<ActorId>>,
    desired: impl Fn(&ActorId) -> Option<&'d DesiredApp>,
) {
    for actor in &mut record.actors {
        if let Some(known) = placed.and_then(|placed| placed.find(&actor.id)) {
            actor.id.clone_from(known);
        }
        let known = desired(&actor.id).and_then(|desired| desired.artifacts.get(&actor.id));
        if let Some(known) = known.filter(|known| known.digest == actor.artifact.digest) {
            actor.artifact.digest.clone_from(&known.digest);
        }
    }
    record.apps = std::mem::take(&mut record.apps).into_iter().collect();
}

/// Of a heartbeat: actors and applications are those of the spec that its host was told.
pub(super) fn heartbeat(beat: &mut Heartbeat, told: &Told) {
    beat.actors.shrink_to_fit();
    for status in &mut beat.actors {
        let found = told.actors.binary_search_by(|actor| actor.id.cmp(&status.id)).ok();
        let Some(actor) = found.and_then(|at| told.actors.get(at)) else { continue };
        status.id.clone_from(&actor.id);
        if status.digest == actor.artifact.digest {
            status.digest.clone_from(&actor.artifact.digest);
        }
    }
    let apps = std::mem::take(&mut beat.apps).into_iter();
    let known = |app: AppName| told.apps.get_key_value(&app).map_or(app, |(known, _)| known.clone());
    beat.apps = apps.map(|(app, revision)| (known(app), revision)).collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{actor, app, heartbeat as beat_of, host};
    use lattice_protocol::ActorSpec;
    use lattice_protocol::heartbeat::ActorStatus;
    use lattice_protocol::manifest::Scale;

    fn is_same(one: &str, other: &str) -> bool {
        std::ptr::eq(one, other)
    }

    /// As it would come from the network.
    fn read<T: serde::Serialize + serde::de::DeserializeOwned>(record: &T) -> Arc<T> {
        Arc::new(serde_json::from_str(&serde_json::to_string(record).unwrap()).unwrap())
    }

    #[test]
    fn records_say_the_same_and_share_their_text() {
        let scale = Scale::Replicas(1);
        let mut written = app("shop", vec![actor("web", scale), actor("api", scale)]);
        written.artifacts.values_mut().for_each(|artifact| artifact.digest = "sha256:aa".into());
        let mut record = read(&written);
        desired(&mut record, &mut Texts::default());
        assert_eq!(*record, written);
        let (web, api): (ActorId, ActorId) = ("shop/web".parse().unwrap(), "shop/api".parse().unwrap());
        let (known, artifact) = record.artifacts.get_key_value(&web).unwrap();
        assert!(is_same(known.name.as_str(), record.application.actors[0].name.as_str()));
        assert!(is_same(&artifact.digest, &record.artifacts[&api].digest));

        let (name, on): (AppName, HostId) = ("shop".parse().unwrap(), host("A"));
        let mut decided = Placement::empty(name.clone(), 1);
        decided.actors = [(web.clone(), [(on.clone(), 1)].into()), (api, [(host("B"), 2)].into())].into();
        let mut have = read(&decided);
        placement(&mut have, Some(&record), |host| (*host == on).then_some(&on));
        assert_eq!(*have, decided);
        let (id, places) = have.actors.get_key_value(&web).unwrap();
        assert!(is_same(id.name.as_str(), known.name.as_str()));
        assert!(is_same(places.keys().next().unwrap().as_str(), on.as_str()));

        let mut told = HostSpec::empty("prod".parse().unwrap(), on.clone());
        told.apps.insert(name, 7);
        told.actors = vec![ActorSpec::new(web.clone(), artifact.clone())];
        let mut have = HostSpec::clone(&read(&told));
        let placed: Sorted<ActorId> = [id.clone()].into_iter().collect();
        spec(&mut have, Some(&placed), |_| Some(&*record));
        assert_eq!(have, told);
        let have = Told::of(have);
        assert!(is_same(&have.actors[0].artifact.digest, &artifact.digest));
        assert!(is_same(have.actors[0].id.name.as_str(), known.name.as_str()));

        let mut said = beat_of("A", "b1", 1);
        said.apps.clone_from(&told.apps);
        said.actors = vec![
            ActorStatus::running("other/x".parse().unwrap(), "sha256:bb", 1),
            ActorStatus::running(web, "sha256:aa", 1),
        ];
        let mut beat = Heartbeat::clone(&read(&said));
        heartbeat(&mut beat, &have);
        assert_eq!(beat, said);
        assert!(is_same(&beat.actors[1].digest, &artifact.digest));
        assert!(is_same(beat.actors[1].id.app.as_str(), have.actors[0].id.app.as_str()));
    }
}
