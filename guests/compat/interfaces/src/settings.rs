//! Configuration in its three drafts, logging in its two, secrets, link names, messages.

use crate::bindings::wasi::config0_2_0_draft::{runtime, store as draft};
use crate::bindings::wasi::config0_2_0_rc_1::store as candidate;
use crate::bindings::wasi::keyvalue::store;
use crate::bindings::wasi::logging::logging as unversioned;
use crate::bindings::wasi::logging0_1_0_draft::logging;
use crate::bindings::wasmcloud::bus1_0_0::lattice as bus_1;
use crate::bindings::wasmcloud::bus2_0_0::lattice as bus_2;
use crate::bindings::wasmcloud::messaging::{consumer, types::BrokerMessage};
use crate::bindings::wasmcloud::secrets::{reveal, store as secret_store};
use crate::{because, same};

/// The value that the manifest gives to `greeting`, by every way there is.
pub fn configuration() -> Result<(), String> {
    let hello = || Some("hello".to_owned());
    same("draft store", draft::get("greeting").map_err(because("draft store"))?, hello())?;
    same("runtime", runtime::get("greeting").map_err(because("runtime"))?, hello())?;
    same("rc.1", candidate::get("greeting").map_err(because("rc.1"))?, hello())?;
    same("absent", draft::get("absent").map_err(because("absent"))?, None)?;
    let all = draft::get_all().map_err(because("draft all"))?;
    same("greeting among all", all.iter().any(|(key, value)| key == "greeting" && value == "hello"), true)?;
    same("runtime all", runtime::get_all().map_err(because("runtime all"))?, all.clone())?;
    same("rc.1 all", candidate::get_all().map_err(because("rc.1 all"))?, all)
}

pub fn logging() -> Result<(), String> {
    logging::log(logging::Level::Info, "interfaces", "logged with a version");
    logging::log(logging::Level::Critical, "interfaces", "critical");
    unversioned::log(unversioned::Level::Info, "interfaces", "logged without a version");
    Ok(())
}

pub fn secrets() -> Result<(), String> {
    let secret = secret_store::get("api_password").map_err(because("get"))?;
    match reveal::reveal(&secret) {
        secret_store::SecretValue::String(text) => same("text", text, "opensesame".to_owned())?,
        secret_store::SecretValue::Bytes(bytes) => same("bytes", bytes, b"opensesame".to_vec())?,
    }
    match secret_store::get("no-such-secret") {
        Err(secret_store::SecretsError::NotFound) => Ok(()),
        Err(other) => Err(format!("absent: {other:?}")),
        Ok(_) => Err("an absent secret was found".to_owned()),
    }
}

/// Writes what the link's name is into the store behind that link.
fn mark(name: &str) -> Result<(), String> {
    let bucket = store::open("").map_err(because("open"))?;
    let mut seen = bucket.get("marks").map_err(because("get"))?.unwrap_or_default();
    seen.extend_from_slice(name.as_bytes());
    bucket.set("marks", &seen).map_err(because("set"))?;
    // Two links to two stores: each knows its own name only.
    same("marks", seen.chunks(name.len().max(1)).all(|each| each == name.as_bytes()), true)
}

pub fn link_name_1(name: &str) -> Result<(), String> {
    bus_1::set_link_name(name, vec![bus_1::CallTargetInterface::new("wasi", "keyvalue", "store")]);
    mark(name)
}

pub fn link_name_2(name: &str) -> Result<(), String> {
    let store = bus_2::CallTargetInterface::new("wasi", "keyvalue", "store");
    bus_2::set_link_name(name, vec![store])?;
    mark(name)
}

pub fn publish(subject: &str) -> Result<(), String> {
    let body = b"from interfaces".to_vec();
    consumer::publish(&BrokerMessage { subject: subject.to_owned(), body, reply_to: None })
}

pub fn request(subject: &str) -> Result<(), String> {
    let answer = consumer::request(subject, b"marco", 5_000)?;
    same("answer", answer.body, b"marco".to_vec())
}
