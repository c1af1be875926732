//! From files to a journal. Everything is checked before anything is changed.
//!
//! What is there: `journal` (log id, first position kept), `segment-<number>` in use, `spare-<n>`
//! to be used again. Numbers of segments are dense; positions run on from one to the next. Only the
//! last may end in a torn frame: a later segment proves that everything before it was on disk.

use super::error::JournalError;
use super::files::Files;
use super::frame::{LogId, Seal};
use super::{JournalOptions, Shared};
use crate::record;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(super) const META: &str = "journal";
const SEGMENT: &str = "segment-";
pub(super) const SPARE: &str = "spare-";

pub(super) fn segment_name(number: u64) -> String {
    format!("{SEGMENT}{number:016}")
}

/// A last write that a crash has cut short. It was never acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// In which file.
    pub file: String,
    /// Where it began, bytes from the beginning of the file.
    pub offset: u64,
}

/// What opening has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The first position kept; one more than the last when there is none.
    pub first: u64,
    /// The last position; 0 for none.
    pub last: u64,
    /// What was cut off the end.
    pub torn: Option<TornTail>,
}

/// What must survive beside the segments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) log: LogId,
    /// Entries before this one may be gone.
    pub(super) first: u64,
}

impl Meta {
    pub(super) fn save(&self, files: &dyn Files) -> Result<(), JournalError> {
        let payload = serde_json::to_vec(self);
        let payload = payload.map_err(|error| JournalError::io("encode", META, error.into()))?;
        let sealed = record::seal(META, &payload);
        files.replace(META, &sealed).map_err(|error| JournalError::io("write", META, error))
    }
    fn load(files: &dyn Files) -> Result<Self, JournalError> {
        let content = read_file(files, META)?;
        let payload = record::unseal(META, &content).map_err(|what| JournalError::damaged(META, 0, what))?;
        serde_json::from_slice(payload).map_err(|error| JournalError::damaged(META, 0, error.to_string()))
    }
}

/// What the writer goes on with.
#[derive(Debug)]
pub(super) struct State {
    pub(super) meta: Meta,
    /// In use, oldest first: number and first position.
    pub(super) segments: Vec<(u64, u64)>,
    pub(super) spares: Vec<String>,
    /// Where the last segment goes on; none when there is no segment.
    pub(super) offset: Option<u64>,
    pub(super) next: u64,
    pub(super) next_segment: u64,
}

fn read_file(files: &dyn Files, name: &str) -> Result<Vec<u8>, JournalError> {
    let read = files.open(name).and_then(|file| file.read());
    read.map_err(|error| JournalError::io("read", name, error))
}

pub(super) fn open(
    files: &Arc<dyn Files>,
    options: &JournalOptions,
    visit: &mut dyn FnMut(u64, Bytes),
) -> Result<(State, Recovered), JournalError> {
    let files = files.as_ref();
    let names = files.list().map_err(|error| JournalError::io("list", "directory", error))?;
    for name in names.iter().filter(|name| name.ends_with(crate::atomic::TEMPORARY)) {
        files.remove(name).map_err(|error| JournalError::io("remove", name, error))?;
    }
    let numbers = segment_numbers(&names);
    let spares =
        names.iter().filter(|name| name.starts_with(SPARE) && !name.ends_with(crate::atomic::TEMPORARY));
    let spares: Vec<String> = spares.cloned().collect();
    let meta = match names.iter().any(|name| name == META) {
        true => Meta::load(files)?,
        false if numbers.is_empty() => begin(files, 1)?,
        false => return Err(JournalError::damaged(META, 0, "missing, and there are segments")),
    };
    let mut scan = Scan { files, meta: &meta, segments: Vec::new(), next: None, visit };
    let (mut last, mut end) = (None, None);
    for (index, number) in numbers.iter().enumerate() {
        let is_last = index + 1 == numbers.len();
        let (content, found) = scan.segment(*number, is_last)?;
        if is_last {
            (last, end) = (Some((*number, content)), Some(found));
        }
    }
    let next = scan.next.unwrap_or(meta.first);
    if next < meta.first {
        let what = format!("entries {next} to {} are missing", meta.first - 1);
        return Err(JournalError::damaged(META, 0, what));
    }
    let segments = scan.segments;
    let torn = last.as_ref().zip(end).filter(|(_, end)| end.begun);
    let torn =
        torn.map(|((number, _), end)| TornTail { file: segment_name(*number), offset: end.offset as u64 });
    if let Some(((number, content), end)) = last.zip(end) {
        write_again(files, number, &content, end.offset)?;
    }
    let recovered = Recovered { first: meta.first.min(next), last: next - 1, torn };
    let next_segment = numbers.last().map_or(1, |last| last + 1);
    let offset = end.map(|end| end.offset as u64);
    let mut state = State { meta, segments, spares, offset, next, next_segment };
    state.spares.truncate(options.max_segments);
    Ok((state, recovered))
}

