//! Where a guest's words go: stdout, stderr and `wasi:logging`, line by line, bounded.

use lattice_protocol::ActorId;

/// The bounded line logger of one actor.
pub(crate) struct GuestLog {
    actor: ActorId,
}
