//! The HTTP hello as a WASI 0.3 component: an async export and a body that is a stream, so that one instance
//! can serve many requests at once.

use wasip3::exports::http::handler::Guest;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{wit_bindgen, wit_future, wit_stream};

const BODY: &[u8] = b"Hello World\n";

struct Hello;

wasip3::http::service::export!(Hello);

impl Guest for Hello {
    async fn handle(_request: Request) -> Result<Response, ErrorCode> {
        let headers = Fields::new();
        headers
            .append("content-length", b"12")
            .map_err(|error| ErrorCode::InternalError(Some(format!("content-length: {error:?}"))))?;
        let (mut body, contents) = wit_stream::new();
        let (no_trailers, trailers) = wit_future::new(|| Ok(None));
        let (response, _sent) = Response::new(headers, Some(contents), trailers);
        // Dropping the writer sends the default, "no trailers".
        drop(no_trailers);
        // What is left over was not wanted: the client has gone.
        wit_bindgen::spawn_local(async move {
            let _unread = body.write_all(BODY.to_vec()).await;
        });
        Ok(response)
    }
}
