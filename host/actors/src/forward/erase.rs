//! Erasing what a deleted actor had done from a host's forwarded journal: an act of an administrator, because no host
//! may take anything out of the stream.
//!
//! A message has the records of many actors, and each record follows from the one before by its hash: nothing can be
//! taken out of a record, and nothing put in its place. So whole messages go, those that have any commit of the actor
//! but its tombstone, overwritten where they were stored; and with them what others did in the same messages. That
//! others lose history by it and no state is what makes it right: a checkpoint that was forwarded stands for all of
//! it, or nothing is erased.
//!
//! ```text
//! read all ─▶ is it deleted? does a checkpoint stand for it? ─▶ say what goes ─▶ erase, oldest first
//!                 └ no: refused, nothing has changed              └ cut off here, it is said again and goes on
//! ```
//! Invariants: what goes is said before it goes ([`super::erased`]), so that a gap is never taken for damage; the
//! last message of a journal stays, because it tells its host how far it has come: else the host would send it again.

use super::ForwardPolicy;
use super::checkpoint::read::{self as standing, Standing};
use super::copy::{self, Copy};
use super::erased::{self, Range};
use super::frame::{Entry, Frame, Incarnation};
use super::lane;
use host_store::Envelope;
use lattice_io::Lattice;
use lattice_journal::{Position, RecordSeq, Sealed};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{EntityKey, ErrorCode, HostId, Report};

/// What was erased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erasure {
    /// Messages; 0 when nothing of the actor was there any more.
    pub messages: u64,
    /// Records in them, of whichever actors.
    pub records: u64,
}

/// A message with commits of the actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    at: Position,
    range: Range,
    records: u64,
}

/// What pass one has found.
#[derive(Default)]
struct Reading {
    found: Vec<Found>,
    /// The life that has its last tombstone.
    tombstone: Option<usize>,
}

impl Reading {
    /// One message, after the copy has taken it.
    fn take(&mut self, (at, life): (Position, usize), frame: &Frame, key: &EntityKey) -> Result<(), Report> {
        let (mut first, mut last, mut records, mut any) = (None, RecordSeq(0), 0, false);
        for entry in &frame.entries {
            match entry {
                Entry::Gap(gap) => first = first.or(Some(gap.first)),
                Entry::Record(bytes) => {
                    let sealed = Sealed::open(bytes.clone())?;
                    let record = sealed.record();
                    (first, last, records) = (first.or(Some(record.seq)), record.seq, records + 1);
                    for commit in record.commits().iter().filter(|commit| commit.key == *key) {
                        if commit.is_tombstone() {
                            self.tombstone = Some(life);
                        } else {
                            any = true;
                        }
                    }
                }
            }
        }
        if let Some(first) = first.filter(|_| any) {
            let range = Range { incarnation: frame.incarnation, first: first.0, last: last.0 };
            self.found.push(Found { at, range, records });
        }
        Ok(())
    }
}

/// Erases what an actor had done before it was deleted.
///
/// # Errors
/// `E_NOT_FOUND`: nothing of this host has been forwarded. `E_CONFLICT`: the actor is not deleted, or no checkpoint
/// stands yet for what would go. `E_DAMAGED`: what was forwarded does not hang together. In all of them nothing is
/// changed. What the lattice says: said again, it goes on.
pub async fn erase(
    lattice: &Lattice,
    subjects: &Subjects,
    (host, key): (&HostId, &EntityKey),
) -> Result<Erasure, Report> {
    let mut reading = Reading::default();
    let copy = copy::read_messages(&*lattice.lanes, subjects, host, &mut |copy, at, message| {
        copy.take(at, message, &mut |_, _| {})?;
        reading.take((at, copy.lives.len().saturating_sub(1)), &Frame::decode(message)?, key)
    })
    .await?;
    let standing = standing::read(&lattice.lanes, subjects, (host, Envelope::default())).await?;
    check(&copy, &reading, (host, key), standing.as_ref())?;
    if reading.found.is_empty() {
        return Ok(Erasure::default());
    }
    let ranges: Vec<Range> = reading.found.iter().map(|found| found.range).collect();
    erased::add(&*lattice.lanes, subjects, (host, &ranges)).await?;
    let options = lane(subjects, host, &ForwardPolicy::default());
    let gone = || Report::new(ErrorCode::NotFound, "the forwarded journal has gone").at(host);
    let lane = lattice.lanes.find(options).await?.ok_or_else(gone)?;
    let mut erasure = Erasure::default();
    for found in &reading.found {
        if lane.erase(found.at).await.map_err(|error| not_erased(Report::from(error), host))? {
            erasure.messages += 1;
            erasure.records += found.records;
        }
    }
    Ok(erasure)
}

fn not_erased(report: Report, host: &HostId) -> Report {
    let hint = "what was erased before this stays so: say it again when that is mended; a stream that was made by a version \
                before this one takes no erasure: purge its older part (docs/persistent-actors.md)";
    report.at(host).hint(hint)
}

/// May it be erased?
fn check(
    copy: &Copy,
    reading: &Reading,
    (host, key): (&HostId, &EntityKey),
    standing: Option<&Standing>,
) -> Result<(), Report> {
    let refused =
        |what: &str| Report::new(ErrorCode::Conflict, what.to_owned()).at(key).got(format!("host {host}"));
    let Some(newest) = copy.newest() else { return Ok(()) };
    let here = copy.lives.len().saturating_sub(1);
    let mine = standing.filter(|standing| newest.incarnations.contains(&standing.head.incarnation));
    let is_buried = mine.is_some_and(|standing| standing.buried(key).is_some());
    let is_deleted = is_buried || reading.tombstone == Some(here);
    if !is_deleted {
        // It may have been deleted in a journal before this one, and be there again.
        let what = "the actor is not deleted, as far as this host's journal has arrived";
        return Err(refused(what)
            .hint(format!("delete it first: trellis actor delete {key}; what of it is alive stays")));
    }
    let Some(last) = reading.found.last() else { return Ok(()) };
    if last.at == copy.at {
        let what =
            "the newest message of the host's journal has some of it, and says how far the journal has come";
        return Err(refused(what)
            .hint("try again when the host has done anything more: any command to any of its actors"));
    }
    let of_newest = |found: &&Found| is_of(&newest.incarnations, found);
    let needed =
        reading.found.iter().filter(of_newest).map(|found| found.range.last).max().unwrap_or_default();
    let through = mine.map_or(0, |standing| standing.through().0);
    if needed > 0 && (through < needed || !is_buried) {
        let what = "the host has not forwarded a checkpoint yet that stands for what would go: others would lose their state";
        return Err(refused(what)
            .limit(format!("a checkpoint through record {needed}; there is one through {through}"))
            .hint("it forwards one soon after a deletion, when it reaches the lattice: see trellis actor forwarded, and try again"));
    }
    Ok(())
}

fn is_of(incarnations: &[Incarnation], found: &Found) -> bool {
    incarnations.contains(&found.range.incarnation)
}
