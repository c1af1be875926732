//! The lives of one host id. A host that starts again is a new boot that replaces the old one; if
//! the old one keeps talking, two machines use one id.
//!
//! Invariants: at least one boot, at most [`MAX_BOOTS`]; the last one began last; a boot that was
//! retired never counts again, so its late heartbeats are no new machine.

use super::{Applied, Profile};
use lattice_protocol::HostId;
use lattice_protocol::desired::Verdict;
use lattice_protocol::heartbeat::Heartbeat;
use std::collections::VecDeque;

/// Lives kept at once.
const MAX_BOOTS: usize = 4;
/// Ids of past lives kept.
const MAX_RETIRED: usize = 16;
/// Heartbeats of an older boot, after a newer one was heard, that cannot all have been on their
/// way when it ended.
const STILL_TALKING: u32 = 2;
/// The window of recent errors, milliseconds.
const ERROR_WINDOW_MS: u64 = 60_000;

/// Two live machines with one host id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The id.
    pub host: HostId,
    /// The boot that had it first.
    pub holder: String,
    /// The boot that came later: it should stop.
    pub intruder: String,
}

#[derive(Debug, Clone)]
struct Boot {
    heartbeat: Heartbeat,
    heard_ms: u64,
    /// Heartbeats since a newer boot was first heard.
    after_newer: u32,
    /// Somebody has asked for it since, and the server knows no such connection.
    vanished: bool,
    /// Errors when the window began, and when that was.
    errors_before: u64,
    window_ms: u64,
}

impl Boot {
    fn new(heartbeat: Heartbeat, now_ms: u64) -> Self {
        // Errors from before it was first heard of are not recent.
        let errors_before = heartbeat.errors;
        Self {
            heartbeat,
            heard_ms: now_ms,
            after_newer: 0,
            vanished: false,
            errors_before,
            window_ms: now_ms,
        }
    }

    fn hear(&mut self, heartbeat: Heartbeat, now_ms: u64) {
        if now_ms.saturating_sub(self.window_ms) > ERROR_WINDOW_MS {
            self.errors_before = self.heartbeat.errors;
            self.window_ms = now_ms;
        }
        self.heartbeat = heartbeat;
        self.heard_ms = now_ms;
        self.vanished = false;
    }

    fn recent_errors(&self, now_ms: u64) -> u64 {
        if now_ms.saturating_sub(self.window_ms) > 2 * ERROR_WINDOW_MS {
            return 0;
        }
        self.heartbeat.errors.saturating_sub(self.errors_before)
    }

    fn is_heard(&self, now_ms: u64, lost_after_ms: u64) -> bool {
        now_ms.saturating_sub(self.heard_ms) <= lost_after_ms
    }
}

/// All lives of one host id that still matter.
#[derive(Debug, Clone)]
pub(super) struct Boots {
    newest: Boot,
    /// Oldest first.
    older: Vec<Boot>,
    retired: VecDeque<String>,
}

impl Boots {
    pub(super) fn new(heartbeat: Heartbeat, now_ms: u64) -> Self {
        Self { newest: Boot::new(heartbeat, now_ms), older: Vec::new(), retired: VecDeque::new() }
    }

    /// The last word of the boot that began last.
    pub(super) fn newest(&self) -> &Heartbeat {
        &self.newest.heartbeat
    }

    pub(super) fn silent_ms(&self, now_ms: u64) -> u64 {
        let heard = self.older.iter().map(|boot| boot.heard_ms).fold(self.newest.heard_ms, u64::max);
        now_ms.saturating_sub(heard)
    }

    /// Nobody listens in its name any more, as of this word of its newest boot.
    pub(super) fn vanish(&mut self, boot_id: &str, seq: u64) {
        let newest = &mut self.newest;
        newest.vanished |= newest.heartbeat.boot_id == boot_id && newest.heartbeat.seq == seq;
    }

