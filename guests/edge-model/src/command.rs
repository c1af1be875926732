//! Commands from the cloud to a node. [`NodeState::step`] is the whole of it: state and command in, new state and
//! outcome out. Stored as one value, the new state carries the effect and the memory of the command together, so a
//! command that is delivered a thousand times has one effect.
//!
//! Invariants: a version never goes back; one version has one content; one id has one content; what is remembered
//! is bounded ([`WINDOW`] ids, [`MAX_PENDING`] acknowledgements).

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::alert::ActorConfig;
use crate::token::is_token;

/// How many command ids a node remembers.
pub const WINDOW: usize = 1_024;
/// How many acknowledgements a node awaits at most.
pub const MAX_PENDING: usize = 1_024;

/// A command as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncCommand {
    /// Chosen by the sender, once per command.
    pub command_id: String,
    /// `config_update`, `actor_migrate` or `security_policy`.
    pub command_type: String,
    /// Who shall obey; for a migration, where the actor goes.
    pub target_node: String,
    /// The version of what the payload holds.
    pub config_version: u64,
    /// What the type needs, as bytes; for `config_update` JSON of [`ConfigChange`], or nothing.
    pub payload: Vec<u8>,
}

/// The thresholds that a `config_update` changes; what is absent stays as the manifest has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigChange {
    /// See [`ActorConfig::temp_threshold`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temp_threshold: Option<f64>,
    /// See [`ActorConfig::humidity_threshold`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub humidity_threshold: Option<f64>,
    /// See [`ActorConfig::alert_enabled`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_enabled: Option<bool>,
}

impl ConfigChange {
    /// The configuration with this change.
    pub fn apply(&self, base: ActorConfig) -> ActorConfig {
        ActorConfig {
            temp_threshold: self.temp_threshold.unwrap_or(base.temp_threshold),
            humidity_threshold: self.humidity_threshold.unwrap_or(base.humidity_threshold),
            alert_enabled: self.alert_enabled.unwrap_or(base.alert_enabled),
        }
    }
}

/// A version and the fingerprint of what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Version {
    number: u64,
    content: u64,
}

/// What a node remembers of its commands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeState {
    config_version: Option<Version>,
    config: ConfigChange,
    policy_version: Option<Version>,
    pending: BTreeSet<String>,
    /// The last ids with the fingerprints of their commands, oldest first.
    seen: VecDeque<(String, u64)>,
}

/// What became of a command that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It had its effect now.
    Applied,
    /// It had its effect before.
    Repeated,
}

/// Why a command was refused; it had no effect.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CommandError {
    /// Not a command at all.
    #[error("command: not the JSON of one: {reason}")]
    NotACommand {
        /// Where and what.
        reason: String,
    },
    /// A name that could not stand in a subject or a key.
    #[error("{field}: only A-Za-z0-9_-, 1..64")]
    NotAToken {
        /// The field.
        field: &'static str,
    },
    /// A type that this node does not know.
    #[error("Unknown command: {command_type}")]
    Unknown {
        /// The type.
        command_type: String,
    },
    /// The same id came with another content.
    #[error("E_ID_REUSED: command {command_id}: seen with other content; send it with a new id")]
    IdReused {
        /// The id.
        command_id: String,
    },
    /// The command names another node than its subject.
    #[error("target_node: {target} (sent to cloud.cmd.{node}); send it to cloud.cmd.{target}")]
    OtherNode {
        /// The command's node.
        target: String,
        /// The subject's node.
        node: String,
    },
    /// Older than what the node has.
    #[error("config_version: went back (got {got}, have {have}); send a newer one")]
    WentBack {
        /// The command's version.
        got: u64,
        /// The node's version.
        have: u64,
    },
    /// The version is known with another content.
    #[error("config_version: {version} is already known with other content; send a newer one")]
    Equivocation {
        /// The version.
        version: u64,
    },
    /// The payload of a `config_update` is no change.
    #[error("payload: {reason}")]
    Payload {
        /// Where and what.
        reason: String,
    },
    /// Too many migrations without acknowledgement.
    #[error("pending_acks: full (limit {MAX_PENDING}); acknowledge some first")]
    TooManyPending,
}

