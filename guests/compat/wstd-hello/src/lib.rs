//! One line for every request, with `wstd`'s server and a timer of its own event loop.

use wstd::http::{Body, Error, Request, Response};
use wstd::time::Duration;

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    wstd::task::sleep(Duration::from_millis(1)).await;
    let line = format!("wstd says hello at {}\n", request.uri().path());
    Ok(Response::new(line.into()))
}
