//! What a host knows of its own lease, of the others', and of who has which shard.

use super::standby::Seat;
use super::values::{Part, SessionValue, owner_key};
use crate::kinds::Kind;
use crate::shard::{Inbox, Message};
use lattice_journal::lease::Sighting;
use lattice_journal::{Epoch, SessionId};
use lattice_protocol::ownership::OwnerValue;
use lattice_protocol::{HostId, KindName, Report};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(super) struct State {
    pub(super) kinds: BTreeMap<KindName, Kind>,
    /// This host's session, while its lease holds: who, and until when (monotonic).
    pub(super) lease: Option<(SessionId, u64)>,
    /// The kinds that the lease is known to name: to whoever reads it, shards of others are anybody's.
    pub(super) named: BTreeSet<KindName>,
    /// Sessions by host: the value, and when it was seen.
    pub(super) seen: BTreeMap<String, (SessionValue, Sighting)>,
    pub(super) owners: BTreeMap<String, OwnerValue>,
    /// Since when nobody alive owns a shard.
    pub(super) orphaned: BTreeMap<Part, u64>,
    /// Shards being taken over or owned here; with their inbox once they are open.
    pub(super) parts: BTreeMap<Part, Option<Inbox>>,
    /// Shards that this host stands by for.
    pub(super) standing: BTreeMap<Part, Seat>,
    /// Shards that are given up for another host; did a person choose it?
    pub(super) moving: BTreeMap<Part, (HostId, bool)>,
    /// The shard that comes here next, and until when its place is kept (monotonic).
    pub(super) reserved: Option<(Part, u64)>,
    /// The session of each host, and when it was first seen (monotonic).
    pub(super) joined: BTreeMap<String, (String, u64)>,
    /// Shards that cannot be opened as they are: why, and until when it is not tried again (monotonic).
    pub(super) closed: BTreeMap<Part, (Report, u64)>,
    /// Why the domain could not be asked or written when that was last tried.
    pub(super) trouble: Option<Report>,
    /// All that was there when watching began has been heard.
    pub(super) hears_sessions: bool,
    pub(super) hears_owners: bool,
    pub(super) started: bool,
}

impl State {
    /// Until when this session may act (monotonic); none when it is not this host's any more.
    pub(super) fn holds_until(&self, session: &SessionId) -> Option<u64> {
        self.lease.as_ref().filter(|(holder, _)| holder == session).map(|(_, until_ms)| *until_ms)
    }

    /// A shard that is served here learns that somebody else has claimed it.
    pub(super) fn tell_claimed(&self, key: &str, owner: &OwnerValue) {
        let is_mine = self.lease.as_ref().is_some_and(|(mine, _)| mine.as_str() == owner.session);
        if is_mine || owner.is_released() {
            return;
        }
        for (_, inbox) in self.parts.iter().filter(|(part, _)| owner_key(part) == key) {
            if let Some(inbox) = inbox {
                inbox.send(Message::Claimed { by: Epoch(owner.epoch) });
            }
        }
    }
}
