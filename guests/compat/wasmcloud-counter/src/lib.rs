//! Counts how often each path was asked for. The query chooses the link by its name (`link_name=`); a request with the
//! header `password` must know the secret `api_password`; the greeting is configuration.

use wasmcloud_component::http;
use wasmcloud_component::wasi::config::store as config;
use wasmcloud_component::wasi::keyvalue::{atomics, store};
use wasmcloud_component::wasi::logging::logging::{log, Level};
use wasmcloud_component::wasmcloud::bus::lattice::{set_link_name, CallTargetInterface};

wit_bindgen::generate!({
    path: "../../../wit/wasmcloud-secrets",
    inline: "
        package wasmcloud:examples;

        world counter {
            import wasmcloud:secrets/store@0.1.0-draft;
            import wasmcloud:secrets/reveal@0.1.0-draft;
        }
    ",
    world: "wasmcloud:examples/counter",
    generate_all,
});

use wasmcloud::secrets::{reveal, store as secrets};

struct Counter;

http::export!(Counter);

impl http::Server for Counter {
    fn handle(request: http::IncomingRequest) -> http::Result<http::Response<impl http::OutgoingBody>> {
        let password = request.headers().get("password").map(http::HeaderValue::as_bytes);
        if password.is_some_and(|password| !is_known(password)) {
            let mut refused = http::Response::new("Unauthorized\n".to_owned());
            *refused.status_mut() = http::StatusCode::UNAUTHORIZED;
            return Ok(refused);
        }
        let path = request.uri().path();
        let query = request.uri().query().unwrap_or_default();
        let link = query.strip_prefix("link_name=").unwrap_or("default");
        let line = count(path, link).map_err(|error| http::ErrorCode::InternalError(Some(error)))?;
        Ok(http::Response::new(line))
    }
}

fn is_known(password: &[u8]) -> bool {
    let Ok(secret) = secrets::get("api_password") else { return false };
    match reveal::reveal(&secret) {
        secrets::SecretValue::String(text) => text.as_bytes() == password,
        secrets::SecretValue::Bytes(bytes) => bytes == password,
    }
}

fn count(path: &str, link: &str) -> Result<String, String> {
    let keyvalue = |name| CallTargetInterface::new("wasi", "keyvalue", name);
    set_link_name(link, vec![keyvalue("store"), keyvalue("atomics")])?;
    // The store behind the link has one bucket, and no name for it.
    let bucket = store::open("").map_err(|error| format!("open: {error:?}"))?;
    let count = atomics::increment(&bucket, path, 1).map_err(|error| format!("increment: {error:?}"))?;
    log(Level::Info, "counter", &format!("{path}: {count}"));
    let greeting = config::get("greeting").map_err(|error| format!("config: {error:?}"))?;
    Ok(format!("{} {path}: {count}\n", greeting.as_deref().unwrap_or("Counter")))
}
