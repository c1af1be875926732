//! The IO of forwarded checkpoints: a task of an open journal, beside the one that forwards its records. It asks the
//! shard for a checkpoint when one is due, sends what is missing of it, and names it when the records have arrived.
//! It ends with the journal. Whatever fails is tried again after a pause, and goes on where it was.

use super::cells::{Cells, Present};
use super::desk::Journal as Grown;
use super::plan::{self, Known};
use super::{Head, MAX_BYTES, SHARD, bound_to, damaged};
use crate::device::blocking;
use crate::forward::Forward;
use crate::log::Standing;
use bytes::Bytes;
use host_core::jitter;
use host_store::{Envelope, Journal, SnapshotStore};
use keys::Digest;
use lattice_io::BusStatus;
use lattice_journal::document::{Document, Pack};
use lattice_journal::record::SnapshotRef;
use lattice_journal::{Epoch, Position, RecordSeq, Snapshot};
use lattice_protocol::{ErrorCode, Report};
use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// Snapshots of one pack, and their bytes, about.
const PACK_SNAPSHOTS: usize = 1_024;
const PACK_BYTES: usize = 256 << 10;

/// Sends checkpoints until it is cancelled.
pub(crate) async fn run<J>(forward: Arc<Forward>, (journal, snapshots): (Arc<J>, Arc<SnapshotStore>))
where
    J: Deref<Target = Journal> + Send + Sync + 'static,
{
    let mut status = forward.options.lattice.bus.status();
    let mut task = Task { forward, snapshots, there: None, pending: None, failures: 0 };
    loop {
        if status.wait_for(|now| *now == BusStatus::Connected).await.is_err() {
            return;
        }
        let pause = match task.step(&journal).await {
            Ok(()) => {
                task.failures = 0;
                task.forward.checkpoint.goes_on();
                task.forward.options.policy.period
            }
            Err(report) => task.failed(&report),
        };
        // Elapsed: something may be due.
        drop(tokio::time::timeout(pause, task.forward.checkpoint.given.notified()).await);
    }
}

struct Task {
    forward: Arc<Forward>,
    snapshots: Arc<SnapshotStore>,
    /// What is in the lattice; none: it has to be asked.
    there: Option<There>,
    /// What goes there now.
    pending: Option<Pending>,
    failures: u32,
}

struct Pending {
    standing: Standing,
    /// Its document, when everything is there that it names.
    named: Option<Named>,
}

/// What is in the lattice.
struct There {
    cells: Cells,
    /// Something has failed: it has to be asked again.
    is_stale: bool,
    /// Nothing is there but what the head names.
    is_swept: bool,
    /// The place of the head.
    at: Position,
    known: Known,
    present: Present,
    /// Told apart by this from what was there under another head: what is taken away never comes again.
    number: u64,
    /// A pack whose parts are not all there yet.
    unfinished: Option<(Vec<SnapshotRef>, Bytes)>,
}

impl Task {
    fn failed(&mut self, report: &Report) -> Duration {
        if let Some(there) = &mut self.there {
            there.is_stale = true;
        }
        if report.code == ErrorCode::Damaged {
            // It cannot be made of what is on the disk now: another one may.
            self.pending = None;
        }
        self.failures = self.failures.saturating_add(1);
        if self.forward.checkpoint.trouble(report.to_string()) {
            tracing::warn!(error = %report, "no checkpoint is forwarded: tried again later");
        }
        let (base_ms, most_ms) = self.forward.options.policy.pauses_ms;
        let longest = jitter::doubled(base_ms, self.failures, most_ms);
        Duration::from_millis(jitter::spread(longest, getrandom::u64().unwrap_or(0)))
    }

    async fn step(&mut self, journal: &Journal) -> Result<(), Report> {
        // Two histories of one journal are looked at by a person first.
        if self.forward.stored() == RecordSeq(0) {
            return Ok(());
        }
        self.look().await?;
        if let Some(standing) = self.forward.checkpoint.take() {
            self.pending = Some(Pending { standing, named: None });
        }
        let head = self.forward.checkpoint.head();
        let is_newer = |pending: &Pending| {
            head.as_ref().is_none_or(|head| pending.standing.checkpoint.through.0 > head.through)
        };
        let Some(pending) = self.pending.take().filter(is_newer) else {
            let (last, now_ms) = (RecordSeq(journal.last()), self.forward.now_ms());
            let grown = Grown { last, dropped: self.forward.dropped(), now_ms };
            if !self.forward.checkpoint.ask(grown) {
                self.sweep().await?;
            }
            return Ok(());
        };
        let Pending { standing, named } = self.pending.insert(pending);
        let Some(there) = &mut self.there else { return Ok(()) };
        let sending = Sending { forward: &self.forward, snapshots: &self.snapshots, there };
        let sent = match named.take() {
            Some(named) => named,
            None => sending.send(standing).await?,
        };
        // Nobody begins with snapshots that are ahead of the records that have arrived.
        if self.forward.stored() < standing.last {
            *named = Some(sent);
            return Ok(());
        }
        let through = standing.checkpoint.through;
        self.name(through, sent).await?;
        self.pending = None;
        Ok(())
    }

