//! What the two buckets hold: a host's session, and a shard's owner.

use lattice_journal::takeover::ShardOwner;
use lattice_journal::{Epoch, SessionId, ShardId};
use lattice_protocol::ownership::{self, OwnerValue};
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

/// Who has a shard, as its key has it.
pub(super) fn owner_value(owner: &ShardOwner) -> OwnerValue {
    OwnerValue::new(owner.session.as_str(), owner.epoch.0)
}

/// The owner that a key names; of a shard that was given up, nobody that lives.
pub(super) fn shard_owner(value: &OwnerValue, host: &HostId) -> ShardOwner {
    let session = value.session.parse().unwrap_or_else(|_| SessionId::new(host, [0; 16]));
    ShardOwner { session, epoch: Epoch(value.epoch) }
}

/// One shard of one kind.
pub(super) type Part = (KindName, ShardId);

/// The key of a shard's owner.
pub(super) fn owner_key((kind, shard): &Part) -> String {
    ownership::owner_key(kind, shard.0)
}