/// Reads a command.
///
/// # Errors
/// [`CommandError::NotACommand`], [`CommandError::NotAToken`].
pub fn parse(body: &[u8]) -> Result<SyncCommand, CommandError> {
    let command: SyncCommand = serde_json::from_slice(body)
        .map_err(|error| CommandError::NotACommand { reason: error.to_string() })?;
    for (field, value) in [("command_id", &command.command_id), ("target_node", &command.target_node)] {
        if !is_token(value) {
            return Err(CommandError::NotAToken { field });
        }
    }
    Ok(command)
}

/// The line for the log when a command arrives, or why there is none.
///
/// # Errors
/// [`CommandError::Unknown`].
pub fn log_line(node: &str, command: &SyncCommand) -> Result<String, CommandError> {
    match command.command_type.as_str() {
        "config_update" => Ok(format!("[{node}] Config update v{} received", command.config_version)),
        "actor_migrate" => Ok(format!("[{node}] Actor migration to {}", command.target_node)),
        "security_policy" => Ok(format!("[{node}] Security policy synced")),
        other => Err(CommandError::Unknown { command_type: other.to_owned() }),
    }
}

impl NodeState {
    /// The thresholds changed by command.
    pub fn config(&self) -> &ConfigChange {
        &self.config
    }

    /// The version of [`NodeState::config`], if a command ever set it.
    pub fn config_version(&self) -> Option<u64> {
        self.config_version.map(|version| version.number)
    }

    /// Migrations accepted and not yet acknowledged.
    pub fn pending_acks(&self) -> u64 {
        self.pending.len() as u64
    }

    /// What the command, sent to `node`, makes of this state.
    ///
    /// # Errors
    /// [`CommandError`]; the state stays as it is.
    pub fn step(&self, node: &str, command: &SyncCommand) -> Result<(Self, Outcome), CommandError> {
        let content = fingerprint(command);
        match self.seen.iter().find(|(id, _)| *id == command.command_id) {
            Some((_, known)) if *known == content => return Ok((self.clone(), Outcome::Repeated)),
            Some(_) => {
                return Err(CommandError::IdReused { command_id: command.command_id.clone() });
            }
            None => {}
        }
        let mut next = self.clone();
        match command.command_type.as_str() {
            "config_update" => {
                for_this_node(node, command)?;
                next.config_version = Some(advance(self.config_version, command)?);
                next.config = change(&command.payload)?;
            }
            "actor_migrate" => {
                if next.pending.len() >= MAX_PENDING {
                    return Err(CommandError::TooManyPending);
                }
                next.pending.insert(command.command_id.clone());
            }
            "security_policy" => {
                for_this_node(node, command)?;
                next.policy_version = Some(advance(self.policy_version, command)?);
            }
            other => return Err(CommandError::Unknown { command_type: other.to_owned() }),
        }
        if next.seen.len() >= WINDOW {
            next.seen.pop_front();
        }
        next.seen.push_back((command.command_id.clone(), content));
        Ok((next, Outcome::Applied))
    }
}

fn for_this_node(node: &str, command: &SyncCommand) -> Result<(), CommandError> {
    if command.target_node == node {
        return Ok(());
    }
    Err(CommandError::OtherNode { target: command.target_node.clone(), node: node.to_owned() })
}

/// The version after `have`: newer, or the same with the same content.
fn advance(have: Option<Version>, command: &SyncCommand) -> Result<Version, CommandError> {
    let got = Version { number: command.config_version, content: hash(&[&command.payload]) };
    match have {
        Some(have) if got.number < have.number => {
            Err(CommandError::WentBack { got: got.number, have: have.number })
        }
        Some(have) if got.number == have.number && got.content != have.content => {
            Err(CommandError::Equivocation { version: got.number })
        }
        _ => Ok(got),
    }
}

/// The change that a payload holds; none at all when it is empty.
fn change(payload: &[u8]) -> Result<ConfigChange, CommandError> {
    if payload.is_empty() {
        return Ok(ConfigChange::default());
    }
    serde_json::from_slice(payload).map_err(|error| CommandError::Payload { reason: error.to_string() })
}

fn fingerprint(command: &SyncCommand) -> u64 {
    hash(&[
        command.command_type.as_bytes(),
        command.target_node.as_bytes(),
        &command.config_version.to_le_bytes(),
        &command.payload,
    ])
}

/// FNV-1a, 64 bits, each part with its length. It tells a repetition from a mistake; who may send commands, the
/// bus's permissions decide.
fn hash(parts: &[&[u8]]) -> u64 {
    let mut state: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in (part.len() as u64).to_le_bytes().iter().chain(*part) {
            state = (state ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    state
}

#[cfg(test)]
mod tests;
