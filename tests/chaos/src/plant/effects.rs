//! Bugs in what comes out.

use super::scan::{Journal, append};
use crate::generate::Random;
use crate::history::{Entry, History};
use lattice_journal::Commit;

/// The lines of effects that took effect.
fn lines(history: &History) -> Vec<usize> {
    let out = |entry: &Entry| matches!(entry, Entry::Effect { accepted: true, .. });
    history.0.iter().enumerate().filter(|(_, entry)| out(entry)).map(|(line, _)| line).collect()
}

fn any(history: &History, random: &mut Random) -> Option<(usize, Entry)> {
    let line = random.choose(&lines(history))?;
    Some((line, history.0.get(line)?.clone()))
}

pub(super) fn double(history: &mut History, random: &mut Random) -> bool {
    let Some((_, effect)) = any(history, random) else { return false };
    append(history, [effect]);
    true
}

pub(super) fn invent(history: &mut History, random: &mut Random) -> bool {
    let Some((_, mut effect)) = any(history, random) else { return false };
    if let Entry::Effect { seq, .. } = &mut effect {
        *seq += 10_000;
    }
    append(history, [effect]);
    true
}

pub(super) fn lose(history: &mut History, random: &mut Random) -> bool {
    let Some((line, _)) = any(history, random) else { return false };
    history.0.remove(line);
    true
}

/// An owner that has been fenced relays what its successor has stored.
pub(super) fn stale(history: &mut History, random: &mut Random) -> bool {
    let journal = Journal::read(history);
    let of_its_owner = |line: &usize| match history.0.get(*line) {
        Some(Entry::Effect { actor, seq, epoch, .. }) => {
            let same = |commit: &Commit| commit.key.to_string() == *actor && commit.seq.0 == *seq;
            *epoch > 1 && journal.epoch_of(same) == Some(*epoch)
        }
        _ => false,
    };
    let stored: Vec<usize> = lines(history).into_iter().filter(of_its_owner).collect();
    let line = random.choose(&stored);
    let Some(Entry::Effect { epoch, .. }) = line.and_then(|line| history.0.get_mut(line)) else {
        return false;
    };
    *epoch -= 1;
    true
}
