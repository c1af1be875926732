//! Hosts as somebody else has judged them: for a dry run, which sees one answer of each host and
//! the verdicts that a controller wrote down.

use super::{Observed, Profile};
use lattice_protocol::desired::Verdict;
use lattice_protocol::heartbeat::Heartbeat;

impl Observed {
    /// An observer to whom, at the time that is returned, every host is what its verdict says: as
    /// far as planning goes. One that is cut off or has rejoined is taken for suspect: like that
    /// one it keeps what it has and gets nothing new.
    #[must_use]
    pub fn as_judged(profile: Profile, hosts: impl IntoIterator<Item = (Heartbeat, Verdict)>) -> (Self, u64) {
        let now_ms = profile.lost_after_ms.saturating_mul(2).saturating_add(2);
        // Sites were the judge's concern; here each host is what it was judged to be.
        let mut observed = Self::new(Profile { cut_off_ms: 0, ..profile }, 0);
        for (mut heartbeat, verdict) in hosts {
            let silent_ms = match verdict {
                Verdict::Alive | Verdict::Leaving => 0,
                Verdict::Suspect | Verdict::CutOff | Verdict::Rejoined => profile.suspect_after_ms + 1,
                Verdict::Lost => profile.lost_after_ms + 1,
            };
            heartbeat.leaving = verdict == Verdict::Leaving;
            heartbeat.interval_ms = profile.interval_ms;
            observed.apply(heartbeat, now_ms - silent_ms);
        }
        (observed, now_ms)
    }
}