pub(super) fn begin(files: &dyn Files, first: u64) -> Result<Meta, JournalError> {
    let mut log = LogId::default();
    getrandom::fill(&mut log)
        .map_err(|error| JournalError::io("make", META, std::io::Error::other(error.to_string())))?;
    let meta = Meta { log, first };
    meta.save(files)?;
    Ok(meta)
}

fn segment_numbers(names: &[String]) -> Vec<u64> {
    let numbers = names.iter().filter_map(|name| name.strip_prefix(SEGMENT)?.parse().ok());
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    numbers
}

/// After a failed sync the page cache may show what the disk never got; what was accepted just now
/// is written once more, so that it is really there before anybody relies on it.
fn write_again(files: &dyn Files, number: u64, content: &Bytes, end: usize) -> Result<(), JournalError> {
    let name = segment_name(number);
    let accepted = content.get(..end).unwrap_or_default();
    let written = files.open(&name).and_then(|file| {
        file.write_at(accepted, 0)?;
        file.sync()
    });
    written.map_err(|error| JournalError::io("write", name, error))
}

struct Scan<'a> {
    files: &'a dyn Files,
    meta: &'a Meta,
    segments: Vec<(u64, u64)>,
    /// The position that the next segment must begin with.
    next: Option<u64>,
    visit: &'a mut dyn FnMut(u64, Bytes),
}

impl Scan<'_> {
    fn segment(&mut self, number: u64, is_last: bool) -> Result<(Bytes, super::frame::End), JournalError> {
        let name = segment_name(number);
        let damaged = |offset: usize, what: &str| JournalError::damaged(&name, offset as u64, what);
        if let Some((before, _)) = self.segments.last().filter(|(before, _)| before + 1 != number) {
            return Err(damaged(0, &format!("the segment before it, {}, is missing", before + 1)));
        }
        let content = Bytes::from(read_file(self.files, &name)?);
        let seal = Seal::new(&self.meta.log, number);
        let first = seal.read_header(&self.meta.log, number, &content);
        let first = first.ok_or_else(|| damaged(0, "not the header that was written"))?;
        if self.next.is_some_and(|next| next != first) || (self.next.is_none() && first > self.meta.first) {
            let due = self.next.unwrap_or(self.meta.first);
            return Err(damaged(0, &format!("begins with entry {first} where {due} is due")));
        }
        let kept = self.meta.first;
        let visit = &mut *self.visit;
        let end = seal.scan(&content, first, &mut |position, entry| {
            if position >= kept {
                visit(position, entry);
            }
        });
        let end = end.map_err(|(offset, what)| damaged(offset, what))?;
        if !is_last && end.begun {
            return Err(damaged(end.offset, "not what was written, and a later segment follows"));
        }
        self.segments.push((number, first));
        self.next = Some(end.next);
        Ok((content, end))
    }
}

/// See [`super::Journal::read`].
pub(super) fn read(shared: &Shared, from: u64, most: usize) -> Result<Vec<(u64, Bytes)>, JournalError> {
    let durable = shared.durable.load(Ordering::Acquire);
    let first = shared.first.load(Ordering::Acquire);
    if from < first {
        return Err(JournalError::Trimmed { wanted: from, first });
    }
    let segments = shared.segments().clone();
    let begin = segments.iter().rposition(|(_, first)| *first <= from).unwrap_or_default();
    let mut entries = Vec::new();
    for (index, (number, first)) in segments.iter().enumerate().skip(begin) {
        if entries.len() >= most || *first > durable {
            break;
        }
        let next = segments.get(index + 1).map_or(u64::MAX, |(_, next)| *next);
        let range = (*first, durable.min(next.saturating_sub(1)));
        read_segment(shared, *number, range, &mut |position, entry| {
            if position >= from && entries.len() < most {
                entries.push((position, entry));
            }
        })?;
    }
    // Trimmed while it was read: the gap is told, not passed on.
    let whole = entries.first().map_or(from > durable || most == 0, |(position, _)| *position == from);
    if whole { Ok(entries) } else { Err(trimmed(shared, from)) }
}

