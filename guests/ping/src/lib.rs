//! Calls another actor by a WIT interface. `/` asks it for its word; `/shapes` sends every kind of value through it
//! and says for each whether it came back equal; `/trap` makes it fail, to see what a caller is told.
//! Whether the other actor is on this host or another, this code cannot tell.

mod shapes;

use serde::Serialize;
use trellis_guest::{Error, Request, Response};

/// The generated bindings of `wit/world.wit`, which asks for the interfaces that `pong` declares.
mod bindings {
    wit_bindgen::generate!({
        path: ["../pong/wit", "wit"],
        world: "example:ping/ping",
        generate_all,
    });
}

use bindings::example::pong;

/// The answer of `/shapes`: the functions whose value came back changed, and how many were tried.
#[derive(Serialize)]
struct Report {
    tried: usize,
    changed: Vec<&'static str>,
}

#[trellis_guest::http]
fn ask(request: Request) -> Result<Response, Error> {
    match request.path() {
        "/" => Ok(Response::text(format!("ping {}\n", pong::pingpong::ping()))),
        "/shapes" => {
            let outcomes = shapes::round_trips();
            let changed = outcomes.iter().filter(|(_, equal)| !equal).map(|(name, _)| *name).collect();
            Response::json(&Report { tried: outcomes.len(), changed })
        }
        "/trap" => {
            pong::shapes::trap();
            Err(Error::internal("trap: the call returned"))
        }
        other => Err(Error::not_found(format!("path {other}: unknown; use /, /shapes or /trap"))),
    }
}
