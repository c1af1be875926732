//! One line for every request, with nothing but the crate `wasi`.

use std::io::Write as _;

use wasi::exports::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Hello;

wasi::http::proxy::export!(Hello);

impl Guest for Hello {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(answer, Ok(response));
        let mut stream = body.write().expect("the stream is taken once");
        writeln!(stream, "wasi says hello at {path}").expect("the client reads");
        drop(stream);
        OutgoingBody::finish(body, None).expect("nothing was promised about its length");
    }
}
