//! Small specs for tests.

use lattice_protocol::link::CallPolicy;
use lattice_protocol::spec::Artifact;
use lattice_protocol::{ActorSpec, Grants, LinkDefinition, LinkTarget, ProviderSpec};
use std::collections::BTreeMap;

pub(crate) fn actor(id: &str, digest: &str) -> ActorSpec {
    let artifact = Artifact { digest: format!("sha256:{digest}").into(), size: 1 };
    ActorSpec::new(id.parse().unwrap(), artifact)
}

pub(crate) fn provider(id: &str, kind: &str) -> ProviderSpec {
    ProviderSpec {
        id: id.parse().unwrap(),
        kind: kind.into(),
        mode: Default::default(),
        config: BTreeMap::new(),
    }
}

/// A link to a provider.
pub(crate) fn link(source: &str, interface: &str, target: &str) -> LinkDefinition {
    LinkDefinition {
        source: source.parse().unwrap(),
        name: "default".parse().unwrap(),
        interface: interface.parse().unwrap(),
        target: LinkTarget::Provider(target.parse().unwrap()),
        config: BTreeMap::new(),
        policy: CallPolicy::default(),
        grants: Grants::default(),
    }
}
