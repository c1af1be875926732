//! The smallest actor worth deploying: it answers every HTTP request with one line.

use trellis_guest::{Request, Response};

#[trellis_guest::http]
fn hello(request: Request) -> Response {
    Response::text(format!("Hello from Trellis at {}\n", request.path()))
}
