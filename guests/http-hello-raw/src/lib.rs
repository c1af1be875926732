//! The HTTP hello of the benchmark: bare bindings and nothing else, so that what is measured is the host.
//! It answers with twelve bytes and their length, in the fewest calls the interface allows.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

const BODY: &[u8] = b"Hello World\n";

struct Hello;

wasip2::http::proxy::export!(Hello);

impl Guest for Hello {
    /// A failure of the host's own resources leaves the answer unset, which the host reports.
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        let headers = Fields::new();
        let _ = headers.append("content-length", b"12");
        let response = OutgoingResponse::new(headers);
        let Ok(body) = response.body() else { return };
        ResponseOutparam::set(out, Ok(response));
        if let Ok(stream) = body.write() {
            let _ = stream.blocking_write_and_flush(BODY);
        }
        let _ = OutgoingBody::finish(body, None);
    }
}
