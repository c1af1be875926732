//! Bugs, planted one at a time into a history that is right, each as a system that has it would write it down. They
//! keep the checker honest: it must find every one of them.

mod answers;
mod effects;
mod journal;
mod records;
mod scan;

use crate::finding::Kind;
use crate::generate::Random;
use crate::history::History;

/// A bug to plant.
#[derive(Debug, Clone, Copy)]
pub struct Plant {
    /// What the system does wrong.
    pub name: &'static str,
    /// What the checker must call it.
    pub kind: Kind,
    /// Plants it; `false` when the history has no place for it.
    pub plant: fn(&mut History, &mut Random) -> bool,
}

/// All of them.
pub const PLANTS: &[Plant] = &[
    Plant { name: "an actor's first commit is gone", kind: Kind::LostPrefix, plant: journal::lose_first },
    Plant { name: "a commit in the middle is gone", kind: Kind::LostMiddle, plant: journal::lose_middle },
    Plant { name: "an actor's last commit is gone", kind: Kind::LostPostfix, plant: journal::lose_last },
    Plant { name: "the stream's tail is cut off", kind: Kind::LostPostfix, plant: records::cut_tail },
    Plant { name: "acknowledged before it was stored", kind: Kind::LostPostfix, plant: answers::too_early },
    Plant { name: "a retry is carried out again", kind: Kind::Doubled, plant: journal::double },
    Plant { name: "an actor's message is taken twice", kind: Kind::Doubled, plant: journal::double_sent },
    Plant { name: "a command out of nowhere", kind: Kind::Unexpected, plant: journal::invent },
    Plant {
        name: "a refused command is carried out",
        kind: Kind::RefusedButDone,
        plant: journal::do_refused,
    },
    Plant { name: "another command under the same id", kind: Kind::Altered, plant: journal::alter },
    Plant { name: "an answer that was not stored", kind: Kind::WrongReply, plant: answers::wrong_reply },
    Plant { name: "a retry is answered anew", kind: Kind::WrongReply, plant: answers::answer_anew },
    Plant { name: "a place that is another's", kind: Kind::WrongPlace, plant: answers::wrong_place },
    Plant { name: "answered by an owner of before", kind: Kind::WrongEpoch, plant: answers::wrong_epoch },
    Plant { name: "a read from a stale copy", kind: Kind::StaleRead, plant: answers::stale_read },
    Plant { name: "a read of what is not stored", kind: Kind::WrongRead, plant: answers::dirty_read },
    Plant { name: "a read of the future", kind: Kind::FutureRead, plant: answers::future_read },
    Plant { name: "a read that goes back", kind: Kind::ReadsGoBack, plant: answers::read_back },
    Plant { name: "an update that overwrites another", kind: Kind::WrongResult, plant: journal::lose_update },
    Plant { name: "two sums that cannot both be", kind: Kind::NotLinearizable, plant: answers::same_sum },
    Plant { name: "commits in another order than seen", kind: Kind::OrderInverted, plant: journal::invert },
    Plant { name: "an actor's number is skipped", kind: Kind::SequenceGap, plant: journal::skip_number },
    Plant {
        name: "an actor's history is replaced",
        kind: Kind::HistoryBroken,
        plant: journal::break_history,
    },
    Plant { name: "a fenced owner's record counts", kind: Kind::StaleEpoch, plant: records::accept_fenced },
    Plant { name: "two owners in one epoch", kind: Kind::EpochNotRaised, plant: records::reuse_epoch },
    Plant { name: "a record that follows nothing counts", kind: Kind::ChainBroken, plant: records::unchain },
    Plant { name: "a valid record is thrown away", kind: Kind::RejectedValid, plant: records::reject },
    Plant { name: "two copies differ", kind: Kind::Divergence, plant: records::diverge },
    Plant { name: "a bit has flipped", kind: Kind::Damaged, plant: records::flip },
    Plant { name: "an effect takes effect twice", kind: Kind::DoubledEffect, plant: effects::double },
    Plant {
        name: "an effect that no commit asked for",
        kind: Kind::UnexpectedEffect,
        plant: effects::invent,
    },
    Plant { name: "an effect of a fenced owner", kind: Kind::StaleEffect, plant: effects::stale },
    Plant { name: "an effect that never comes out", kind: Kind::LostEffect, plant: effects::lose },
    Plant { name: "a message that never arrives", kind: Kind::LostSend, plant: journal::lose_sent },
];
