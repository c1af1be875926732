//! One line for every request, with wasmCloud's own crate.

use wasmcloud_component::http;

struct Hello;

http::export!(Hello);

impl http::Server for Hello {
    fn handle(request: http::IncomingRequest) -> http::Result<http::Response<impl http::OutgoingBody>> {
        let line = format!("wasmcloud says hello at {}\n", request.uri().path());
        Ok(http::Response::new(line))
    }
}
