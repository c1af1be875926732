//! Blobs in cells: bytes under their SHA-256, cut into parts of a size that a bad uplink takes, each part a message of
//! its own. One part is on its way at a time; what is there is not sent again, so that what was cut off goes on
//! where it was.

use super::{Head, damaged, head_lane};
use crate::forward::{ForwardOptions, ForwardPolicy};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use keys::Digest;
use lattice_io::{Lane, Lanes};
use lattice_journal::Position;
use lattice_journal::append::AppendOutcome;
use lattice_protocol::subject::{DeviceCell, Subjects};
use lattice_protocol::{ErrorCode, HostId, Report};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of one part.
const PART_BYTES: usize = 64 << 10;
/// Parts that are read at once.
const AT_ONCE: usize = 8;

/// What a host has beside its journal.
pub(super) struct Cells {
    lanes: Arc<dyn Lanes>,
    head: Arc<dyn Lane>,
    subjects: Subjects,
    host: HostId,
}

/// The parts that are there.
#[derive(Debug, Clone, Default)]
pub(super) struct Present(BTreeSet<DeviceCell>);

impl Present {
    /// Is every part of it there?
    pub(super) fn is_whole(&self, blob: &Digest) -> bool {
        self.parts(blob).is_some_and(|of| (0..of).all(|part| self.0.contains(&cell(blob, (part, of)))))
    }

    fn parts(&self, blob: &Digest) -> Option<u32> {
        let hex = blob.hex();
        let first = DeviceCell { blob: hex.clone(), part: 0, of: 0 };
        self.0.range(first..).next().filter(|cell| cell.blob == hex).map(|cell| cell.of)
    }

    /// It was taken away.
    pub(super) fn gone(&mut self, cell: &DeviceCell) {
        self.0.remove(cell);
    }

    /// The parts of what is none of these.
    pub(super) fn others(&self, named: &BTreeSet<String>) -> Vec<DeviceCell> {
        self.0.iter().filter(|cell| !named.contains(&cell.blob)).cloned().collect()
    }
}

fn cell(blob: &Digest, (part, of): (u32, u32)) -> DeviceCell {
    DeviceCell { blob: blob.hex(), part, of }
}

impl Cells {
    /// Makes the stream if it is not there.
    pub(super) async fn open(options: &ForwardOptions) -> Result<Self, Report> {
        let lanes = Arc::clone(&options.lattice.lanes);
        let head = lanes.open(head_lane(&options.subjects, &options.host, &options.policy)).await?;
        Ok(Self { lanes, head, subjects: options.subjects.clone(), host: options.host.clone() })
    }

    /// Makes nothing; none without the stream.
    pub(super) async fn find(
        lanes: &Arc<dyn Lanes>,
        subjects: &Subjects,
        host: &HostId,
    ) -> Result<Option<Self>, Report> {
        let found = lanes.find(head_lane(subjects, host, &ForwardPolicy::default())).await?;
        let (lanes, subjects, host) = (Arc::clone(lanes), subjects.clone(), host.clone());
        Ok(found.map(|head| Self { lanes, head, subjects, host }))
    }

    /// The head, and its place.
    pub(super) async fn head(&self) -> Result<Option<(Position, Head)>, Report> {
        let found = self.head.last().await?.filter(|(_, bytes)| !bytes.is_empty());
        found
            .map(|(at, bytes)| Ok((at, Head::from_bytes(&bytes).map_err(|report| report.at(&self.host))?)))
            .transpose()
    }

    /// Puts a head in the place of the one that is there.
    pub(super) async fn put_head(
        &self,
        expected: Position,
        (head, patience): (&Head, Duration),
    ) -> Result<Position, Report> {
        let id = format!("{}.{}.{}", self.host, head.document, expected);
        match self.head.append(expected, &id, head.to_bytes()?, patience).await? {
            AppendOutcome::Stored(at) => Ok(at),
            AppendOutcome::Conflict | AppendOutcome::Unknown => Err(unclear("which checkpoint counts")),
        }
    }