    /// Takes away what a host that died has left of a checkpoint that never came to count. Only when none is due: one
    /// that is goes on with it.
    async fn sweep(&mut self) -> Result<(), Report> {
        let Some(head) = self.forward.checkpoint.head() else { return Ok(()) };
        let Some(there) = self.there.as_mut().filter(|there| !there.is_swept) else { return Ok(()) };
        let mut stays: BTreeSet<String> = there.known.packs().map(|pack| pack.hex()).collect();
        stays.insert(head.document.hex());
        there.take_away_but(&stays, self.forward.options.policy.patience).await?;
        there.is_swept = true;
        Ok(())
    }

    /// What is in the lattice is known after this.
    async fn look(&mut self) -> Result<(), Report> {
        if self.there.as_ref().is_some_and(|there| !there.is_stale) {
            return Ok(());
        }
        let cells = Cells::open(&self.forward.options).await?;
        // One that cannot be read is replaced.
        let found = match cells.head().await {
            Err(report) if report.code == ErrorCode::Damaged => {
                tracing::error!(error = %report, "the forwarded checkpoint cannot be read: another one is sent");
                None
            }
            found => found?,
        };
        let at = match &found {
            Some((at, _)) => *at,
            None => cells.place().await?,
        };
        let mut head = found.map(|(_, head)| head);
        let mine = head.as_ref().filter(|head| head.incarnation == self.forward.incarnation);
        let number = mine.map_or(0, |head| number(&head.document));
        let present = cells.present().await?;
        // What was sent under this head is not read again.
        let before = self.there.take().filter(|there| there.number == number);
        let (known, unfinished) = match (before, mine) {
            (Some(before), _) => (Some(before.known), before.unfinished),
            (None, Some(head)) => (self.known(&cells, (head, &present)).await?, None),
            (None, None) => (Some(Known::default()), None),
        };
        if known.is_none() {
            head = None;
        }
        let known = known.unwrap_or_default();
        if let Some(pending) = &mut self.pending {
            pending.named = None;
        }
        let is_swept = false;
        self.there = Some(There { cells, is_stale: false, is_swept, at, known, present, number, unfinished });
        self.forward.checkpoint.counts(head);
        Ok(())
    }

    /// What a head leads to; none when that cannot be read.
    async fn known(
        &self,
        cells: &Cells,
        (head, present): (&Head, &Present),
    ) -> Result<Option<Known>, Report> {
        let read = async {
            let bytes = cells.get(&head.document, present).await?;
            let bound = bound_to(&self.forward.options.host);
            let content = Envelope::default().unwrap(&bound, &bytes, MAX_BYTES).map_err(damaged)?;
            Document::from_bytes(content.into()).map_err(Report::from)
        };
        match read.await {
            Ok(document) => Ok(Some(Known::of(&document))),
            Err(report) if report.code == ErrorCode::Damaged => {
                tracing::error!(error = %report, "the forwarded checkpoint cannot be read: all of it is sent anew");
                Ok(None)
            }
            Err(report) => Err(report),
        }
    }

    /// From now on it counts, and what no head names goes.
    async fn name(&mut self, through: RecordSeq, named: Named) -> Result<(), Report> {
        let patience = self.forward.options.policy.patience;
        let Some(there) = &mut self.there else { return Ok(()) };
        let Named { name, document, at_ms } = named;
        let (incarnation, dropped) = (self.forward.incarnation, self.forward.dropped());
        let head = Head { incarnation, through: through.0, at_ms, dropped, document: name };
        there.at = there.cells.put_head(there.at, (&head, patience)).await?;
        there.number = number(&name);
        there.known = Known::of(&document);
        tracing::info!(%through, actors = document.snapshots.len(), "a checkpoint is in the lattice");
        self.forward.checkpoint.counts(Some(head));
        let mut stays: BTreeSet<String> = document.packs.iter().map(|(pack, _)| pack.hex()).collect();
        stays.insert(name.hex());
        // What is not taken away now is with the next one.
        there.take_away_but(&stays, patience).await
    }
}

