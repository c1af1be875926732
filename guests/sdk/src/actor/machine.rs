//! An actor between its typed and its stored form: what the exported functions do, and the test kit, by the same code.

use super::codec::Problem;
use super::{Actor, Command, RawDecision, RawEvent, Refusal, Turn};

/// What becomes of a command.
///
/// # Errors
/// The actor's refusal, or that name or body are not what it reads.
pub fn decide<A: Actor>(actor: &A, turn: &Turn, name: &str, body: &[u8]) -> Result<RawDecision, Refusal> {
    let command =
        A::Command::decode(name, body).map_err(|problem| Refusal::unread("command", name, &problem))?;
    actor.decide(turn, command)?.encode()
}

/// Takes events in.
///
/// # Errors
/// An event that cannot be read, with its name and version. Those before it are taken in.
pub fn apply<A: Actor>(actor: &mut A, events: &[RawEvent]) -> Result<(), String> {
    for event in events {
        event.read()?.into_iter().for_each(|event| actor.apply(event));
    }
    Ok(())
}

/// Version and bytes of the state.
///
/// # Errors
/// A state that has no JSON form.
pub fn save<A: Actor>(actor: &A) -> Result<(u32, Vec<u8>), String> {
    let json = serde_json::to_vec(actor).map_err(|error| format!("state: {error}"))?;
    Ok((A::VERSION, json))
}

/// The state from what [`save`] gave, in this or an older version.
///
/// # Errors
/// It cannot be read: the host folds from the events instead.
pub fn load<A: Actor>(version: u32, snapshot: &[u8]) -> Result<A, String> {
    let failed = |reason: String| format!("snapshot version {version}: {reason}");
    if version == A::VERSION {
        return serde_json::from_slice(snapshot).map_err(|error| failed(error.to_string()));
    }
    if version > A::VERSION {
        return Err(failed(format!("newer than this component, which knows version {}", A::VERSION)));
    }
    let old = serde_json::from_slice(snapshot).map_err(|error| failed(format!("not JSON: {error}")))?;
    let upcast = A::upcast(version, old).map_err(failed)?;
    serde_json::from_value(upcast).map_err(|error| failed(format!("after its upcast: {error}")))
}

/// An answer from the state. Every actor answers `state` with all of it, unless it has a query of that name.
///
/// # Errors
/// The actor's refusal, or that name or body are not what it reads.
pub fn query<A: Actor>(actor: &A, name: &str, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let fault = |error: serde_json::Error| Refusal::new("actor-fault", format!("the answer: {error}"));
    match A::Query::decode(name, body) {
        Ok(query) => serde_json::to_vec(&actor.query(query)?).map_err(fault),
        Err(Problem::Name { .. }) if name == "state" => serde_json::to_vec(actor).map_err(fault),
        Err(problem) => {
            let mut refusal = Refusal::unread("query", name, &problem);
            if refusal.code == "unknown-query" && !refusal.message.contains("state") {
                refusal.message.push_str(", state");
            }
            Err(refusal)
        }
    }
}
