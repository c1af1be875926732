//! One line for every request, with nothing but the crate `wasip3`: it imports a WASI 0.3.x newer than the host's.

use wasip3::exports::http::handler::Guest;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{wit_bindgen, wit_future, wit_stream};

struct Hello;

wasip3::http::service::export!(Hello);

impl Guest for Hello {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let (mut body, contents) = wit_stream::new();
        let (no_trailers, trailers) = wit_future::new(|| Ok(None));
        let (response, _sent) = Response::new(Fields::new(), Some(contents), trailers);
        drop(no_trailers);
        wit_bindgen::spawn_local(async move {
            let line = format!("wasip3 says hello at {path}\n");
            let _unread = body.write_all(line.into_bytes()).await;
        });
        Ok(response)
    }
}
