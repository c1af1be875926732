//! What a host was told, as it is remembered: a lattice of a million actors has as many entries in
//! the specs of its hosts. Of each stay its id, component and replicas; how it runs (limits, reuse,
//! configuration) is there once for all actors of the host that run alike.
//!
//! Invariant: nothing is lost. [`Told::spec`] is the spec that was told.

use lattice_protocol::persistent::Persistent;
use lattice_protocol::rollout::Check;
use lattice_protocol::spec::{Artifact, InstancePolicy, Limits};
use lattice_protocol::{
    ActorId, ActorSpec, AppName, Generation, HostId, HostSpec, LatticeName, LinkDefinition, ProviderSpec,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The last ways seen that an actor is compared with: more would cost time and find little.
const NEAR: usize = 8;

/// What one host was told.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    lattice: LatticeName,
    host: HostId,
    /// Its place in order.
    pub generation: Generation,
    /// The placement revision of each application that it was derived from.
    pub apps: BTreeMap<AppName, u64>,
    /// Actors, by id.
    pub actors: Box<[ToldActor]>,
    providers: Vec<ProviderSpec>,
    /// Links of these actors.
    pub links: Vec<LinkDefinition>,
}

/// What it was told of one actor.
#[derive(Debug, Clone, PartialEq)]
pub struct ToldActor {
    /// Who.
    pub id: ActorId,
    /// The signed component.
    pub artifact: Artifact,
    /// Replicas on that host.
    pub replicas: u32,
    trial: bool,
    way: Arc<Way>,
}

/// How an actor runs.
#[derive(Debug, Clone, PartialEq)]
struct Way {
    instances: InstancePolicy,
    limits: Limits,
    persistent: Option<Box<Persistent>>,
    config: BTreeMap<String, String>,
    check: Option<Box<Check>>,
    staged: Option<Box<Artifact>>,
}

impl Told {
    pub(super) fn of(spec: HostSpec) -> Self {
        let HostSpec { lattice, host, generation, apps, actors, mut providers, mut links } = spec;
        let mut ways: Vec<Arc<Way>> = Vec::new();
        let actors = actors.into_iter().map(|actor| ToldActor::of(actor, &mut ways)).collect();
        providers.shrink_to_fit();
        links.shrink_to_fit();
        Self { lattice, host, generation, apps, actors, providers, links }
    }

    /// The whole spec.
    #[must_use]
    pub fn spec(&self) -> HostSpec {
        HostSpec {
            lattice: self.lattice.clone(),
            host: self.host.clone(),
            generation: self.generation,
            apps: self.apps.clone(),
            actors: self.actors.iter().map(ToldActor::spec).collect(),
            providers: self.providers.clone(),
            links: self.links.clone(),
        }
    }
}

impl ToldActor {
    fn of(actor: ActorSpec, ways: &mut Vec<Arc<Way>>) -> Self {
        let ActorSpec { id, artifact, replicas, instances, limits, persistent, config, trial, check, staged } =
            actor;
        let way = Way { instances, limits, persistent, config, check, staged };
        let known = ways.iter().rev().take(NEAR).find(|known| ***known == way).cloned();
        let way = known.unwrap_or_else(|| {
            let way = Arc::new(way);
            ways.push(Arc::clone(&way));
            way
        });
        Self { id, artifact, replicas, trial, way }
    }

    fn spec(&self) -> ActorSpec {
        let Way { instances, limits, persistent, config, check, staged } = (*self.way).clone();
        let Self { id, artifact, replicas, trial, .. } = self.clone();
        ActorSpec { id, artifact, replicas, instances, limits, persistent, config, trial, check, staged }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_comes_back_whole_and_those_that_run_alike_share_how() {
        let actor = |name: &str| {
            let artifact = Artifact { digest: format!("sha256:{name}").into(), size: 7 };
            ActorSpec::new(format!("shop/{name}").parse().unwrap(), artifact)
        };
        let mut spec = HostSpec::empty("prod".parse().unwrap(), "H1".parse().unwrap());
        spec.generation = Generation { incarnation: 1, n: 4 };
        spec.apps.insert("shop".parse().unwrap(), 9);
        spec.actors = vec![actor("a"), actor("b"), actor("c"), actor("d")];
        spec.actors[0].replicas = 3;
        spec.actors[1].config.insert("key".to_owned(), "value".to_owned());
        spec.actors[1].trial = true;
        spec.actors[1].instances = InstancePolicy::warm();
        spec.actors[2].staged = Some(Box::new(Artifact { digest: "sha256:next".into(), size: 8 }));
        let told = Told::of(spec.clone());
        assert_eq!(told.spec(), spec);
        assert!(Arc::ptr_eq(&told.actors[0].way, &told.actors[3].way));
        assert!(!Arc::ptr_eq(&told.actors[0].way, &told.actors[2].way));
        spec.actors[3].limits.call_ms += 1;
        assert_ne!(Told::of(spec), told);
    }
}
