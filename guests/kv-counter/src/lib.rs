//! Counts requests per path: one atomic increment in the bucket `default`, one line of JSON back.
//! The key is the path without its first slash; the root counts as `index`.

use serde::Serialize;
use trellis_guest::{Error, Request, Response, kv};

/// The answer: what was counted, and how often so far.
#[derive(Serialize)]
struct Count<'a> {
    key: &'a str,
    count: u64,
}

#[trellis_guest::http]
fn count(request: Request) -> Result<Response, Error> {
    let key = match request.path().trim_start_matches('/') {
        "" => "index",
        path => path,
    };
    let count = kv::open("default")?.increment(key, 1)?;
    Response::json(&Count { key, count })
}
