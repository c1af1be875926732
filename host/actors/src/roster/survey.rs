//! All actors of a shard as they were at one time, read on a thread that may wait for the disk.

use super::cold;
use host_store::spill::View;
use lattice_journal::record::SnapshotRef;
use lattice_journal::trim::SnapshotList;
use lattice_protocol::{EntityKey, ErrorCode, Report};

/// See the module.
#[derive(Debug)]
pub(crate) struct Survey {
    /// Of those who were warm.
    snapshots: SnapshotList,
    cold: Option<View>,
}

impl Survey {
    pub(super) fn new(snapshots: SnapshotList, cold: Option<View>) -> Self {
        Self { snapshots, cold }
    }

    /// All snapshots. Blocks.
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn snapshots(mut self) -> Result<SnapshotList, Report> {
        let list = &mut self.snapshots;
        if let Some(cold) = self.cold {
            cold.visit(|name, value| {
                if let Some((seq, hash)) = cold::read(value)?.1.snapshot {
                    list.insert(SnapshotRef { key: key(name)?, seq, hash });
                }
                Ok::<(), Report>(())
            })?;
        }
        Ok(self.snapshots)
    }

    /// Shows the name of each actor that is cold. Blocks.
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn cold(&self, mut visit: impl FnMut(EntityKey)) -> Result<(), Report> {
        let Some(cold) = &self.cold else { return Ok(()) };
        cold.visit(|name, _| {
            visit(key(name)?);
            Ok(())
        })
    }
}

fn key(name: &[u8]) -> Result<EntityKey, Report> {
    let parsed = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
    parsed.ok_or_else(|| Report::new(ErrorCode::Damaged, "the name of an actor at rest is unreadable"))
}
