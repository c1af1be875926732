//! What stands for the older part of a forwarded journal, beside it in the lattice: a checkpoint's document, and the
//! snapshots that it names. With it a host whose disk is lost is built anew from the checkpoint and the records
//! behind it, however much of the older ones the stream still has; without it, only from all of them.
//!
//! ```text
//!  device.<host>           … r40 r41 r42 │ r43 … r57        the journal, in order
//!                                 ▲ through
//!  device-state.<host>     head ─▶ document ─▶ packs of snapshots, each cut into parts, named by SHA-256
//! ```
//! One stream for all hosts, which keeps the last message of each subject: a part is written under its own name, and
//! taken away by its writer when no head names it any more. So a host needs no permission to delete or purge, and
//! NATS holds it to its own subjects. What is in the store already is not sent again: of a thousand actors the ten
//! that have done something.
//!
//! | module | holds |
//! |---|---|
//! | `desk` | when one is due, and what the shard has given for it |
//! | `plan` | pure: which packs stay, and what goes into new ones |
//! | `cells` | parts in the lattice: written, read back, taken away |
//! | `task` | the IO |
//! | [`read`] | what is there, read and verified by somebody else |
//!
//! Invariants: the head is written only after everything that it leads to, and after the journal has arrived up to
//! the last record that is in any of it; it replaces the one that its writer has seen and no other. What an older
//! head named is taken away after that. A document and a pack are what their digests say, or are refused by name.

mod cells;
mod desk;
mod plan;
pub mod read;
mod task;

pub(crate) use desk::Desk;
pub(crate) use task::run;

use super::ForwardPolicy;
use super::frame::Incarnation;
use bytes::Bytes;
use keys::Digest;
use lattice_io::LaneOptions;
use lattice_io::lane::Kept;
use lattice_journal::ShardId;
use lattice_protocol::subject::Subjects;
use lattice_protocol::{ErrorCode, HostId, Report};
use serde::{Deserialize, Serialize};

/// The one shard of a device's journal.
const SHARD: ShardId = ShardId(0);
/// Largest document or pack when it is unpacked, bytes: a pack is begun below its size, and takes one more snapshot.
const MAX_BYTES: usize = 72 << 20;

/// Which checkpoint counts: the one small message that is ever replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// The journal that it is of.
    pub incarnation: Incarnation,
    /// The last record that it stands for.
    pub through: u64,
    /// When it was made, milliseconds since 1970 by the host's clock.
    pub at_ms: u64,
    /// Records that had been let go before they had arrived.
    #[serde(default)]
    pub dropped: u64,
    /// Its document.
    pub document: Digest,
}

impl Head {
    fn to_bytes(&self) -> Result<Bytes, Report> {
        serde_json::to_vec(self).map(Bytes::from).map_err(|error| damaged(format!("head: {error}")))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Report> {
        serde_json::from_slice(bytes).map_err(|error| damaged(format!("head: {error}")))
    }
}

fn damaged(what: impl std::fmt::Display) -> Report {
    Report::new(ErrorCode::Damaged, format!("forwarded checkpoint: {what}"))
}

/// What its packs and documents are bound to: they fit no other host.
fn bound_to(host: &HostId) -> String {
    format!("forwarded checkpoint of {host}")
}

/// The lane of a host's head; its other cells are beside it.
#[must_use]
pub fn head_lane(subjects: &Subjects, host: &HostId, policy: &ForwardPolicy) -> LaneOptions {
    LaneOptions {
        stream: subjects.device_state_stream(),
        subjects: subjects.device_states(),
        subject: subjects.device_head(host),
        max_bytes: Some(policy.states_bytes),
        replicas: policy.replicas,
        kept: Kept::Last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_reads_back_and_what_is_none_is_refused() {
        let document = Digest::of(b"document");
        let incarnation = Incarnation([0, 1, 2, 3, 0xfc, 0xfd, 0xfe, 0xff]);
        let head = Head { incarnation, through: 42, at_ms: 1_790_000_000_000, dropped: 0, document };
        let bytes = head.to_bytes().unwrap();
        assert_eq!(Head::from_bytes(&bytes).unwrap(), head);
        for bad in [&b""[..], b"{}", &bytes[1..], b"null"] {
            assert_eq!(Head::from_bytes(bad).unwrap_err().code, ErrorCode::Damaged);
        }
    }
}
