//! What Spin's template began with until WASI 0.3: a component of WASI 0.2.

use spin_sdk::http::{IntoResponse, Request, Response};
use spin_sdk::http_component;

#[http_component]
fn hello(request: Request) -> anyhow::Result<impl IntoResponse> {
    let path = request.path().to_owned();
    println!("asked for {path}, by {:?}", request.header("spin-full-url"));
    Ok(Response::builder()
        .status(200)
        .header("content-type", "text/plain")
        .body(format!("spin 5 says hello at {path}\n"))
        .build())
}
