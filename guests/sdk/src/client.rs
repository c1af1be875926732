//! Asking persistent actors (`trellis:actor/client@0.1.0`), from an actor that is linked to their kind. Which kind
//! it is, the link says; here an actor is named by its id alone.
//!
//! ```no_run
//! use trellis_guest::{Error, Request, Response, client};
//!
//! #[trellis_guest::http]
//! fn deposit(request: Request) -> Result<Response, Error> {
//!     let done = client::submit("a-1", "deposit", &25)?;
//!     Ok(Response::new(200).with_body(done.reply))
//! }
//! ```
//!
//! A command that was answered is stored, and survives whatever is killed. One that was not may be asked again under
//! the same id ([`submit_as`]): it is carried out once.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::bindings::actor_client::trellis::actor::client;
use crate::bindings::actor_client::trellis::actor::types::Command;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// The actor said no; nothing was stored.
    #[error("{message}")]
    Refused {
        /// The actor's own code.
        code: String,
        /// Its words.
        message: String,
    },
    /// Nobody answered, or not in time.
    #[error("{message}")]
    Failed {
        /// The host's code: with `E_OUTCOME_UNKNOWN` it may be carried out; the same id finds out.
        code: String,
        /// The host's words.
        message: String,
    },
    /// The command has no JSON form, or the answer is not the JSON expected.
    #[error("actor {id}: not JSON as expected: {reason}")]
    Json {
        /// Which actor.
        id: String,
        /// Where and what.
        reason: String,
    },
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// What the actor said, the first time.
    pub reply: Vec<u8>,
    /// In which commit of its history.
    pub seq: u64,
    /// Was it carried out before, under this id?
    pub repeated: bool,
}

/// Has an actor carry out a command; it is stored when this returns. The body goes as JSON.
///
/// # Errors
/// [`AskError`].
pub fn submit(id: &str, command: &str, body: &impl Serialize) -> Result<Done, AskError> {
    send(id, command, serde_json::to_vec(body).map_err(|error| not_json(id, &error))?, None)
}

/// The same with a body as it is, under an id of the caller's: a `UUIDv7`. However often it is sent, it is carried out
/// once, and answered as the first time.
///
/// # Errors
/// [`AskError`].
pub fn submit_as(id: &str, command: &str, body: Vec<u8>, command_id: &str) -> Result<Done, AskError> {
    send(id, command, body, Some(command_id))
}

fn send(id: &str, name: &str, body: Vec<u8>, command_id: Option<&str>) -> Result<Done, AskError> {
    let command = Command { name: name.to_owned(), body };
    let done = client::submit(id, &command, command_id).map_err(explain)?;
    Ok(Done { reply: done.reply, seq: done.seq, repeated: done.repeated })
}

/// An answer from an actor's state, as it gave it; nothing is stored.
///
/// # Errors
/// [`AskError`].
pub fn query(id: &str, name: &str, body: &[u8]) -> Result<Vec<u8>, AskError> {
    client::query(id, name, body).map_err(explain)
}

/// The same, read as JSON.
///
/// # Errors
/// [`AskError`].
pub fn query_json<T: DeserializeOwned>(id: &str, name: &str) -> Result<T, AskError> {
    serde_json::from_slice(&query(id, name, &[])?).map_err(|error| not_json(id, &error))
}

fn not_json(id: &str, error: &serde_json::Error) -> AskError {
    AskError::Json { id: id.to_owned(), reason: error.to_string() }
}

fn explain(failure: client::Failure) -> AskError {
    let client::Failure { code, refusal, message } = failure;
    match refusal {
        Some(code) => AskError::Refused { code, message },
        None if code == "E_GUEST" => AskError::Refused { code: String::new(), message },
        None => AskError::Failed { code, message },
    }
}
