//! Every interface that a foreign component may import, each used through its published WIT. The path says which; the
//! answer is `ok`, or what was wrong.

mod blobs;
mod keyvalue;
mod settings;

use wasmcloud_component::http;

mod bindings {
    wit_bindgen::generate!({
        path: [
            "../../../wit/wasi-blobstore",
            "../../../wit/wasi-config",
            "../../../wit/wasi-config-rc1",
            "../../../wit/wasi-keyvalue",
            "../../../wit/wasi-logging",
            "../../../wit/wasi-logging-unversioned",
            "../../../wit/wasmcloud-bus",
            "../../../wit/wasmcloud-bus-2",
            "../../../wit/wasmcloud-messaging",
            "../../../wit/wasmcloud-secrets",
        ],
        inline: "
            package wasmcloud:examples;

            world interfaces {
                import wasi:blobstore/blobstore@0.2.0-draft;
                import wasi:config/store@0.2.0-draft;
                import wasi:config/runtime@0.2.0-draft;
                import wasi:config/store@0.2.0-rc.1;
                import wasi:keyvalue/store@0.2.0-draft;
                import wasi:keyvalue/atomics@0.2.0-draft;
                import wasi:keyvalue/batch@0.2.0-draft;
                import wasi:logging/logging@0.1.0-draft;
                import wasi:logging/logging;
                import wasmcloud:bus/lattice@1.0.0;
                import wasmcloud:bus/lattice@2.0.0;
                import wasmcloud:messaging/consumer@0.2.0;
                import wasmcloud:secrets/store@0.1.0-draft;
                import wasmcloud:secrets/reveal@0.1.0-draft;
            }
        ",
        world: "wasmcloud:examples/interfaces",
        generate_all,
    });
}

struct Interfaces;

http::export!(Interfaces);

impl http::Server for Interfaces {
    fn handle(request: http::IncomingRequest) -> http::Result<http::Response<impl http::OutgoingBody>> {
        let argument = request.uri().query().unwrap_or_default();
        let outcome = match request.uri().path() {
            "/config" => settings::configuration(),
            "/logging" => settings::logging(),
            "/secrets" => settings::secrets(),
            "/link-name-1" => settings::link_name_1(argument),
            "/link-name-2" => settings::link_name_2(argument),
            "/keyvalue" => keyvalue::store(),
            "/batch" => keyvalue::batch(),
            "/blobstore" => blobs::all(),
            "/publish" => settings::publish(argument),
            "/request" => settings::request(argument),
            _ => Err("no such path".to_owned()),
        };
        let line = outcome.map_or_else(|error| error, |()| "ok".to_owned());
        Ok(http::Response::new(format!("{line}\n")))
    }
}

/// An error of any interface as text, and where it came from.
fn because<E: std::fmt::Debug>(what: &'static str) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {error:?}")
}

/// An error unless what was found is what was expected.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: {found:?}, not {expected:?}"))
    }
}