/// See [`super::Journal::read_at`].
pub(super) fn read_at(shared: &Shared, positions: &[u64]) -> Result<Vec<(u64, Bytes)>, JournalError> {
    let durable = shared.durable.load(Ordering::Acquire);
    let first = shared.first.load(Ordering::Acquire);
    if let Some(wanted) = positions.first().copied().filter(|wanted| *wanted < first) {
        return Err(JournalError::Trimmed { wanted, first });
    }
    let segments = shared.segments().clone();
    let mut entries = Vec::with_capacity(positions.len());
    for (index, (number, first)) in segments.iter().enumerate() {
        let next = segments.get(index + 1).map_or(u64::MAX, |(_, next)| *next);
        let last = durable.min(next.saturating_sub(1));
        let from = positions.partition_point(|position| position < first);
        let to = positions.partition_point(|position| *position <= last);
        let Some(mut wanted) = positions.get(from..to).filter(|wanted| !wanted.is_empty()) else { continue };
        let end = wanted.last().copied().unwrap_or(last);
        read_segment(shared, *number, (*first, end), &mut |position, entry| {
            if let Some((next, rest)) = wanted.split_first()
                && *next == position
            {
                entries.push((position, Bytes::copy_from_slice(&entry)));
                wanted = rest;
            }
        })?;
    }
    if entries.len() == positions.len() {
        return Ok(entries);
    }
    let found = |index: usize| entries.get(index).map(|(at, _)| *at);
    let missing = positions.iter().enumerate().find(|(index, position)| found(*index) != Some(**position));
    let wanted = missing.map_or(0, |(_, position)| *position);
    // Trimmed meanwhile, or never there.
    if wanted < shared.first.load(Ordering::Acquire) {
        return Err(trimmed(shared, wanted));
    }
    Err(JournalError::damaged("journal", 0, format!("entry {wanted} is not there (last {durable})")))
}

/// See [`super::Journal::read_on`].
pub(super) fn read_on(shared: &Shared, from: u64) -> Result<Vec<(u64, Bytes)>, JournalError> {
    let durable = shared.durable.load(Ordering::Acquire);
    let first = shared.first.load(Ordering::Acquire);
    if from < first {
        return Err(JournalError::Trimmed { wanted: from, first });
    }
    let segments = shared.segments().clone();
    let at = segments.iter().rposition(|(_, first)| *first <= from);
    let Some((number, begins)) = at.and_then(|at| segments.get(at)).filter(|_| from <= durable) else {
        return Ok(Vec::new());
    };
    let next = at.and_then(|at| segments.get(at + 1)).map_or(u64::MAX, |(_, next)| *next);
    let mut entries = Vec::new();
    read_segment(shared, *number, (*begins, durable.min(next.saturating_sub(1))), &mut |position, entry| {
        if position >= from {
            entries.push((position, entry));
        }
    })?;
    Ok(entries)
}

fn trimmed(shared: &Shared, wanted: u64) -> JournalError {
    JournalError::Trimmed { wanted, first: shared.first.load(Ordering::Acquire) }
}

/// Visits the entries of a segment up to the last that is on disk. What the writer is adding behind
/// it meanwhile may be seen in part, and is not looked at.
fn read_segment(
    shared: &Shared,
    number: u64,
    (first, last): (u64, u64),
    visit: &mut dyn FnMut(u64, Bytes),
) -> Result<(), JournalError> {
    let name = segment_name(number);
    let gone = || shared.segments().first().is_none_or(|(oldest, _)| *oldest > number);
    let content = match read_file(shared.files.as_ref(), &name) {
        Ok(content) => Bytes::from(content),
        Err(_) if gone() => return Err(trimmed(shared, first)),
        Err(error) => return Err(error),
    };
    let seal = Seal::new(&shared.log, number);
    if seal.read_header(&shared.log, number, &content) != Some(first) {
        let damaged = JournalError::damaged(&name, 0, "not the header that was written");
        return Err(if gone() { trimmed(shared, first) } else { damaged });
    }
    let mut seen = first.saturating_sub(1);
    let scanned = seal.scan(&content, first, &mut |position, entry| {
        if position <= last {
            seen = position;
            visit(position, entry);
        }
    });
    match scanned {
        _ if seen >= last => Ok(()),
        _ if gone() => Err(trimmed(shared, first)),
        Ok(end) => Err(JournalError::damaged(&name, end.offset as u64, "entries are missing")),
        Err((offset, what)) => Err(JournalError::damaged(&name, offset as u64, what)),
    }
}
