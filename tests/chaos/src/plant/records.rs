//! Bugs in the stream, and in who may write it.

use super::scan::{Journal, acked, decode, encode, is};
use crate::generate::Random;
use crate::history::{Entry, History, STREAM};
use lattice_journal::record::{Body, Record};
use lattice_journal::{Epoch, Hash};

/// The lines of the stream's records for which this holds.
fn lines(history: &History, wanted: impl Fn(&Record, Option<bool>) -> bool) -> Vec<usize> {
    let record = |(line, entry): (usize, &Entry)| match entry {
        Entry::Record { copy, bytes, accepted, .. } if copy == STREAM => {
            wanted(decode(bytes)?.record(), *accepted).then_some(line)
        }
        _ => None,
    };
    history.0.iter().enumerate().filter_map(record).collect()
}

fn valid(_: &Record, accepted: Option<bool>) -> bool {
    accepted == Some(true)
}

fn set_accepted(history: &mut History, line: Option<usize>, value: bool) -> bool {
    match line.and_then(|line| history.0.get_mut(line)) {
        Some(Entry::Record { accepted, .. }) => {
            *accepted = Some(value);
            true
        }
        _ => false,
    }
}

pub(super) fn accept_fenced(history: &mut History, random: &mut Random) -> bool {
    let fenced = lines(history, |_, accepted| accepted == Some(false));
    let line = random.choose(&fenced);
    set_accepted(history, line, true)
}

pub(super) fn reject(history: &mut History, random: &mut Random) -> bool {
    let line = random.choose(&lines(history, valid));
    set_accepted(history, line, false)
}

/// Changes one record, and none of those that follow.
fn change(history: &mut History, line: Option<usize>, change: impl FnOnce(&mut Record)) -> bool {
    let Some(Entry::Record { bytes, .. }) = line.and_then(|line| history.0.get_mut(line)) else {
        return false;
    };
    let Some(sealed) = decode(bytes) else { return false };
    let mut record = (**sealed.record()).clone();
    change(&mut record);
    let Some((text, _)) = encode(record) else { return false };
    *bytes = text;
    true
}

pub(super) fn reuse_epoch(history: &mut History, random: &mut Random) -> bool {
    let opened = |record: &Record, accepted| {
        valid(record, accepted) && record.epoch > Epoch(1) && matches!(record.body, Body::EpochOpened { .. })
    };
    let line = random.choose(&lines(history, opened));
    change(history, line, |record| record.epoch = Epoch(record.epoch.0 - 1))
}

pub(super) fn unchain(history: &mut History, random: &mut Random) -> bool {
    let line = random.choose(&lines(history, valid));
    change(history, line, |record| record.previous = Hash([0x5a; 32]))
}

pub(super) fn flip(history: &mut History, random: &mut Random) -> bool {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    let line = random.choose(&lines(history, valid));
    let Some(Entry::Record { bytes, .. }) = line.and_then(|line| history.0.get_mut(line)) else {
        return false;
    };
    let Ok(mut raw) = BASE64_STANDARD.decode(&*bytes) else { return false };
    let (at, bit) = (random.index(raw.len()), random.below(8));
    raw.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
    *bytes = BASE64_STANDARD.encode(raw);
    true
}

/// The last record of a shard with something acknowledged in it is gone, and all behind it.
pub(super) fn cut_tail(history: &mut History, random: &mut Random) -> bool {
    let all: Vec<_> = acked(history).into_values().flatten().collect();
    let Some(lost) = random.choose(&all) else { return false };
    let mut journal = Journal::read(history);
    let holds = |record: &Record| record.commits().iter().any(|commit| is(commit, &lost.actor, &lost.id));
    let Some(from) = journal.0.iter().position(|(_, record)| holds(record)) else { return false };
    let Some(shard) = journal.0.get(from).map(|(_, record)| record.shard) else { return false };
    let gone: Vec<usize> = journal
        .0
        .iter()
        .skip(from)
        .filter(|(_, record)| record.shard == shard)
        .map(|(line, _)| *line)
        .collect();
    journal.0.retain(|(line, _)| !gone.contains(line));
    if !journal.write(history) {
        return false;
    }
    // `write` took other lines out as well; what is to go is found again by its shard, from behind.
    let mut left = gone.len();
    for entry in history.0.iter_mut().rev() {
        if let Entry::Record { shard: each, accepted: Some(true), bytes, .. } = entry
            && *each == shard.0
            && left > 0
        {
            bytes.clear();
            left -= 1;
        }
    }
    history.0.retain(|entry| !matches!(entry, Entry::Record { bytes, .. } if bytes.is_empty()));
    true
}

/// A copy has the stream's records up to one, and then another than the stream.
pub(super) fn diverge(history: &mut History, random: &mut Random) -> bool {
    let with_commits = |record: &Record, accepted| valid(record, accepted) && !record.commits().is_empty();
    let Some(line) = random.choose(&lines(history, with_commits)) else { return false };
    let Some(Entry::Record { shard, .. }) = history.0.get(line).cloned() else { return false };
    let mut copied: Vec<Entry> = history
        .0
        .iter()
        .take(line + 1)
        .filter(|entry| {
            matches!(entry, Entry::Record { copy, shard: each, accepted: Some(true), .. }
                if copy == STREAM && *each == shard)
        })
        .cloned()
        .collect();
    for entry in &mut copied {
        if let Entry::Record { copy, .. } = entry {
            "other".clone_into(copy);
        }
    }
    let last = copied.len() - 1;
    let mut other = History(copied);
    let changed = change(&mut other, Some(last), |record| {
        if let Body::Commits { commits, .. } = &mut record.body {
            commits.iter_mut().for_each(|commit| commit.reply = "another".into());
        }
    });
    super::scan::append(history, other.0);
    changed
}