    pub(super) fn apply(&mut self, heartbeat: Heartbeat, now_ms: u64, lost_after_ms: u64) -> Applied {
        if self.retired.contains(&heartbeat.boot_id) {
            return Applied::Stale;
        }
        let was_lost = self.newest.vanished || self.silent_ms(now_ms) > lost_after_ms;
        let known = std::iter::once(&self.newest)
            .chain(&self.older)
            .find(|boot| boot.heartbeat.boot_id == heartbeat.boot_id);
        if known.is_some_and(|boot| heartbeat.seq <= boot.heartbeat.seq) {
            return Applied::Stale;
        }
        let is_new = known.is_none();
        if is_new {
            let before = std::mem::replace(&mut self.newest, Boot::new(heartbeat, now_ms));
            self.older.push(before);
        } else if heartbeat.boot_id == self.newest.heartbeat.boot_id {
            self.newest.hear(heartbeat, now_ms);
        } else {
            let same = |boot: &&mut Boot| boot.heartbeat.boot_id == heartbeat.boot_id;
            if let Some(boot) = self.older.iter_mut().find(same) {
                boot.after_newer = boot.after_newer.saturating_add(1);
                boot.hear(heartbeat, now_ms);
            }
        }
        self.retire(now_ms, lost_after_ms);
        match (self.conflict(now_ms, lost_after_ms), was_lost, is_new) {
            (Some(_), _, _) => Applied::Conflict,
            (None, true, _) => Applied::Rejoined,
            (None, false, true) => Applied::Rebooted,
            (None, false, false) => Applied::Heard,
        }
    }

    /// Drops lives that have been silent for the whole timeout, or are one too many.
    fn retire(&mut self, now_ms: u64, lost_after_ms: u64) {
        let (heard, silent): (Vec<Boot>, Vec<Boot>) = std::mem::take(&mut self.older)
            .into_iter()
            .partition(|boot| boot.is_heard(now_ms, lost_after_ms));
        self.older = heard;
        let mut gone: Vec<Boot> = silent;
        if !self.newest.is_heard(now_ms, lost_after_ms)
            && let Some(survivor) = self.older.pop()
        {
            gone.push(std::mem::replace(&mut self.newest, survivor));
            self.newest.after_newer = 0;
        }
        while self.older.len() >= MAX_BOOTS {
            // The first is the holder of the id; those between come and go.
            gone.push(self.older.remove(1));
        }
        for boot in gone {
            self.retired.push_back(boot.heartbeat.boot_id);
        }
        while self.retired.len() > MAX_RETIRED {
            self.retired.pop_front();
        }
    }

    fn holder(&self, now_ms: u64, lost_after_ms: u64) -> Option<&Boot> {
        let talking =
            |boot: &&Boot| boot.after_newer >= STILL_TALKING && boot.is_heard(now_ms, lost_after_ms);
        self.older.iter().find(talking).filter(|_| self.newest.is_heard(now_ms, lost_after_ms))
    }

    pub(super) fn conflict(&self, now_ms: u64, lost_after_ms: u64) -> Option<Conflict> {
        self.holder(now_ms, lost_after_ms).map(|holder| Conflict {
            host: holder.heartbeat.host.clone(),
            holder: holder.heartbeat.boot_id.clone(),
            intruder: self.newest.heartbeat.boot_id.clone(),
        })
    }

    /// The word that counts, and the errors in its last minute: the holder's while the id is
    /// disputed, else the newest boot's.
    pub(super) fn current(&self, now_ms: u64, lost_after_ms: u64) -> (&Heartbeat, u64) {
        let boot = self.holder(now_ms, lost_after_ms).unwrap_or(&self.newest);
        (&boot.heartbeat, boot.recent_errors(now_ms))
    }

    pub(super) fn judge(&self, profile: &Profile, now_ms: u64) -> Verdict {
        let silent = self.silent_ms(now_ms);
        let (heartbeat, _) = self.current(now_ms, profile.lost_after_ms);
        let vanished = self.newest.vanished && silent > profile.suspect_after_ms;
        if vanished || silent > profile.lost_after_ms {
            Verdict::Lost
        } else if heartbeat.leaving {
            Verdict::Leaving
        } else if silent > profile.suspect_after_ms {
            Verdict::Suspect
        } else {
            Verdict::Alive
        }
    }
}
