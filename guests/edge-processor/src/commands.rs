//! Commands from the cloud: the state of the node they are for is read, stepped and written back as one value.
//! The thresholds are written first: a command that fails between the two writes is not remembered, comes again,
//! and writes the same.

use edge_model::command::{self, CommandError, NodeState, Outcome};
use edge_model::message::BridgeStats;
use serde::Serialize;
use trellis_guest::{Error, log};

use crate::readings;
use crate::settings::{self, Node};

/// The answer to a command.
#[derive(Serialize)]
pub struct Obeyed {
    command_id: String,
    outcome: Outcome,
    node_id: String,
    config_version: Option<u64>,
    #[serde(flatten)]
    stats: BridgeStats,
}

/// Obeys the command in `body`, sent to the node `target`.
///
/// # Errors
/// 400 when it is no command, 409 when the node's state forbids it, 502 when the store fails.
pub fn obey(node: &Node, target: &str, body: &[u8]) -> Result<Obeyed, Error> {
    let command = command::parse(body).map_err(refuse)?;
    let line = command::log_line(target, &command).map_err(refuse)?;
    let (next, outcome) = state(node, target)?.step(target, &command).map_err(refuse)?;
    if outcome == Outcome::Applied {
        node.bucket.set_json(&settings::config_key(target), next.config())?;
        node.bucket.set_json(&state_key(target), &next)?;
        log::info!("{line}");
    }
    Ok(Obeyed {
        command_id: command.command_id,
        outcome,
        node_id: target.to_owned(),
        config_version: next.config_version(),
        stats: readings::stats(node, &next)?,
    })
}

/// What is remembered of a node's commands.
///
/// # Errors
/// The store's; also when what is stored is no such state.
pub fn state(node: &Node, target: &str) -> Result<NodeState, Error> {
    Ok(node.bucket.get_json(&state_key(target))?.unwrap_or_default())
}

fn state_key(target: &str) -> String {
    format!("node.{target}")
}

fn refuse(error: CommandError) -> Error {
    let status = match error {
        CommandError::IdReused { .. }
        | CommandError::WentBack { .. }
        | CommandError::Equivocation { .. }
        | CommandError::TooManyPending => 409,
        _ => 400,
    };
    Error::new(status, error.to_string())
}
