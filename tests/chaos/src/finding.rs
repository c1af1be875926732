//! What a checker says.

use std::collections::BTreeSet;
use std::fmt;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The history itself makes no sense: an answer to nothing, a body that is no model's.
    History,
    /// Bytes that are no record.
    Damaged,
    /// A record was taken for valid that does not follow the last valid one.
    ChainBroken,
    /// A record was taken for valid that was written under another epoch than the current one.
    StaleEpoch,
    /// A new owner was taken for one without a higher epoch.
    EpochNotRaised,
    /// A valid record was not taken for one.
    RejectedValid,
    /// Two copies of a shard have different records in one place.
    Divergence,
    /// An actor's commits are not numbered without a gap.
    SequenceGap,
    /// An actor's commit does not follow from its history.
    HistoryBroken,
    /// One command, two commits.
    Doubled,
    /// A commit of a command that nobody gave.
    Unexpected,
    /// A commit of another command than the one that was given under its id.
    Altered,
    /// A command was refused on every attempt, and carried out.
    RefusedButDone,
    /// Acknowledged, and not there; what is missing is the actor's beginning.
    LostPrefix,
    /// Acknowledged, and not there, between commits that are.
    LostMiddle,
    /// Acknowledged, and not there; what is missing is the actor's end.
    LostPostfix,
    /// Acknowledged with another reply than the stored one.
    WrongReply,
    /// Acknowledged in another place than the one where it is.
    WrongPlace,
    /// Answered under an epoch that cannot be.
    WrongEpoch,
    /// A stored reply is not what the commands before it make of it.
    WrongResult,
    /// A command that was acknowledged before another was given comes after it.
    OrderInverted,
    /// A read that does not see what was acknowledged before it.
    StaleRead,
    /// A read that sees what had not been asked yet.
    FutureRead,
    /// A read that sees less than one that had ended before it began.
    ReadsGoBack,
    /// A read of something that the actor never was at that place.
    WrongRead,
    /// No order of the commands explains what clients saw.
    NotLinearizable,
    /// An effect took effect twice.
    DoubledEffect,
    /// An effect of no commit.
    UnexpectedEffect,
    /// An effect of an owner that was none any more.
    StaleEffect,
    /// An effect that never came out.
    LostEffect,
    /// A command from actor to actor that never arrived.
    LostSend,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What.
    pub kind: Kind,
    /// Of which actor, shard, or sink.
    pub place: String,
    /// What was found, and what should have been.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}: {}", self.kind, self.place, self.text)
    }
}

/// How much was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Commands, each with all its attempts.
    pub commands: usize,
    /// Commands that were acknowledged.
    pub acknowledged: usize,
    /// Commands of which nobody knows.
    pub unknown: usize,
    /// Reads that were answered.
    pub reads: usize,
    /// Actors.
    pub actors: usize,
    /// Valid records.
    pub records: usize,
    /// Records that do not count, and rightly: of fenced owners, or stored twice.
    pub skipped: usize,
    /// Commits in valid records.
    pub commits: usize,
    /// How often a shard got an owner.
    pub owners: usize,
    /// Effects that took effect.
    pub effects: usize,
}

/// What a checker says of a history.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Everything that is wrong, in order of kind and place.
    pub findings: BTreeSet<Finding>,
    /// How much was looked at.
    pub counts: Counts,
    /// Actors for which the search for an order was given up; the journal's order was checked all the same.
    pub undecided: Vec<String>,
}

impl Verdict {
    /// Nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// How much of this is wrong.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        self.findings.iter().filter(|finding| finding.kind == kind).count()
    }

    pub(crate) fn add(&mut self, kind: Kind, place: impl fmt::Display, text: impl Into<String>) {
        self.findings.insert(Finding { kind, place: place.to_string(), text: text.into() });
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.counts;
        self.findings.iter().try_for_each(|finding| writeln!(formatter, "{finding}"))?;
        for actor in &self.undecided {
            writeln!(
                formatter,
                "undecided: {actor}: too many orders to try; the journal's order was checked"
            )?;
        }
        writeln!(
            formatter,
            "{} commands ({} acknowledged, {} unknown) and {} reads of {} actors; {} records ({} skipped) with {} \
             commits under {} owners; {} effects",
            counts.commands,
            counts.acknowledged,
            counts.unknown,
            counts.reads,
            counts.actors,
            counts.records,
            counts.skipped,
            counts.commits,
            counts.owners,
            counts.effects
        )?;
        let lost = [Kind::LostPrefix, Kind::LostMiddle, Kind::LostPostfix].map(|kind| self.count(kind));
        writeln!(
            formatter,
            "lost {} (prefix {}, middle {}, postfix {}), doubled {}, unexpected {}, findings in all {}",
            lost.iter().sum::<usize>(),
            lost[0],
            lost[1],
            lost[2],
            self.count(Kind::Doubled),
            self.count(Kind::Unexpected),
            self.findings.len()
        )
    }
}
