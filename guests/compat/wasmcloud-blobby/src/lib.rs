//! A file server: PUT, GET and DELETE of `/<name>` in a container of `wasi:blobstore`, as streams.

use wasmcloud_component::http;
use wasmcloud_component::wasi::blobstore::blobstore;
use wasmcloud_component::wasi::blobstore::container::Container;
use wasmcloud_component::wasi::blobstore::types::{IncomingValue, OutgoingValue};
use wasmcloud_component::wasi::io::streams::{InputStream, StreamError};
use wasmcloud_component::wasi::logging::logging::{log, Level};

/// Where everything is kept.
const CONTAINER: &str = "default";

struct Blobby;

http::export!(Blobby);

/// What a request comes to: a status, and an object if it asked for one.
type Answer = (http::StatusCode, Option<InputStream>);

impl http::Server for Blobby {
    fn handle(request: http::IncomingRequest) -> http::Result<http::Response<impl http::OutgoingBody>> {
        let (parts, body) = request.into_parts();
        let name = parts.uri.path().trim_matches('/').to_owned();
        let outcome = opened().and_then(|container| match parts.method {
            http::Method::GET => read(&container, &name),
            http::Method::PUT | http::Method::POST => write(&container, &name, &body),
            http::Method::DELETE => container.delete_object(&name).map(|()| (http::StatusCode::OK, None)),
            _ => Ok((http::StatusCode::METHOD_NOT_ALLOWED, None)),
        });
        let (status, object) = outcome.unwrap_or_else(|error| {
            log(Level::Error, "blobby", &error);
            (http::StatusCode::BAD_GATEWAY, None)
        });
        let mut response = http::Response::new(Object(object));
        *response.status_mut() = status;
        Ok(response)
    }
}

/// A body that may be nothing.
struct Object(Option<InputStream>);

impl http::OutgoingBody for Object {
    fn write(
        self,
        body: wasmcloud_component::wasi::http::types::OutgoingBody,
        stream: wasmcloud_component::wasi::io::streams::OutputStream,
    ) -> std::io::Result<()> {
        match self.0 {
            Some(object) => object.write(body, stream),
            None => "".write(body, stream),
        }
    }
}

fn opened() -> Result<Container, String> {
    let name = CONTAINER.to_owned();
    if blobstore::container_exists(&name)? {
        return blobstore::get_container(&name);
    }
    log(Level::Info, "blobby", "making the container");
    blobstore::create_container(&name)
}

fn read(container: &Container, name: &String) -> Result<Answer, String> {
    if !container.has_object(name)? {
        return Ok((http::StatusCode::NOT_FOUND, None));
    }
    let size = container.object_info(name)?.size;
    let object = container.get_data(name, 0, size)?;
    let stream = IncomingValue::incoming_value_consume_async(object)?;
    Ok((http::StatusCode::OK, Some(stream)))
}

fn write(container: &Container, name: &String, body: &InputStream) -> Result<Answer, String> {
    let value = OutgoingValue::new_outgoing_value();
    let stream = value.outgoing_value_write_body().map_err(|()| "the body was taken".to_owned())?;
    // Before the object has its content: the store takes it when the value is finished.
    container.write_data(name, &value)?;
    loop {
        match stream.blocking_splice(body, 64 << 10) {
            Ok(_) => {}
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
        }
    }
    drop(stream);
    OutgoingValue::finish(value)?;
    Ok((http::StatusCode::CREATED, None))
}
