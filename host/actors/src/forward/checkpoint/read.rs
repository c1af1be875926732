//! What stands for the older part of a host's forwarded journal, read back: the document is what the head says, and
//! each snapshot what the document says, or it is refused by name.

use super::cells::{Cells, Present};
use super::{Head, MAX_BYTES, SHARD, bound_to, damaged};
use bytes::Bytes;
use host_store::Envelope;
use keys::Digest;
use lattice_io::Lanes;
use lattice_journal::document::{Document, Pack, Place};
use lattice_journal::record::SnapshotRef;
use lattice_journal::{ActorSeq, RecordSeq, Snapshot};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{EntityKey, HostId, Report};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One that counts.
pub struct Standing {
    /// Which.
    pub head: Head,
    /// What it names.
    pub document: Document,
    cells: Cells,
    present: Present,
    envelope: Envelope,
    host: HostId,
}

/// Reads what counts of a host; none when it has forwarded no checkpoint.
///
/// # Errors
/// `E_DAMAGED`: head or document are not what was stored. What the lattice says.
pub async fn read(
    lanes: &Arc<dyn Lanes>,
    subjects: &Subjects,
    (host, envelope): (&HostId, Envelope),
) -> Result<Option<Standing>, Report> {
    let Some(cells) = Cells::find(lanes, subjects, host).await? else { return Ok(None) };
    loop {
        let Some((_, head)) = cells.head().await? else { return Ok(None) };
        let present = cells.present().await?;
        match cells.get(&head.document, &present).await {
            Ok(bytes) => {
                let document = unwrapped(&Envelope::default(), host, &bytes)
                    .and_then(|content| Document::from_bytes(content).map_err(|error| error.to_string()))
                    .map_err(|what| damaged(format!("its document: {what}")).at(host).got(head.document))?;
                let host = host.clone();
                return Ok(Some(Standing { head, document, cells, present, envelope, host }));
            }
            // Another one has taken its place meanwhile.
            Err(_) if cells.head().await?.is_some_and(|(_, now)| now != head) => {}
            Err(report) => return Err(report),
        }
    }
}

fn unwrapped(envelope: &Envelope, host: &HostId, bytes: &[u8]) -> Result<Bytes, String> {
    envelope.unwrap(&bound_to(host), bytes, MAX_BYTES).map(Bytes::from)
}

impl Standing {
    /// The last record that it stands for.
    #[must_use]
    pub fn through(&self) -> RecordSeq {
        self.document.checkpoint.through
    }

    /// The last record when it was made: its snapshots may be as new as that.
    #[must_use]
    pub fn last(&self) -> RecordSeq {
        RecordSeq(self.document.position.0)
    }

    /// Does it count as before? If not, what it names may be gone.
    ///
    /// # Errors
    /// What the lattice says.
    pub async fn counts(&self) -> Result<bool, Report> {
        Ok(self.cells.head().await?.is_some_and(|(_, now)| now == self.head))
    }

    /// By which commit an actor was deleted, if it was.
    #[must_use]
    pub fn buried(&self, key: &EntityKey) -> Option<ActorSeq> {
        self.document.snapshots.get(key).filter(|place| place.is_tombstone()).map(|place| place.seq)
    }

    async fn pack(&self, name: &Digest) -> Result<Pack, Report> {
        let bytes = self.cells.get(name, &self.present).await?;
        unwrapped(&self.envelope, &self.host, &bytes)
            .and_then(|content| Pack::from_bytes(content).map_err(|error| error.to_string()))
            .map_err(|what| damaged(format!("a pack of snapshots: {what}")).at(&self.host).got(name))
    }

    fn snapshot_of(
        &self,
        pack: &Pack,
        (key, place): (&EntityKey, &Place),
    ) -> Result<(Snapshot, Bytes), Report> {
        let bad = |what: String| damaged(format!("the snapshot of {key}: {what}")).at(&self.host);
        let at = usize::try_from(place.index).ok();
        let bytes = at
            .and_then(|at| pack.snapshots.get(at))
            .ok_or_else(|| bad("it is not in its pack".to_owned()))?;
        let (snapshot, hash) = Snapshot::open(bytes.clone()).map_err(|error| bad(error.to_string()))?;
        if hash != place.hash || snapshot.ledger.seq() != place.seq {
            return Err(bad("another one is in its place".to_owned()));
        }
        snapshot.check(key, SHARD, self.last()).map_err(|error| bad(error.to_string()))?;
        Ok((snapshot, bytes.clone()))
    }

    /// The snapshot of an actor, if there is one.
    ///
    /// # Errors
    /// `E_DAMAGED`, and what the lattice says.
    pub async fn snapshot(&self, key: &EntityKey) -> Result<Option<(Snapshot, SnapshotRef)>, Report> {
        let Some(place) = self.document.snapshots.get(key).filter(|place| !place.is_tombstone()) else {
            return Ok(None);
        };
        let (snapshot, _) = self.snapshot_of(&self.pack(&self.pack_of(place)?).await?, (key, place))?;
        let reference = snapshot.reference(place.hash);
        Ok(Some((snapshot, reference)))
    }

    fn pack_of(&self, place: &Place) -> Result<Digest, Report> {
        let at = usize::try_from(place.pack).ok();
        let pack = at.and_then(|at| self.document.packs.get(at));
        pack.map(|(pack, _)| *pack).ok_or_else(|| damaged("a snapshot in no pack").at(&self.host))
    }

    /// Every snapshot, verified, pack by pack: actor, commit, content.
    ///
    /// # Errors
    /// `E_DAMAGED`: one of them, by name; what the lattice and `visit` say.
    pub async fn each(
        &self,
        visit: &mut (dyn FnMut(&EntityKey, ActorSeq, Bytes) -> Result<(), Report> + Send),
    ) -> Result<(), Report> {
        let mut packs: BTreeMap<Digest, Vec<(&EntityKey, &Place)>> = BTreeMap::new();
        for (key, place) in self.document.snapshots.iter().filter(|(_, place)| !place.is_tombstone()) {
            packs.entry(self.pack_of(place)?).or_default().push((key, place));
        }
        for (name, places) in packs {
            let pack = self.pack(&name).await.map_err(|report| named(report, &places))?;
            for (key, place) in places {
                let (_, bytes) = self.snapshot_of(&pack, (key, place))?;
                visit(key, place.seq, bytes)?;
            }
        }
        Ok(())
    }
}

/// A pack that cannot be read: of whom.
fn named(report: Report, places: &[(&EntityKey, &Place)]) -> Report {
    match places {
        [(one, _)] => report.hint(format!("it has the snapshot of {one}")),
        [(first, _), ..] => {
            report.hint(format!("it has the snapshots of {} actors, {first} the first", places.len()))
        }
        [] => report,
    }
}
