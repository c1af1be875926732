//! Building the journal of a host that is stopped anew, from what it had forwarded.

use crate::config::HostConfig;
use host_actors::forward::rebuild::{RebuildOptions, Rebuilt, rebuild};
use host_store::{DataDir, JournalOptions};
use lattice_io::{Clock, Lattice};
use lattice_protocol::Report;
use lattice_protocol::subject::Subjects;

/// Rebuilds it, in the host's data directory.
///
/// # Errors
/// The host runs (its data directory is in use); as [`rebuild`].
pub async fn rebuild_journal(
    config: &HostConfig,
    lattice: &Lattice,
    clock: &dyn Clock,
) -> Result<Rebuilt, Report> {
    let data = DataDir::open(&config.data_dir)?;
    let options = RebuildOptions {
        host: &config.host,
        data: &data,
        journal: JournalOptions::default(),
        snapshot_key: config.snapshot_key.clone(),
        now_ms: clock.unix_ms(),
    };
    rebuild(lattice, &Subjects::new(config.lattice.clone()), options).await
}
