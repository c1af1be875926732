//! Events: enums that are stored as a name, a version and JSON, and read for ever.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::codec;

/// What can happen to an actor. `#[trellis_guest::events]` implements it for an enum: the name of an event is its
/// variant in kebab-case; its version is 1, or as `#[event(version = 2, upcast = function)]` says; its payload is
/// the JSON of the fields.
pub trait Event: Serialize + DeserializeOwned {
    /// Each event's name and current version.
    const VERSIONS: &'static [(&'static str, u32)];

    /// Reads an event of an older version, or one that no variant has any more, as events of today: usually one,
    /// none when it does not matter any more.
    ///
    /// # Errors
    /// The reason why it cannot be read. An actor reads every event that it ever wrote: this stops it.
    fn upcast(name: &str, version: u32, payload: Value) -> Result<Vec<Self>, String>;
}

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEvent {
    /// What kind of fact.
    pub name: String,
    /// Which version of its form.
    pub version: u32,
    /// JSON.
    pub payload: Vec<u8>,
}

impl RawEvent {
    /// An event of today.
    ///
    /// # Errors
    /// What has no JSON form.
    pub fn of<E: Event>(event: &E) -> Result<Self, String> {
        let (name, payload) = codec::encode(event).map_err(|reason| format!("event: {reason}"))?;
        let known = E::VERSIONS.iter().find(|(known, _)| *known == name);
        let version = known.map(|(_, version)| *version);
        let version = version.ok_or_else(|| format!("event {name}: not among those that are declared"))?;
        Ok(Self { name, version, payload })
    }

    /// As events of today.
    ///
    /// # Errors
    /// The reason, with the event's name and version: an unknown one, one from a newer component, or damage.
    pub fn read<E: Event>(&self) -> Result<Vec<E>, String> {
        let Self { name, version, payload } = self;
        let failed = |reason: String| format!("event {name} version {version}: {reason}");
        match E::VERSIONS.iter().find(|(known, _)| known == name) {
            Some((_, current)) if version == current => codec::decode(name, payload)
                .map(|event| vec![event])
                .map_err(|problem| failed(problem.to_string())),
            Some((_, current)) if version > current => Err(failed(format!(
                "newer than this component, which knows version {current}; deploy a newer one"
            ))),
            _ => {
                let payload =
                    serde_json::from_slice(payload).map_err(|error| failed(format!("not JSON: {error}")))?;
                E::upcast(name, *version, payload).map_err(failed)
            }
        }
    }
}

/// The event of that name, from what an upcast made of its payload. What the derived code calls.
#[doc(hidden)]
pub fn from_upcast<E: DeserializeOwned>(
    name: &str,
    payload: Result<Value, String>,
) -> Result<Vec<E>, String> {
    let json = serde_json::to_vec(&payload?).map_err(|error| error.to_string())?;
    let event = codec::decode(name, &json).map_err(|problem| format!("after its upcast: {problem}"))?;
    Ok(vec![event])
}
