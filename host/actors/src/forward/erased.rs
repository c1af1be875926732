//! What an administrator has erased of a host's forwarded journal: said beside it, before anything goes, so that who
//! reads it tells what was erased from what is damaged. No host can write it.

use super::ForwardPolicy;
use super::checkpoint::head_lane;
use super::frame::Incarnation;
use bytes::Bytes;
use host_store::Envelope;
use lattice_io::{Lane, LaneOptions, Lanes};
use lattice_journal::append::AppendOutcome;
use lattice_journal::{Position, RecordSeq};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{ErrorCode, HostId, Report};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Largest when it is packed, bytes: it is one message.
const MAX_BYTES: usize = 512 << 10;
const MAX_UNPACKED: usize = 32 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// Records that went together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Range {
    /// Of which journal.
    pub incarnation: Incarnation,
    /// The first record.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// All that was erased, in order; neighbours are one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    ranges: Vec<Range>,
}

impl Erased {
    /// These as well.
    pub fn add(&mut self, ranges: impl IntoIterator<Item = Range>) {
        self.ranges.extend(ranges);
        self.ranges.sort_unstable();
        let mut merged: Vec<Range> = Vec::with_capacity(self.ranges.len());
        for range in self.ranges.drain(..) {
            match merged.last_mut() {
                Some(last)
                    if last.incarnation == range.incarnation
                        && range.first <= last.last.saturating_add(1) =>
                {
                    last.last = last.last.max(range.last);
                }
                _ => merged.push(range),
            }
        }
        self.ranges = merged;
    }

    /// Was every record from the first to the last erased, of one or the other of these journals?
    #[must_use]
    pub fn covers(&self, of: &[Incarnation], (first, last): (RecordSeq, RecordSeq)) -> bool {
        let mut ranges: Vec<&Range> =
            self.ranges.iter().filter(|range| of.contains(&range.incarnation)).collect();
        ranges.sort_unstable_by_key(|range| range.first);
        let mut due = first.0;
        for range in ranges.into_iter().filter(|range| range.last >= first.0) {
            if range.first > due {
                break;
            }
            due = due.max(range.last.saturating_add(1));
        }
        due > last.0
    }

    fn to_bytes(&self, bound: &str) -> Result<Bytes, Report> {
        let json = serde_json::to_vec(self).map_err(|error| malformed(error.to_string()))?;
        Ok(Envelope::default().wrap(bound, &json)?.into())
    }

    fn from_bytes(bound: &str, bytes: &[u8]) -> Result<Self, Report> {
        let json = Envelope::default().unwrap(bound, bytes, MAX_UNPACKED).map_err(malformed)?;
        serde_json::from_slice(&json).map_err(|error| malformed(error.to_string()))
    }
}

fn malformed(what: String) -> Report {
    Report::new(ErrorCode::Malformed, format!("what was erased of a forwarded journal: {what}"))
        .hint("restore the stream from a copy")
}

fn bound_to(host: &HostId) -> String {
    format!("erased of {host}")
}

fn lane(subjects: &Subjects, host: &HostId) -> LaneOptions {
    LaneOptions {
        subject: subjects.device_erased(host),
        ..head_lane(subjects, host, &ForwardPolicy::default())
    }
}

/// What was erased of a host's journal.
///
/// # Errors
/// What the lattice says; `E_MALFORMED`.
pub async fn read(lanes: &dyn Lanes, subjects: &Subjects, host: &HostId) -> Result<Erased, Report> {
    match lanes.find(lane(subjects, host)).await? {
        None => Ok(Erased::default()),
        Some(lane) => Ok(of(&*lane, host).await?.1),
    }
}

async fn of(lane: &dyn Lane, host: &HostId) -> Result<(Position, Erased), Report> {
    match lane.last().await? {
        None => Ok((Position(0), Erased::default())),
        Some((at, bytes)) => Ok((at, Erased::from_bytes(&bound_to(host), &bytes)?)),
    }
}

/// Says that these are erased, from now on.
pub(super) async fn add(
    lanes: &dyn Lanes,
    subjects: &Subjects,
    (host, ranges): (&HostId, &[Range]),
) -> Result<(), Report> {
    let lane: Arc<dyn Lane> = lanes.open(lane(subjects, host)).await?;
    loop {
        let (at, mut erased) = of(&*lane, host).await?;
        erased.add(ranges.iter().copied());
        let bytes = erased.to_bytes(&bound_to(host))?;
        if bytes.len() > MAX_BYTES {
            return Err(Report::new(ErrorCode::Limit, "too many parts of a forwarded journal were erased")
                .at(host)
                .got(format!("{} bytes", bytes.len()))
                .limit(format!("{MAX_BYTES} bytes"))
                .hint(
                    "purge its older part: nats stream purge --subject --seq (docs/persistent-actors.md)",
                ));
        }
        let id = format!("{host}.erased.{:016x}", getrandom::u64().unwrap_or(0));
        match lane.append(at, &id, bytes, PATIENCE).await? {
            AppendOutcome::Stored(_) => return Ok(()),
            // Somebody else erases, too.
            AppendOutcome::Conflict => {}
            AppendOutcome::Unknown => {
                return Err(Report::new(ErrorCode::Timeout, "it is not known whether the erasure was noted")
                    .at(host)
                    .hint("nothing is erased yet: say it again"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Incarnation = Incarnation([1; 8]);
    const OTHER: Incarnation = Incarnation([2; 8]);

    fn range(incarnation: Incarnation, first: u64, last: u64) -> Range {
        Range { incarnation, first, last }
    }

    #[test]
    fn neighbours_are_one_and_what_is_not_all_covered_is_not() {
        let mut erased = Erased::default();
        erased.add([range(ONE, 5, 9), range(ONE, 1, 4), range(OTHER, 11, 12), range(ONE, 20, 21)]);
        erased.add([range(ONE, 9, 10)]);
        assert_eq!(erased.ranges, [range(ONE, 1, 10), range(ONE, 20, 21), range(OTHER, 11, 12)]);
        let covers = |of: &[Incarnation], first, last| erased.covers(of, (RecordSeq(first), RecordSeq(last)));
        assert!(covers(&[ONE], 1, 10) && covers(&[ONE], 3, 4) && covers(&[ONE], 20, 21));
        assert!(covers(&[ONE, OTHER], 2, 12) && covers(&[OTHER, ONE], 9, 11));
        for (of, first, last) in [
            (&[ONE][..], 1, 11),
            (&[ONE], 10, 20),
            (&[OTHER], 10, 12),
            (&[OTHER], 1, 2),
            (&[], 1, 1),
            (&[ONE, OTHER], 12, 20),
        ] {
            assert!(!covers(of, first, last), "{of:?} {first} {last}");
        }
        assert!(!Erased::default().covers(&[ONE], (RecordSeq(1), RecordSeq(1))));
    }

    #[test]
    fn it_reads_back_for_its_host_and_many_ranges_are_small() {
        let mut erased = Erased::default();
        erased.add((0..10_000).map(|n| range(ONE, n * 7 + 1, n * 7 + 3)));
        let bytes = erased.to_bytes("a").unwrap();
        assert!(bytes.len() < MAX_BYTES, "{}", bytes.len());
        assert_eq!(Erased::from_bytes("a", &bytes).unwrap(), erased);
        assert_eq!(Erased::from_bytes("a", &bytes[1..]).unwrap_err().code, ErrorCode::Malformed);
    }
}
