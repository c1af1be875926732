//! How often a host has come back lately, and how long it is held because of it. A host that comes
//! back keeps what it has at once; while it is held it gets something new only when nobody else can
//! take it. The hold grows fourfold with each return within the window, so a host that flaps drags
//! nothing to and fro.

use super::Profile;
use std::collections::VecDeque;

/// Returns that are remembered.
const KEPT: usize = 8;

/// The returns of one host.
#[derive(Debug, Clone, Default)]
pub(super) struct Returns {
    /// When, oldest first.
    at_ms: VecDeque<u64>,
    /// Until when it is held; 0 when it never came back.
    pub(super) held_until_ms: u64,
}

impl Returns {
    /// It has come back now.
    pub(super) fn note(&mut self, profile: &Profile, now_ms: u64) {
        let window = profile.flap_window_ms;
        self.at_ms.retain(|at| now_ms.saturating_sub(*at) <= window);
        self.at_ms.push_back(now_ms);
        while self.at_ms.len() > KEPT {
            self.at_ms.pop_front();
        }
        let doublings =
            u32::try_from(self.at_ms.len().saturating_sub(1)).unwrap_or(u32::MAX).saturating_mul(2);
        let hold = profile.hold_ms.saturating_mul(1u64.checked_shl(doublings).unwrap_or(u64::MAX));
        self.held_until_ms = now_ms.saturating_add(hold.min(window));
    }

    pub(super) fn is_held(&self, now_ms: u64) -> bool {
        now_ms < self.held_until_ms
    }

    /// Returns within the window before the last one, that one included.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.at_ms.len()).unwrap_or(u32::MAX)
    }
}
