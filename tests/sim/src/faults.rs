//! What goes wrong, and when: drawn from the seed before the run begins, so that a trace can be
//! read beside its list of faults.

use crate::random::Random;

/// Who can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// The host of this number.
    Host(usize),
    /// The controller of this number.
    Controller(usize),
}

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A process dies, and starts again after so many milliseconds.
    Crash(Node, u64),
    /// Nothing reaches it and nothing leaves it for so many milliseconds.
    Partition(Node, u64),
    /// Everybody is cut off from everybody for so long.
    Blackout(u64),
    /// So many of a thousand messages are lost, and as many doubled, for so many milliseconds.
    Weather {
        /// Of a thousand.
        lost: u64,
        /// Milliseconds.
        for_ms: u64,
    },
    /// Messages take up to so many milliseconds, each its own time: they overtake one another.
    Slow {
        /// Longest delay, milliseconds.
        delay_ms: u64,
        /// Milliseconds.
        for_ms: u64,
    },
    /// A host's clock jumps by so many milliseconds.
    ClockJump(usize, i64),
    /// A host is sent an earlier spec again.
    OldSpec(usize),
    /// Somebody changes what is desired.
    Edit,
}

impl Fault {
    /// Its kind, for counting.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Crash(Node::Host(_), _) => "host crash",
            Self::Crash(Node::Controller(_), _) => "controller crash",
            Self::Partition(..) => "partition",
            Self::Blackout(_) => "blackout",
            Self::Weather { .. } => "loss and duplication",
            Self::Slow { .. } => "delay and reordering",
            Self::ClockJump(..) => "clock jump",
            Self::OldSpec(_) => "old spec",
            Self::Edit => "edit",
        }
    }
}

/// Draws the faults of a run: when, and what.
pub fn draw(random: &mut Random, (hosts, controllers): (usize, usize), until_ms: u64) -> Vec<(u64, Fault)> {
    let count = random.between(8, 30);
    (0..count)
        .map(|_| {
            let at = random.between(1_000, until_ms);
            (at, one(random, (hosts, controllers)))
        })
        .collect()
}

fn one(random: &mut Random, (hosts, controllers): (usize, usize)) -> Fault {
    let below = |random: &mut Random, end: usize| {
        usize::try_from(random.below(u64::try_from(end).unwrap_or(u64::MAX))).unwrap_or(0)
    };
    let node = |random: &mut Random| {
        if random.chance(700) {
            Node::Host(below(random, hosts))
        } else {
            Node::Controller(below(random, controllers))
        }
    };
    match random.below(100) {
        0..25 => Fault::Crash(node(random), random.between(100, 15_000)),
        25..45 => Fault::Partition(node(random), random.between(100, 15_000)),
        45..48 => Fault::Blackout(random.between(100, 8_000)),
        48..56 => Fault::Weather { lost: random.between(10, 400), for_ms: random.between(500, 10_000) },
        56..64 => Fault::Slow { delay_ms: random.between(50, 3_000), for_ms: random.between(500, 10_000) },
        64..70 => {
            let jump = i64::try_from(random.between(0, 7_200_000)).unwrap_or(0) - 3_600_000;
            Fault::ClockJump(below(random, hosts), jump)
        }
        70..80 => Fault::OldSpec(below(random, hosts)),
        _ => Fault::Edit,
    }
}
