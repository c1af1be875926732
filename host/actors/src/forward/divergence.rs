//! Two histories of one journal: why, and what a person is told.

use lattice_journal::RecordSeq;
use lattice_protocol::{ErrorCode, HostId, Report};

/// Why this journal does not go on from what has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Divergence {
    /// It ends before.
    Ahead { arrived: RecordSeq, last: RecordSeq },
    /// It has another record there.
    Fork { record: RecordSeq },
}

impl Divergence {
    pub(super) fn report(self, host: &HostId) -> Report {
        let report = match self {
            Self::Ahead { arrived, last } => Report::new(
                ErrorCode::Fork,
                "more of this journal has been forwarded than there is on this host",
            )
            .got(format!("record {last} is its last"))
            .limit(format!("record {arrived} was forwarded")),
            Self::Fork { record } => {
                Report::new(ErrorCode::Fork, "the journal differs from what was forwarded of it")
                    .got(format!("another record {record}"))
            }
        };
        report.at(host).hint(
            "nothing more is forwarded, and nothing overwritten: an older copy of the host's data was put back, or \
             two hosts have one identity; see docs/recovery.md",
        )
    }
}
