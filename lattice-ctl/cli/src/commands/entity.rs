//! Persistent actors from the command line: what `call`, `query` and `actor` share.
//!
//! A command is repeated under its own id for as long as there is time: it is carried out once, however
//! often it arrives.

use crate::args::Args;
use crate::client::Client;
use crate::commands::Outcome;
use crate::{home, output, reference};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use lattice_io::call::ask_entity;
use lattice_journal::CommandId;
use lattice_protocol::entity::{Attempts, CommandBy, EntityAnswer, EntityAsk, EntityCall};
use lattice_protocol::{Address, ErrorCode, HostId, KindName, Report};
use serde_json::json;
use std::time::{Duration, Instant};

/// Pause between two attempts of one command.
const PAUSE: Duration = Duration::from_millis(100);

/// The persistent actor that is meant, unless it is an actor of another sort: `app/kind/id` always is
/// one, `kind/id` when no application has an actor of that name.
///
/// # Errors
/// `E_NAME` when it must be one and is not well formed.
pub async fn meant(client: &Client, text: &str, must: bool) -> Result<Option<Address>, Report> {
    let slashes = text.matches('/').count();
    if must || slashes > 1 {
        return text.parse().map(Some);
    }
    if slashes == 0 {
        return Ok(None);
    }
    let Ok(address) = text.parse::<Address>() else { return Ok(None) };
    let apps = client.apps().await?;
    let named = reference::actors(&apps).any(|id| id.to_string() == text);
    Ok((!named).then_some(address))
}

/// A new command id, issued now.
///
/// # Errors
/// No entropy.
pub fn new_id() -> Result<CommandId, Report> {
    let mut entropy = [0; 10];
    getrandom::fill(&mut entropy)
        .map_err(|error| Report::new(ErrorCode::Io, format!("no entropy: {error}")))?;
    Ok(CommandId::new(home::now_unix_ms(), entropy))
}

/// Asks whoever runs the kind.
///
/// # Errors
/// The owner's report, or what the bus says.
pub async fn ask(
    client: &Client,
    address: &Address,
    ask: EntityAsk,
    (body, timeout_ms): (&[u8], u64),
) -> Result<(EntityAnswer, Bytes), Report> {
    let call = EntityCall {
        kind: address.key.kind.clone(),
        app: address.app.clone(),
        ask,
        remaining_ms: timeout_ms,
        traceparent: None,
    };
    ask_entity((&*client.lattice.bus, &client.subjects), None, &call, body).await
}

/// Asks one host about the actors of a kind that it owns: its answer as JSON.
///
/// # Errors
/// The host's report, or what the bus says.
pub async fn ask_host(
    client: &Client,
    (kind, host): (&KindName, &HostId),
    ask: EntityAsk,
) -> Result<serde_json::Value, Report> {
    let call = EntityCall { kind: kind.clone(), app: None, ask, remaining_ms: 10_000, traceparent: None };
    let (_, reply) = ask_entity((&*client.lattice.bus, &client.subjects), Some(host), &call, &[]).await?;
    if matches!(call.ask, EntityAsk::Replay { .. }) {
        // The actor's own reply, in its own form.
        return Ok(serde_json::Value::Null);
    }
    serde_json::from_slice(&reply)
        .map_err(|error| Report::new(ErrorCode::Malformed, format!("answer of the host: {error}")))
}

/// May the same command be sent again at once, in the hope of another answer?
fn passes(code: ErrorCode) -> bool {
    use ErrorCode::{Domain, Fenced, Moving, OutcomeUnknown, Overloaded};
    matches!(code, Domain | Fenced | Moving | OutcomeUnknown | Overloaded)
}

/// Asks the owner for as long as there is time, while another attempt may have another answer: it must be
/// something that may be asked again.
///
/// # Errors
/// The owner's report, or what the bus says.
pub async fn ask_until(
    client: &Client,
    address: &Address,
    (what, body): (EntityAsk, &[u8]),
    timeout_ms: u64,
) -> Result<(EntityAnswer, Bytes), Report> {
    let until = Instant::now() + Duration::from_millis(timeout_ms);
    let mut attempts = Attempts::default();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1);
        let asked = ask(client, address, what.clone(), (body, left_ms)).await;
        match asked.map_err(|report| attempts.told(report)) {
            Err(report) if passes(report.code) && Instant::now() + PAUSE < until => {
                tokio::time::sleep(PAUSE).await;
            }
            settled => return settled,
        }
    }
}

/// Has an actor carry out a command, and prints its answer.
pub async fn command(
    args: &Args,
    client: &Client,
    (address, id): (&Address, CommandId),
    (name, body, timeout_ms): (&str, Vec<u8>, u64),
) -> Outcome {
    let by = CommandBy::Id(id.to_string());
    let what = EntityAsk::Command { key: address.key.clone(), name: name.to_owned(), by };
    let asked = ask_until(client, address, (what, &body), timeout_ms).await;
    let (answer, reply) = asked.map_err(|report| {
        if passes(report.code) {
            report.hint(format!("send it again, it is carried out once: --id {id}"))
        } else {
            report
        }
    })?;
    show(args, &answer, &reply, Some(id));
    Ok(())
}

/// Prints an answer: as text where it is text.
pub fn show(args: &Args, answer: &EntityAnswer, reply: &Bytes, id: Option<CommandId>) {
    let text = std::str::from_utf8(reply).ok();
    if args.output == output::Format::Json {
        let reply = match text.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok()) {
            Some(value) => value,
            None => text.map_or_else(|| json!({ "base64": BASE64.encode(reply) }), |text| json!(text)),
        };
        let mut shown = json!({ "reply": reply, "seq": answer.seq, "epoch": answer.epoch });
        if let (Some(stale), Some(fields)) = (answer.stale, shown.as_object_mut()) {
            fields.insert("stale".to_owned(), json!(stale));
        }
        if let (Some(id), Some(fields)) = (id, shown.as_object_mut()) {
            fields.insert("id".to_owned(), json!(id.to_string()));
            fields.insert("repeated".to_owned(), json!(answer.repeated));
        }
        return output::json(&shown);
    }
    match text {
        Some("") => output::say(args, format!("done (commit {})", answer.seq)),
        Some(text) => output::raw(text),
        None => output::raw(&BASE64.encode(reply)),
    }
}
