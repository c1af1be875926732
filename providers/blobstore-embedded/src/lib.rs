//! Blobs in a directory of this host: one file per object, one directory per container.
//!
//! ```text
//! <data dir>/containers/<container, encoded>/<object, encoded>
//! <data dir>/scratch/<number>            what is being written, or deleted as a whole
//! ```
//!
//! An object appears whole or not at all: it is written to `scratch`, synced, and renamed into its
//! place. What a crash leaves in `scratch` is removed at the next start.
//!
//! | module | holds |
//! |---|---|
//! | [`name`] | names as file names: reversible, one path component, never special (pure) |
//! | [`disk`] | the files; blocking |
//! | [`usage`] | what is used, against the limits (pure) |
//! | [`store`] | the provider: moves each call to a thread that may block |
//! | [`config`] | what may be set, and the factory |
//!
//! Tasks and channels: none of its own; each call is one blocking task of tokio's.
//!
//! Invariants: nothing outside the data directory is ever opened, whatever a name is and whatever
//! links somebody has put there; bytes and objects are bounded.

mod config;
mod disk;
mod name;
mod store;
mod usage;

pub use config::{Config, EmbeddedBlobStoreFactory, KIND};
pub use disk::DiskError;
pub use store::EmbeddedBlobStore;
