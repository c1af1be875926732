//! What a run writes down: one JSON object a line, in the order in which it was seen.
//!
//! ```text
//! {"entry":"model","kind":"meter","model":"counter"}
//! {"entry":"invoke","op":1,"actor":"meter/a","id":"018bcfe5-…","name":"add","body":"{\"amount\":2}"}
//! {"entry":"answer","op":1,"outcome":{"ok":{"seq":1,"epoch":1,"reply":"2"}}}
//! {"entry":"record","shard":31,"bytes":"VFJKAQ…","accepted":true}
//! {"entry":"effect","sink":"s","actor":"meter/a","seq":1,"index":0,"epoch":1,"accepted":true}
//! {"entry":"ended"}
//! ```
//!
//! The order of the lines is the order in time of what clients did; records come in the order of their stream, wherever
//! they stand. Bodies and replies are texts, exactly as they were sent.

use crate::model::Model;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Entry {
    /// What the actors of a kind do.
    Model {
        /// Which kind.
        kind: String,
        /// What.
        model: Model,
    },
    /// A client asks.
    Invoke {
        /// Names this call; new for each attempt.
        op: u64,
        /// `kind/id`.
        actor: String,
        /// The command's id, the same on each attempt; none of a query.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// The command, or the query.
        name: String,
        /// As it was sent.
        #[serde(default)]
        body: String,
        /// Of a query: must it see everything that was acknowledged before it?
        #[serde(default)]
        consistent: bool,
    },
    /// A client is told. A call without this line has an unknown outcome.
    Answer {
        /// Which call.
        op: u64,
        /// What.
        outcome: Outcome,
    },
    /// A record, as it is in a stream or in a copy of it.
    Record {
        /// Which copy; `stream` is the truth.
        #[serde(default = "stream")]
        copy: String,
        /// Of which shard.
        shard: u16,
        /// The record's bytes in base64.
        bytes: String,
        /// Whether the system took it for valid, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        accepted: Option<bool>,
    },
    /// An effect arrives at a sink.
    Effect {
        /// Which sink.
        sink: String,
        /// Whose effect.
        actor: String,
        /// Of which commit.
        seq: u64,
        /// Which effect of that commit.
        index: u32,
        /// The epoch of the owner that relayed it.
        epoch: u64,
        /// Whether the sink let it take effect.
        accepted: bool,
    },
    /// The run is over, and everything that was on its way has arrived.
    Ended,
}

fn stream() -> String {
    STREAM.to_owned()
}

/// The copy that is the truth.
pub const STREAM: &str = "stream";

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was carried out, or read.
    Ok {
        /// In which commit; of a query: after which.
        seq: u64,
        /// The epoch of the owner that answered.
        epoch: u64,
        /// What the actor said.
        reply: String,
    },
    /// It was refused, for good: this attempt changed nothing.
    Refused {
        /// Why.
        code: String,
    },
    /// Nobody knows: a timeout, a connection that broke.
    Unknown {
        /// Why.
        why: String,
    },
}

/// All lines of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History(pub Vec<Entry>);

/// A line that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("history: line {line}: {reason}")]
pub struct LineError {
    /// Which, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl FromStr for History {
    type Err = LineError;

    fn from_str(text: &str) -> Result<Self, LineError> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let read = |(index, line): (usize, &str)| {
            serde_json::from_str(line)
                .map_err(|error| LineError { line: index + 1, reason: error.to_string() })
        };
        lines.map(read).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for History {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|entry| {
            let line = serde_json::to_string(entry).map_err(|_| fmt::Error)?;
            writeln!(formatter, "{line}")
        })
    }
}
