//! What Spin's template `http-rust` begins with: a service of WASI 0.3, prints included.

use spin_sdk::http::{IntoResponse, Request, Response};
use spin_sdk::http_service;

#[http_service]
async fn hello(request: Request) -> anyhow::Result<impl IntoResponse> {
    let path = request.uri().path().to_owned();
    println!("asked for {path}, by {:?}", request.headers().get("spin-full-url"));
    Ok(Response::builder()
        .status(200)
        .header("content-type", "text/plain")
        .body(format!("spin says hello at {path}\n"))?)
}
