//! `trellis call ACTOR FUNCTION`: one call from the command line, as another host would make it.
//!
//! `HandleMessage` (or any call with `--subject`) hands the actor a message, `HandleRequest` an
//! HTTP request; anything else is a function of one of its exports, with parameters as JSON.
//!
//! `trellis call KIND/ID COMMAND` has a persistent actor carry out a command ([`super::entity`]).

use crate::args::Args;
use crate::client::Client;
use crate::commands::{Outcome, entity};
use crate::component::Shape;
use crate::{artifacts, output, reference, signing};
use bytes::Bytes;
use lattice_io::{BusError, BusMessage};
use lattice_journal::CommandId;
use lattice_protocol::invocation::{HttpHead, Invocation, MessageHead, decode_reply, join, split};
use lattice_protocol::value::{Limits, Signature, decode_all, encode_call, params_from_json, to_json};
use lattice_protocol::{ActorId, ErrorCode, Report};
use serde_json::{Value as Json, json};
use std::path::Path;
use std::time::Duration;

/// Its arguments.
#[derive(Debug, clap::Args)]
pub struct CallArgs {
    /// The actor: app/name, a bare name, or its module key; kind/id or app/kind/id for a persistent one.
    pub actor: String,
    /// The function: one of its exports', `HandleMessage` or `HandleRequest`; a persistent actor's command.
    pub function: String,
    /// Id of a persistent actor's command, a `UUIDv7`: the same id is carried out once. Default: a new one.
    #[arg(long, value_name = "UUID")]
    pub id: Option<CommandId>,
    /// Which of its interfaces, when several have the function.
    #[arg(long)]
    pub interface: Option<String>,
    /// Subject of the message.
    #[arg(long)]
    pub subject: Option<String>,
    /// Parameters as JSON, or the body of the message or request; @FILE reads a file.
    #[arg(long, value_name = "TEXT|@FILE")]
    pub data: Option<String>,
    /// Method of the request.
    #[arg(long, default_value = "GET")]
    pub method: String,
    /// Path of the request.
    #[arg(long, default_value = "/")]
    pub path: String,
    /// Patience, milliseconds.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub timeout: u64,
}

/// What is being called, and how its answer is read.
enum Kind {
    Message,
    Http,
    Typed { interface: String, signature: Signature },
}

/// Runs it.
pub async fn run(args: &Args, call: &CallArgs) -> Outcome {
    let data = data(call.data.as_deref())?;
    let client = Client::connect(args).await?;
    let result = connected(args, &client, call, data).await;
    client.close().await;
    result
}

/// The text of `--data`, or the file that it names.
///
/// # Errors
/// The file cannot be read.
pub fn data(text: Option<&str>) -> Result<Vec<u8>, Report> {
    match text {
        None => Ok(Vec::new()),
        Some(text) => match text.strip_prefix('@') {
            Some(path) => signing::read_file(Path::new(path), 1 << 20, "read the data"),
            None => Ok(text.as_bytes().to_vec()),
        },
    }
}

async fn connected(args: &Args, client: &Client, call: &CallArgs, data: Vec<u8>) -> Outcome {
    if let Some(address) = entity::meant(client, &call.actor, call.id.is_some()).await? {
        let id = call.id.map_or_else(entity::new_id, Ok)?;
        return entity::command(args, client, (&address, id), (&call.function, data, call.timeout)).await;
    }
    let actor = reference::find_actor(client, &call.actor).await?;
    let kind = kind(client, call, &actor).await?;
    let (interface, function, payload) = payload(call, &kind, data)?;
    let invocation = Invocation {
        target: actor.clone(),
        interface,
        function,
        remaining_ms: call.timeout,
        depth: 0,
        caller: None,
        link: None,
        traceparent: None,
        idempotency_key: None,
    };
    let message = BusMessage::new(client.subjects.actor_call(&actor), invocation.encode(&payload)?);
    // The host keeps the deadline; a little more, so that its own answer about that arrives.
    let patience = Duration::from_millis(call.timeout.saturating_add(250));
    let answer = client.lattice.bus.request(message, patience).await.map_err(|error| match error {
        BusError::NoResponders { .. } => {
            // The seed's words for a message without a consumer.
            let what = format!("NATS: subscription timeout: no host runs {actor}");
            Report::new(ErrorCode::ActorNotFound, what).hint("see why: trellis get actors")
        }
        other => other.into(),
    })?;
    show(args, &kind, &decode_reply(answer.payload)?)
}

