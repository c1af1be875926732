//! What the two buckets hold: a host's session, and a shard's owner.

use lattice_journal::takeover::ShardOwner;
use lattice_journal::{Epoch, SessionId, ShardId};
use lattice_protocol::{HostId, KindName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A session as its key has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionValue {
    pub(super) session: String,
    pub(super) attempt: u64,
    pub(super) kinds: BTreeSet<KindName>,
}

/// A shard's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OwnerValue {
    pub(super) session: String,
    pub(super) epoch: u64,
    /// Who shall have it next, when it was given up for somebody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<HostId>,
    /// Did a person choose that host? Then it is not moved again to even things out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) chosen: bool,
}

/// In the place of a session: the owner has given the shard up.
pub(super) const RELEASED: &str = "-";

impl OwnerValue {
    pub(super) fn new(owner: &ShardOwner) -> Self {
        Self { session: owner.session.to_string(), epoch: owner.epoch.0, to: None, chosen: false }
    }
    pub(super) fn nobody() -> Self {
        Self { session: RELEASED.to_owned(), epoch: 0, to: None, chosen: false }
    }
    /// The owner; of a shard that was given up, nobody that lives.
    pub(super) fn read(&self, host: &HostId) -> ShardOwner {
        let session = self.session.parse().unwrap_or_else(|_| SessionId::new(host, [0; 16]));
        ShardOwner { session, epoch: Epoch(self.epoch) }
    }
}

/// One shard of one kind.
pub(super) type Part = (KindName, ShardId);

/// The key of a shard's owner.
pub(super) fn owner_key((kind, shard): &Part) -> String {
    format!("{kind}.{shard}")
}
