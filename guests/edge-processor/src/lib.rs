//! The edge processor: it judges sensor readings that come by HTTP or by message, keeps the last result of each
//! device, counts, publishes alerts, and obeys commands from the cloud. What it decides is in `edge-model`; here is
//! what it does.
//!
//! | in | does |
//! |---|---|
//! | `POST /readings` | judges a reading, answers the result |
//! | `GET /devices/<id>` | the last result of a device, or 404 |
//! | `GET /stats` | readings per level, messages delivered, acknowledgements pending |
//! | message on `edge.sensor.<region>` | as `POST /readings`; answers where an answer is awaited |
//! | message on `cloud.cmd.<node>` | obeys the command, once |
//!
//! Configuration, all optional: `temp_threshold` (85), `humidity_threshold` (90), `alert_enabled` (true), `node_id`
//! (else the environment's `WASMCLOUD_NODE_ID`, else `edge-unknown`), `region` of short readings by HTTP
//! (`unknown`), `bucket` (`default`), `request_ack` (false: alerts carry no reply subject).
//!
//! Keys in the bucket: `<device id>` has the last result; names with a dot, which no device id has, are the actor's
//! own: `alerts.<level>`, `delivered`, `config.<node>`, `node.<node>`. The store has no compare-and-swap, so
//! commands to one node are to be delivered one at a time (a subscription with one message in flight); readings
//! need no order.

mod commands;
mod messages;
mod readings;
mod settings;
mod web;

use trellis_guest::{Error, Message, Request, Response};

#[trellis_guest::http]
fn serve(request: Request) -> Result<Response, Error> {
    web::answer(&request)
}

#[trellis_guest::message]
fn receive(message: Message) -> Result<(), Error> {
    messages::receive(&message)
}
