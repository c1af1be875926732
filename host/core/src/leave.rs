//! A host that leaves serves on until what it runs is elsewhere. Controllers say so by taking it from
//! its spec; until it ends, the host keeps what was taken, and does everything else that it is told.

use lattice_protocol::{ActorId, ActorSpec, Durability, HostSpec, LinkTarget};

/// Does a spec ask for nothing that could be elsewhere? Actors of durability `device` could not: their
/// state is here.
#[must_use]
pub fn is_released(spec: &HostSpec) -> bool {
    let is_pinned = |actor: &ActorSpec| {
        actor.persistent.as_ref().is_some_and(|kind| kind.durability == Durability::Device)
    };
    spec.actors.iter().all(is_pinned)
}

/// What a leaving host runs: what it is told, and the actors that it ran and is told no more, with
/// their links and providers. A new version of an actor that it goes on running is not begun: that
/// is the other hosts' work.
#[must_use]
pub fn retain(current: &HostSpec, mut told: HostSpec) -> HostSpec {
    told.actors.retain_mut(|actor| {
        let Some(have) = current.actors.iter().find(|have| have.id == actor.id) else { return false };
        actor.artifact = have.artifact.clone();
        (actor.trial, actor.staged) = (have.trial, None);
        true
    });
    let is_taken = |id: &ActorId| !told.actors.iter().any(|actor| actor.id == *id);
    let actors: Vec<ActorSpec> = current.actors.iter().filter(|actor| is_taken(&actor.id)).cloned().collect();
    let runs = |id: &ActorId| current.actors.iter().any(|actor| actor.id == *id);
    told.links.retain(|link| runs(&link.source));
    told.links.extend(current.links.iter().filter(|link| is_taken(&link.source)).cloned());
    told.actors.extend(actors);
    for provider in &current.providers {
        let is_linked =
            told.links.iter().any(|link| link.target == LinkTarget::Provider(provider.id.clone()));
        if is_linked && !told.providers.iter().any(|other| other.id == provider.id) {
            told.providers.push(provider.clone());
        }
    }
    told.actors.sort_by(|left, right| left.id.cmp(&right.id));
    told.providers.sort_by(|left, right| left.id.cmp(&right.id));
    told.links.sort_by_cached_key(lattice_protocol::LinkDefinition::key);
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{actor, link, provider};
    use lattice_protocol::Persistent;

    fn spec(actors: &[(&str, &str)]) -> HostSpec {
        let mut spec = HostSpec::empty("prod".parse().unwrap(), "H1".parse().unwrap());
        for (id, digest) in actors {
            spec.actors.push(actor(id, digest));
            let store = format!("{id}-kv");
            spec.providers.push(provider(&store, "keyvalue-embedded"));
            spec.links.push(link(id, "wasi:keyvalue", &store));
        }
        spec
    }

    #[test]
    fn what_is_taken_from_a_leaving_host_goes_on_with_its_links_and_providers() {
        let current = spec(&[("shop/api", "aa"), ("shop/web", "aa")]);
        assert_eq!(retain(&current, spec(&[])), current);
        assert_eq!(retain(&current, spec(&[("shop/api", "aa")])), current);
    }

    #[test]
    fn what_is_told_of_it_besides_is_done_and_nothing_is_begun() {
        let current = spec(&[("shop/web", "aa")]);
        let mut told = spec(&[("shop/new", "cc"), ("shop/web", "bb")]);
        // The link is gone, and with it what it granted; the new version is not begun here.
        told.links.retain(|link| link.source.to_string() == "shop/new");
        let kept = retain(&current, told);
        let actors: Vec<String> =
            kept.actors.iter().map(|actor| format!("{} {}", actor.id, actor.artifact.digest)).collect();
        assert_eq!(actors, [format!("shop/web {}", current.actors[0].artifact.digest)]);
        assert_eq!(kept.links, []);
    }

    #[test]
    fn only_what_cannot_be_elsewhere_holds_nobody() {
        let mut spec = spec(&[("shop/meter", "aa")]);
        assert!(!is_released(&spec));
        spec.actors[0].persistent =
            Some(Box::new(Persistent { durability: Durability::Device, ..Persistent::default() }));
        assert!(is_released(&spec));
    }
}