    /// The place of whatever is in the head's cell, for one that cannot be read.
    pub(super) async fn place(&self) -> Result<Position, Report> {
        Ok(self.head.last().await?.map_or(Position(0), |(at, _)| at))
    }

    pub(super) async fn present(&self) -> Result<Present, Report> {
        let (stream, cells) = (self.subjects.device_state_stream(), self.subjects.device_cells(&self.host));
        let found = self.lanes.list(&stream, &cells).await?;
        let cell = |lane: lattice_io::LaneInfo| self.subjects.parse_device_cell(&self.host, &lane.subject);
        Ok(Present(found.into_iter().filter_map(cell).collect()))
    }

    fn lane(&self, cell: &DeviceCell) -> Result<Arc<dyn Lane>, Report> {
        Ok(self.head.beside(&self.subjects.device_cell(&self.host, cell))?)
    }

    /// Stores a blob, what of it is not there yet.
    pub(super) async fn put(
        &self,
        bytes: &Bytes,
        (present, patience): (&mut Present, Duration),
    ) -> Result<Digest, Report> {
        let name = Digest::of(bytes);
        let of = u32::try_from(bytes.len().div_ceil(PART_BYTES)).unwrap_or(u32::MAX);
        for part in 0..of {
            let cell = cell(&name, (part, of));
            if present.0.contains(&cell) {
                continue;
            }
            let begin = usize::try_from(part).unwrap_or(usize::MAX).saturating_mul(PART_BYTES);
            let end = bytes.len().min(begin.saturating_add(PART_BYTES));
            self.put_part(&cell, bytes.slice(begin..end), patience).await?;
            present.0.insert(cell);
        }
        Ok(name)
    }

    async fn put_part(&self, cell: &DeviceCell, bytes: Bytes, patience: Duration) -> Result<(), Report> {
        let lane = self.lane(cell)?;
        let mut expected = Position(0);
        loop {
            // What was taken away may come again: an id for each attempt.
            let id =
                format!("{}.{}.{}.{:016x}", self.host, cell.blob, cell.part, getrandom::u64().unwrap_or(0));
            match lane.append(expected, &id, bytes.clone(), patience).await? {
                AppendOutcome::Stored(_) => return Ok(()),
                AppendOutcome::Unknown => return Err(unclear("a part of a checkpoint")),
                AppendOutcome::Conflict => match lane.last().await? {
                    Some((_, there)) if there == bytes => return Ok(()),
                    // What is left of one that was taken away, or half of something else.
                    Some((at, _)) if at != expected => expected = at,
                    _ => return Err(unclear("a part of a checkpoint")),
                },
            }
        }
    }

    /// A blob, which is what its name says.
    pub(super) async fn get(&self, blob: &Digest, present: &Present) -> Result<Bytes, Report> {
        let bad = |what: String| damaged(what).at(&self.host).got(blob);
        let of = present.parts(blob).ok_or_else(|| bad("a part of it is missing: all".to_owned()))?;
        let reading = (0..of).map(|part| async move {
            let lane = self.lane(&cell(blob, (part, of)))?;
            let found = lane.last().await?.map(|(_, bytes)| bytes).filter(|bytes| !bytes.is_empty());
            found.ok_or_else(|| bad(format!("a part of it is missing: {} of {of}", part + 1)))
        });
        let mut parts = futures::stream::iter(reading).buffered(AT_ONCE);
        let mut whole = Vec::new();
        while let Some(part) = parts.try_next().await? {
            whole.extend_from_slice(&part);
        }
        let got = Digest::of(&whole);
        if got != *blob {
            return Err(bad("bytes that do not have their digest".to_owned()));
        }
        Ok(whole.into())
    }

    /// Takes a part away.
    pub(super) async fn clear(&self, cell: &DeviceCell, patience: Duration) -> Result<(), Report> {
        Ok(self.lane(cell)?.clear(patience).await?)
    }
}

fn unclear(what: &str) -> Report {
    Report::new(
        ErrorCode::Timeout,
        format!("forwarded checkpoint: it is not known whether {what} was stored"),
    )
    .hint("it is tried again")
}
