//! Events as text, one a line: fixtures that an actor must go on reading.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Given;
use crate::actor::{Actor, Event, RawEvent};

/// Stored events. As text: `{"event":"level-changed","version":1,"payload":{"level":5}}` on each line; empty lines and
/// lines that begin with `#` do not count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History(pub Vec<RawEvent>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    event: String,
    version: u32,
    payload: Value,
}

impl FromStr for History {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lines = text.lines().enumerate().filter(|(_, line)| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#')
        });
        let read = |(index, line): (usize, &str)| {
            let line: Line =
                serde_json::from_str(line).map_err(|error| format!("line {}: {error}", index + 1))?;
            let payload = line.payload.to_string().into_bytes();
            Ok(RawEvent { name: line.event, version: line.version, payload })
        };
        lines.map(read).collect::<Result<_, String>>().map(Self)
    }
}

impl fmt::Display for History {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.0 {
            let payload = serde_json::from_slice(&event.payload).unwrap_or(Value::Null);
            let line = Line { event: event.name.clone(), version: event.version, payload };
            writeln!(formatter, "{}", serde_json::to_string(&line).map_err(|_| fmt::Error)?)?;
        }
        Ok(())
    }
}

/// Folds a history that must hold every event of the actor in every version that it ever had, and gives what came of
/// it. Keep the file: whoever adds a version adds a line, and removes none.
///
/// # Panics
/// A version is missing from the text, or cannot be read.
#[track_caller]
pub fn assert_reads_every_version<A: Actor>(text: &str) -> Given<A> {
    let given = Given::<A>::history(text);
    for (name, current) in A::Event::VERSIONS {
        for version in 1..=*current {
            let there = given.journal.iter().any(|event| event.name == *name && event.version == version);
            assert!(there, "the history has no event {name} of version {version}: add a line with one");
        }
    }
    given
}
