//! The way in from the field: what machines, drones and substations send, by HTTP or by message, becomes a command of
//! the persistent actor that stands for the device. It keeps nothing itself, so any number of it may run, on any host.
//!
//! | in | command or query |
//! |---|---|
//! | `POST /machines/<id>/readings`, message on `edge.machines.<id>.readings` | `record-temperature` |
//! | `POST /machines/<id>/alarms`, `edge.machines.<id>.alarms` | `trigger-alarm` |
//! | `POST /drones/<id>/battery`, `edge.drones.<id>.battery` | `report-level` |
//! | `POST /drones/<id>/command`, `edge.drones.<id>.command` | what its `type` says, as in seed 002: `StartMission` |
//! | `POST /drones/<id>/steps`, `edge.drones.<id>.steps` | `flow`: the autopilot's word on a step |
//! | `POST /substations/<id>/measurements`, `edge.substations.<id>.measurements` | `measure` |
//! | `GET /machines/<id>/latest`, `/drones/<id>/battery`, `/drones/<id>/mission`, `/substations/<id>/load` | queries |
//!
//! An answer is given when the command is stored. Over HTTP a device may name its command by a `UUIDv7`
//! (`Idempotency-Key`) and send it again until it is answered: it is carried out once. What the actor refuses is a 409.
//! A message is answered where an answer is awaited, by the same JSON, or by `{"error": …}`.

mod routes;

use routes::Told;
use trellis_guest::{Error, Message, Request, Response, client, link};

#[trellis_guest::http]
fn serve(request: Request) -> Result<Response, Error> {
    let segments = request.segments();
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    let body = match (request.method(), path.as_slice()) {
        ("POST", [collection, id, topic]) => {
            let told = routes::command(collection, id, topic, request.bytes()?);
            tell(&told.map_err(Error::bad_request)?, request.headers().get("idempotency-key"))?
        }
        ("GET", [collection, id, view]) => {
            let (name, query) = routes::query(collection, view).map_err(Error::not_found)?;
            let _link = link(name).actors();
            client::query(id, query, &[])?
        }
        ("POST" | "GET", _) => return Err(Error::not_found("want /<collection>/<id>/<topic>")),
        (method, _) => return Err(Error::method_not_allowed(method, "GET, POST")),
    };
    Ok(Response::new(200).with_header("content-type", "application/json").with_body(body))
}

#[trellis_guest::message]
fn receive(message: Message) -> Result<(), Error> {
    let told = routes::address(&message.subject)
        .and_then(|(collection, id, topic)| routes::command(collection, id, topic, &message.body));
    let outcome = told.map_err(Error::bad_request).and_then(|told| tell(&told, None));
    let sent = match &outcome {
        Ok(reply) => message.reply(reply.clone()),
        // The host logs it as well.
        Err(error) => message.reply_json(&serde_json::json!({ "error": error.message() })),
    };
    outcome?;
    sent?;
    Ok(())
}

/// Has the device's actor carry out what it was told; gives its answer.
fn tell(told: &Told<'_>, command_id: Option<&str>) -> Result<Vec<u8>, Error> {
    let _link = link(told.link).actors();
    let done = match command_id {
        Some(command_id) => {
            client::submit_as(told.id, &told.command, serde_json::to_vec(&told.body)?, command_id)?
        }
        None => client::submit(told.id, &told.command, &told.body)?,
    };
    Ok(done.reply)
}
