//! Commands and queries: enums that come as a name and a JSON body.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::codec::{self, Problem};

/// What can be asked of an actor. `#[trellis_guest::commands]` implements it for an enum: the name of a command is
/// its variant in kebab-case, its body the JSON of the fields.
pub trait Command: Sized {
    /// From name and body.
    ///
    /// # Errors
    /// [`Problem`] names the field and the reason; the sender reads it.
    fn decode(name: &str, body: &[u8]) -> Result<Self, Problem>;

    /// Name and body.
    ///
    /// # Errors
    /// What has no JSON form.
    fn encode(&self) -> Result<RawCommand, String>;
}

/// A command as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawCommand {
    /// What is asked.
    pub name: String,
    /// With what.
    pub body: Vec<u8>,
}

impl RawCommand {
    /// A command of an actor whose crate is not at hand: a name, and a value that becomes JSON.
    ///
    /// # Errors
    /// What has no JSON form.
    pub fn json<T: Serialize + ?Sized>(name: impl Into<String>, body: &T) -> Result<Self, String> {
        let body = serde_json::to_vec(body).map_err(|error| error.to_string())?;
        Ok(Self { name: name.into(), body })
    }
}

/// Any command, unread: for an actor that passes commands on.
impl Command for RawCommand {
    fn decode(name: &str, body: &[u8]) -> Result<Self, Problem> {
        Ok(Self { name: name.to_owned(), body: body.to_vec() })
    }
    fn encode(&self) -> Result<RawCommand, String> {
        Ok(self.clone())
    }
}

/// What the attribute's implementation does.
#[doc(hidden)]
pub fn decode<T: DeserializeOwned>(name: &str, body: &[u8]) -> Result<T, Problem> {
    codec::decode(name, body)
}

/// What the attribute's implementation does.
#[doc(hidden)]
pub fn encode<T: Serialize>(command: &T) -> Result<RawCommand, String> {
    codec::encode(command).map(|(name, body)| RawCommand { name, body })
}

/// The queries of an actor that has none but the built-in `state`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoQuery {}

impl Command for NoQuery {
    fn decode(_: &str, _: &[u8]) -> Result<Self, Problem> {
        Err(Problem::Name { known: &["state"] })
    }
    fn encode(&self) -> Result<RawCommand, String> {
        match *self {}
    }
}

/// The body of the command that brings the answer to a [`Call`](super::Call): hold it in a variant, as in
/// `TicketOpened(Answer<String>)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer<T> {
    /// What was answered.
    Ok(T),
    /// There was none, or it was an error.
    Error(CallError),
}

/// Why a call brought no answer, in the host's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallError {
    /// A code of the host's (`E_TIMEOUT`), or of whoever was called.
    #[serde(default)]
    pub code: String,
    /// For people.
    #[serde(default, alias = "message")]
    pub what: String,
}

impl<T> Answer<T> {
    /// As a result.
    ///
    /// # Errors
    /// [`CallError`], when that is what came.
    pub fn into_result(self) -> Result<T, CallError> {
        match self {
            Self::Ok(value) => Ok(value),
            Self::Error(error) => Err(error),
        }
    }
}
