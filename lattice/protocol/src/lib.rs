//! What hosts, controllers, providers and tools say to each other. Pure: no IO, no clock, no
//! randomness; every parser takes text and gives either a checked value or an error that names
//! the place.
//!
//! | module | holds |
//! |---|---|
//! | [`name`] | one newtype per identifier; all of them are single subject tokens |
//! | [`interface`] | WIT interface names, selectors and version matching |
//! | [`error`] | stable error codes, and the one shape every error is shown in |
//! | [`manifest`] | the application file: YAML in, checked [`manifest::Application`] out |
//! | [`link`] | link definitions, call policy, grants, and resolution |
//! | [`spec`] | [`spec::HostSpec`]: everything one host shall run, with its generation |
//! | [`desired`] | the KV records: desired application, placement |
//! | [`places`] | replicas by host |
//! | [`digest`] | the digest of an artifact, shared |
//! | [`persistent`] | how a kind of persistent actor is declared, and how its actors are addressed |
//! | [`entity`] | the frame of one call of a persistent actor |
//! | [`forwarding`] | how far a host's journal has come into the lattice |
//! | [`ownership`] | who owns which shard of persistent actors |
//! | [`rollout`] | how a new version comes into force, and how far it has come |
//! | [`heartbeat`] | what a host says about itself |
//! | [`incarnation`] | which life of the lattice this is |
//! | [`invocation`] | the frame of one call between hosts |
//! | [`provider`] | the frame of one call to a provider's process |
//! | [`value`] | component-model values in their binary encoding |
//! | [`event`] | CloudEvents 1.0 |
//! | [`permission`] | what each kind of NATS user may do |
//! | [`leb`] | numbers in the shortest form of LEB128, for every binary encoding of ours |
//! | [`jetstream`] | subjects of NATS's own protocols: JetStream, key-value buckets |
//! | [`seeded`] | numbers that follow from a seed |
//! | [`subject`] | every NATS subject, stream and bucket name (nowhere else) |

pub mod desired;
pub mod digest;
pub mod entity;
pub mod error;
pub mod event;
pub mod forwarding;
pub mod heartbeat;
pub mod incarnation;
pub mod interface;
pub mod invocation;
pub mod jetstream;
pub mod leb;
pub mod link;
pub mod manifest;
pub mod name;
pub mod ownership;
pub mod permission;
pub mod persistent;
pub mod places;
pub mod provider;
pub mod rollout;
pub mod seeded;
pub mod spec;
pub mod subject;
pub mod value;

pub use digest::ArtifactDigest;
pub use error::{ErrorCode, Report};
pub use interface::{Interface, Selector};
pub use link::{CallPolicy, Grants, LinkDefinition, LinkTable, LinkTarget};
pub use name::{
    ActorId, ActorName, AppName, DomainName, EntityId, EntityKey, HostId, KindName, LatticeName, LinkName,
    ProviderId, ProviderName,
};
pub use persistent::{Address, Durability, Persistent};
pub use places::Places;
pub use spec::{ActorSpec, Generation, HostSpec, InstancePolicy, Limits, ProviderSpec};
