//! A host: it takes its signed spec from the lattice (or from its disk), makes this machine run
//! just that, and says how it goes.
//!
//! ```text
//! KV hostspec.<id> ──▶ specs ──▶ control ──▶ runtime, providers
//!         disk ─────────────────▶  │ snapshot
//!                                  ▼
//!                      heartbeat, requests ──▶ bus
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`config`], [`host`] | what a host is told; putting it together and taking it apart |
//! | [`control`] | the one owner of what runs |
//! | [`wires`], [`ingress`], [`egress`], [`serve`] | links: bound, inbound, outbound, from other hosts |
//! | [`entities`] | persistent actors: their calls, their effects |
//! | [`processes`] | providers in processes of their own |
//! | [`artifacts`], [`files`] | fetched, verified, kept; everything durable |
//! | [`secrets`] | values that the spec only names |
//! | [`heartbeat`], [`load`], [`requests`] | what it says, once it knows that its id is free (its events go through `lattice_io::events`) |
//! | [`measured`] | what it measures for the planner: messages that wait, and how far other regions are |
//! | [`rebuild`] | its journal, built anew from what it had forwarded, while it is stopped |
//! | [`directory`] | who runs here, readable without a lock |
//!
//! It does not know controllers (I3): a spec is trusted for its signature, not for its sender.

pub mod artifacts;
pub mod config;
pub mod control;
pub mod directory;
pub mod egress;
pub mod entities;
pub mod files;
pub mod heartbeat;
pub mod host;
mod identity;
pub mod ingress;
pub mod load;
pub mod measured;
pub mod processes;
pub mod rebuild;
pub mod requests;
pub mod secrets;
pub mod serve;
pub mod wires;

pub use config::HostConfig;
pub use host::{HostDeps, HostHandle, start};
pub use host_actors::forward::rebuild::Stands;
pub use host_actors::{ForwardPolicy, WhenFull};
pub use host_store::SnapshotKey;
pub use processes::{Memberships, Processes};
pub use rebuild::rebuild_journal;
pub use secrets::SecretsConfig;
