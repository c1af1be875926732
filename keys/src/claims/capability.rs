//! Names of interfaces in claims, and wasmCloud's contract ids for them.
//!
//! Versions are left out: which version of an interface a host offers is settled when the actor
//! is linked; what the issuer permits is the interface.

use std::collections::BTreeSet;

use crate::error::{ClaimsError, excerpt};

const MAX_NAME_BYTES: usize = 128;

/// (package, interface or `*`, contract id). The first row that fits decides.
const CONTRACTS: &[(&str, &str, &str)] = &[
    ("wasi:keyvalue", "*", "wasmcloud:keyvalue"),
    ("wasi:http", "incoming-handler", "wasmcloud:httpserver"),
    ("wasi:http", "handler", "wasmcloud:httpserver"),
    ("wasi:http", "outgoing-handler", "wasmcloud:httpclient"),
    ("wasi:http", "client", "wasmcloud:httpclient"),
    ("wasi:blobstore", "*", "wasmcloud:blobstore"),
    ("wasi:logging", "*", "wasmcloud:builtin:logging"),
    ("wasmcloud:messaging", "*", "wasmcloud:messaging"),
];

/// The interface that holds a package's types and by itself does nothing.
const TYPES: &str = "types";

/// The contract id by which seed 004 and wasmCloud name the capability that an interface belongs
/// to: `wasi:keyvalue/store@0.2.0-draft` → `wasmcloud:keyvalue`. `None` if it has none.
pub fn contract_of(interface: &str) -> Option<&'static str> {
    let (package, name) = parse(interface);
    CONTRACTS
        .iter()
        .find(|(of_package, of_interface, _)| {
            *of_package == package && (*of_interface == "*" || Some(*of_interface) == name)
        })
        .map(|(_, _, contract)| *contract)
}

/// The capability's canonical spelling, as claims hold it: checks the characters and drops a
/// version (`wasi:http/outgoing-handler@0.2.3` → `wasi:http/outgoing-handler`).
pub fn capability(interface: &str) -> Result<String, ClaimsError> {
    let name = without_version(interface);
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '/' | '-' | '_' | '.');
    let (package, rest) = parse(name);
    let shaped = package.split_once(':').is_some_and(|(space, name)| !space.is_empty() && !name.is_empty())
        && rest.is_none_or(|interface| !interface.is_empty());
    if shaped && name.len() <= MAX_NAME_BYTES && name.chars().all(known) {
        return Ok(name.to_owned());
    }
    Err(ClaimsError::Field {
        name: "capabilities",
        reason: format!(
            "{:?} is no interface, package or contract id (like wasi:keyvalue/store)",
            excerpt(interface)
        ),
    })
}

/// Does any of these capabilities cover the interface?
pub(super) fn permits(capabilities: &BTreeSet<String>, interface: &str) -> bool {
    let interface = without_version(interface);
    let (package, name) = parse(interface);
    if capabilities.contains(interface) || capabilities.contains(package) {
        return true;
    }
    if contract_of(interface).is_some_and(|contract| capabilities.contains(contract)) {
        return true;
    }
    // Types come with any interface of their package: without them none could be imported.
    name == Some(TYPES)
        && capabilities.iter().any(|held| {
            parse(held).0 == package
                || CONTRACTS
                    .iter()
                    .any(|(of_package, _, contract)| *of_package == package && contract == held)
        })
}

fn without_version(interface: &str) -> &str {
    interface.split_once('@').map_or(interface, |(name, _)| name)
}

/// Splits into package and interface, without a version.
fn parse(interface: &str) -> (&str, Option<&str>) {
    match without_version(interface).split_once('/') {
        Some((package, name)) => (package, Some(name)),
        None => (without_version(interface), None),
    }
}
