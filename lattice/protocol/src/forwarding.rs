//! How a host is getting on with sending the journal of its pinned actors (durability `device`) into the
//! lattice: part of its heartbeat.

use serde::{Deserialize, Serialize};

/// What a host does about it at this moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardState {
    /// Everything has arrived.
    #[default]
    Current,
    /// At it.
    Behind,
    /// The lattice cannot be reached, or does not take it now.
    Away,
    /// What has arrived and what is on the host's disk are two histories: a person must decide.
    Diverged,
}

impl ForwardState {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Behind => "behind",
            Self::Away => "away",
            Self::Diverged => "diverged",
        }
    }
}

/// How far a host's journal has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Forwarding {
    /// What it does.
    pub state: ForwardState,
    /// The last record that has arrived, as far as the host knows; 0 for none.
    pub through: u64,
    /// Records that have not.
    pub records: u64,
    /// About how many bytes of them.
    pub bytes: u64,
    /// How long the oldest of them waits, milliseconds; 0 when there is none.
    pub oldest_ms: u64,
    /// Records that were let go before they had arrived, since the journal was begun.
    #[serde(default)]
    pub dropped: u64,
    /// Are commands refused because too much waits (`--forward-full refuse`)?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refusing: bool,
    /// Why it does not go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What stands for the older part of it in the lattice; none when that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<ForwardedCheckpoint>,
}

/// The checkpoint of a host's journal that is in the lattice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForwardedCheckpoint {
    /// The last record that it stands for; 0: there is none.
    pub through: u64,
    /// How old it is, milliseconds.
    pub age_ms: u64,
    /// Why there is no newer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_and_what_is_not_so_is_not_said() {
        let forwarding = Forwarding { state: ForwardState::Behind, records: 3, ..Forwarding::default() };
        let text = serde_json::to_string(&forwarding).unwrap();
        assert!(
            text.contains("\"behind\"")
                && ["refusing", "reason", "checkpoint"].iter().all(|word| !text.contains(word)),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Forwarding>(&text).unwrap(), forwarding);
        for state in [ForwardState::Current, ForwardState::Behind, ForwardState::Away, ForwardState::Diverged]
        {
            assert_eq!(serde_json::to_value(state).unwrap(), state.word());
        }
    }
}
