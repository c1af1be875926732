//! What hosts and controllers do to the world outside: messages, keys, blobs, streams, tasks, time.
//!
//! Everything else in the workspace sees small object-safe traits, gathered in [`Lattice`].
//! They have two implementations of the same meaning, held to one conformance suite
//! (`tests/it.rs`): [`nats`] on a real server, and [`memory`] inside one process, which is the
//! embedded default and what tests and simulations run on. This is the only crate that names
//! async-nats (I2).
//!
//! | module | holds |
//! |---|---|
//! | [`bus`] | publish, request, subscribe, and whether the server can be reached |
//! | [`call`] | answering calls with a bounded number of hands |
//! | [`kv`] | buckets with revisions, compare-and-swap, and watches that survive reconnections |
//! | [`blobs`] | content-addressed bytes, verified when read |
//! | [`stream`] | the little of JetStream that providers need: stored publish, durable pull consumers |
//! | [`events`] | CloudEvents into the audit stream, through a bounded queue |
//! | [`log`] | logs of shards: appended with the expected place, read from the leader |
//! | [`domain`] | JetStream domains, each reached by its name over the one connection |
//! | [`lane`] | one stream that many write, each its own subject: appended with the expected place |
//! | [`row`] | work that is begun where it arrived, in a row |
//! | [`task`] | the one place that spawns: scopes with kinds, one cancellation tree, ordered drain |
//! | [`clock`] | monotonic and wall time behind a trait |
//! | [`nats`], [`memory`] | the two implementations |
//!
//! Tasks: the NATS client's own two (connection, events); nothing else runs in the background
//! here. Watches, consumers and subscriptions are driven by whoever reads them.
//!
//! An error always says whether the other side can have received anything (`is_unsent`,
//! [`kv::KvError::Unknown`]): that alone decides whether a retry is safe (DESIGN §4).

pub mod blobs;
pub mod bus;
pub mod call;
pub mod clock;
pub mod domain;
pub mod events;
pub mod kv;
pub mod lane;
pub mod log;
pub mod memory;
pub mod nats;
pub mod row;
pub mod stream;
pub mod task;

pub use blobs::{BlobError, BlobInfo, BlobStores, Blobs, NamedBlob};
pub use bus::{Bus, BusError, BusMessage, BusStatus, Subscription};
pub use clock::{Clock, ManualClock, SystemClock};
pub use domain::{DomainError, Domains};
pub use events::Events;
pub use futures::future::BoxFuture;
pub use kv::{Kv, KvBuckets, KvEntry, KvError, KvEvent, KvOptions, KvWatch, Replicas, WatchKeys};
pub use lane::{Lane, LaneInfo, LaneOptions, Lanes};
pub use log::{Log, LogError, LogOptions, Logs};
pub use stream::{Consumer, ConsumerOptions, Delivery, ReadFrom, StreamError, StreamOptions, Streams};
pub use task::{Kind, TaskScope};

use std::sync::Arc;

/// Everything a component needs of a lattice, whichever implementation is behind it.
#[derive(Clone)]
pub struct Lattice {
    /// Messages.
    pub bus: Arc<dyn Bus>,
    /// Key-value buckets.
    pub kv: Arc<dyn KvBuckets>,
    /// Blob stores.
    pub blobs: Arc<dyn BlobStores>,
    /// Streams.
    pub streams: Arc<dyn Streams>,
    /// Logs of shards.
    pub logs: Arc<dyn Logs>,
    /// Lanes of streams that many write.
    pub lanes: Arc<dyn Lanes>,
    /// The JetStream domain of everything here but messages, and the way to others.
    pub domains: Arc<dyn Domains>,
}