async fn kind(client: &Client, call: &CallArgs, actor: &ActorId) -> Result<Kind, Report> {
    let plain = call.function.rsplit('.').next().unwrap_or_default();
    if matches!(plain, "HandleMessage" | "handle-message")
        || (call.subject.is_some() && call.interface.is_none())
    {
        return Ok(Kind::Message);
    }
    if matches!(plain, "HandleRequest" | "handle-request") {
        return Ok(Kind::Http);
    }
    let file = artifacts::of_actor(client, &client.app(&actor.app).await?, actor).await?;
    let shape = Shape::read(&file)?;
    let (interface, function) = match (&call.interface, call.function.rsplit_once('.')) {
        (Some(interface), _) => (Some(interface.as_str()), call.function.as_str()),
        (None, Some((interface, function))) => (Some(interface), function),
        (None, None) => (None, call.function.as_str()),
    };
    let (interface, signature) =
        shape.function(interface, function).map_err(|report| report.during(&actor.to_string()))?;
    Ok(Kind::Typed { interface: interface.to_owned(), signature: signature.clone() })
}

fn payload(call: &CallArgs, kind: &Kind, data: Vec<u8>) -> Result<(String, String, Vec<u8>), Report> {
    match kind {
        Kind::Message => {
            let subject = call.subject.clone().ok_or_else(|| {
                Report::new(ErrorCode::Usage, "a message needs a subject")
                    .hint("say it: --subject edge.sensor.a")
            })?;
            lattice_protocol::subject::check_subject(&subject, false)?;
            let head = MessageHead { subject, reply_to: None, headers: Vec::new() };
            Ok(("wasmcloud:messaging/handler".to_owned(), "handle-message".to_owned(), join(&head, &data)?))
        }
        Kind::Http => {
            let head = HttpHead {
                method: call.method.clone(),
                uri: format!(
                    "http://localhost{}{}",
                    if call.path.starts_with('/') { "" } else { "/" },
                    call.path
                ),
                status: 0,
                headers: vec![("host".to_owned(), "localhost".to_owned())],
            };
            Ok(("wasi:http/incoming-handler".to_owned(), "handle".to_owned(), join(&head, &data)?))
        }
        Kind::Typed { interface, signature } => {
            let json: Json = if data.is_empty() {
                Json::Null
            } else {
                serde_json::from_slice(&data).map_err(|error| {
                    Report::new(ErrorCode::Usage, format!("not JSON: {error}")).at("--data")
                })?
            };
            let usage = |what: String| Report::new(ErrorCode::Usage, what).at("--data").limit(signature);
            let params = params_from_json(&json, signature).map_err(|error| usage(error.to_string()))?;
            let payload = encode_call(signature, &params).map_err(|error| usage(error.to_string()))?;
            let function = call.function.rsplit('.').next().unwrap_or(&call.function);
            Ok((interface.clone(), function.to_owned(), payload))
        }
    }
}

fn show(args: &Args, kind: &Kind, answer: &Bytes) -> Outcome {
    match kind {
        Kind::Message => {
            output::say(args, "handled");
            if args.output == output::Format::Json {
                output::json(&json!({ "handled": true }));
            }
        }
        Kind::Http => {
            let (head, body) = split::<HttpHead>(answer)?;
            let text = String::from_utf8_lossy(&body);
            if args.output == output::Format::Json {
                output::json(&json!({ "status": head.status, "headers": head.headers, "body": text }));
            } else {
                output::say(args, format!("HTTP {}", head.status));
                output::raw(&text);
            }
        }
        Kind::Typed { signature, .. } => {
            let values =
                decode_all(signature.results.iter(), answer, &Limits::default()).map_err(Report::from)?;
            let wrong = |error: lattice_protocol::value::JsonError| {
                Report::new(ErrorCode::Malformed, error.to_string())
            };
            let mut shown = values
                .iter()
                .zip(&signature.results)
                .map(|(value, ty)| to_json(value, ty))
                .collect::<Result<Vec<Json>, _>>()
                .map_err(wrong)?;
            output::json(&match shown.len() {
                0 => Json::Null,
                1 => shown.swap_remove(0),
                _ => Json::Array(shown),
            });
        }
    }
    Ok(())
}