impl There {
    /// Takes away what is none of these.
    async fn take_away_but(&mut self, stays: &BTreeSet<String>, patience: Duration) -> Result<(), Report> {
        for cell in self.present.others(stays) {
            self.cells.clear(&cell, patience).await?;
            self.present.gone(&cell);
        }
        Ok(())
    }
}

/// One attempt.
struct Sending<'a> {
    forward: &'a Forward,
    snapshots: &'a Arc<SnapshotStore>,
    there: &'a mut There,
}

impl Sending<'_> {
    /// Sends what is missing, and the document last.
    async fn send(self, standing: &Standing) -> Result<Named, Report> {
        let Self { forward, snapshots: store, there } = self;
        let patience = forward.options.policy.patience;
        let bound = bound_to(&forward.options.host);
        let plan = there.known.plan(&standing.list, |pack| there.present.is_whole(pack));
        let mut missing = plan.missing.as_slice();
        while !missing.is_empty() {
            let (snapshots, bytes) = match there.unfinished.take() {
                Some(unfinished) => unfinished,
                None => {
                    let work = Packing {
                        wanted: missing.iter().take(PACK_SNAPSHOTS).cloned().collect(),
                        last: standing.last,
                        epoch: standing.checkpoint.epoch,
                        number: there.number,
                        bound: bound.clone(),
                    };
                    let store = Arc::clone(store);
                    blocking(move || work.pack(&store)).await?
                }
            };
            there.unfinished = Some((snapshots.clone(), bytes.clone()));
            let pack = there.cells.put(&bytes, (&mut there.present, patience)).await?;
            there.unfinished = None;
            there.known.written(pack, &snapshots);
            // What was unfinished may be of an earlier attempt, in other company.
            let is_in =
                |one: &&SnapshotRef| snapshots.iter().any(|done| done.key == one.key && done.seq >= one.seq);
            let done = missing.iter().take_while(is_in).count();
            missing = missing.get(done..).unwrap_or_default();
        }
        let at_ms = forward.now_ms();
        let stands = (&standing.checkpoint, Position(standing.last.0), at_ms);
        let document = plan::document(stands, standing.timers.clone(), (&plan, &there.known));
        let content = document.to_bytes();
        // It names actors, hashes and timers, as the journal does, which is not encrypted either.
        let wrapped = blocking(move || Ok(Envelope::default().wrap(&bound, &content)?)).await?;
        let name = there.cells.put(&wrapped.into(), (&mut there.present, patience)).await?;
        Ok(Named { name, document, at_ms })
    }
}

/// A document that is there.
struct Named {
    name: Digest,
    document: Document,
    at_ms: u64,
}

fn number(document: &Digest) -> u64 {
    document.as_bytes().first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// A pack to be made of snapshots on the disk.
struct Packing {
    wanted: Vec<SnapshotRef>,
    last: RecordSeq,
    epoch: Epoch,
    number: u64,
    bound: String,
}

impl Packing {
    /// The first of them, as many as go together; at least one.
    fn pack(self, store: &SnapshotStore) -> Result<(Vec<SnapshotRef>, Bytes), Report> {
        let (mut packed, mut snapshots, mut bytes) = (Vec::new(), Vec::new(), 0);
        for wanted in &self.wanted {
            if bytes >= PACK_BYTES {
                break;
            }
            let (reference, content) = self.load(store, wanted)?;
            bytes += content.len();
            packed.push(reference);
            snapshots.push(content);
        }
        let pack = Pack { shard: SHARD, epoch: self.epoch, number: self.number, snapshots };
        let wrapped = store.envelope().wrap(&self.bound, &pack.to_bytes())?;
        Ok((packed, wrapped.into()))
    }

    /// This one, or a newer one.
    fn load(&self, store: &SnapshotStore, wanted: &SnapshotRef) -> Result<(SnapshotRef, Bytes), Report> {
        let mut reason = None;
        for stored in store.list(&wanted.key)?.into_iter().filter(|stored| stored.sequence >= wanted.seq.0) {
            let read = || -> Result<_, Report> {
                let bytes = Bytes::from(store.load(&wanted.key, &stored)?);
                let (snapshot, hash) = Snapshot::open(bytes.clone())?;
                snapshot.check(&wanted.key, SHARD, self.last)?;
                Ok((snapshot.reference(hash), bytes))
            };
            match read() {
                Ok(found) => return Ok(found),
                Err(report) => reason = Some(report),
            }
        }
        let reason = reason.map_or_else(|| "it is not on the disk".to_owned(), |report| report.to_string());
        Err(damaged(format!("no snapshot of an actor: {reason}"))
            .at(&wanted.key)
            .limit(format!("commit {}", wanted.seq)))
    }
}
