//! Generated traits of the interfaces that guests import, one module per WIT package. The texts
//! are those of `wit/`, which guests are built against too.

pub(crate) mod keyvalue {
    wasmtime::component::bindgen!({
        path: "../../wit/wasi-keyvalue",
        world: "wasi:keyvalue/imports",
        imports: { default: async | trappable },
        with: { "wasi:keyvalue/store.bucket": crate::capabilities::keyvalue::Bucket },
        trappable_error_type: { "wasi:keyvalue/store.error" => crate::capabilities::keyvalue::Refusal },
    });
}

pub(crate) mod config {
    wasmtime::component::bindgen!({
        path: "../../wit/wasi-config",
        world: "wasi:config/imports",
        imports: { default: trappable },
    });
}

pub(crate) mod config_rc1 {
    wasmtime::component::bindgen!({
        path: "../../wit/wasi-config-rc1",
        world: "wasi:config/imports",
        imports: { default: trappable },
    });
}

pub(crate) mod logging {
    wasmtime::component::bindgen!({
        path: "../../wit/wasi-logging",
        world: "wasi:logging/imports",
        imports: { default: trappable },
    });
}

pub(crate) mod logging_unversioned {
    wasmtime::component::bindgen!({
        path: "../../wit/wasi-logging-unversioned",
        world: "wasi:logging/imports",
        imports: { default: trappable },
    });
}

pub(crate) mod messaging {
    wasmtime::component::bindgen!({
        path: "../../wit/wasmcloud-messaging",
        world: "wasmcloud:messaging/imports",
        imports: { default: async | trappable },
    });
}

pub(crate) mod bus {
    wasmtime::component::bindgen!({
        path: "../../wit/wasmcloud-bus",
        world: "wasmcloud:bus/imports",
        imports: { default: trappable },
        with: { "wasmcloud:bus/lattice.call-target-interface": crate::capabilities::bus::Selected },
    });
}

pub(crate) mod bus_2 {
    wasmtime::component::bindgen!({
        path: "../../wit/wasmcloud-bus-2",
        world: "wasmcloud:bus/imports",
        imports: { default: trappable },
        with: { "wasmcloud:bus/lattice.call-target-interface": crate::capabilities::bus::Selected },
    });
}

pub(crate) mod secrets {
    wasmtime::component::bindgen!({
        path: "../../wit/wasmcloud-secrets",
        inline: "package trellis:host; world secrets {
            import wasmcloud:secrets/store@0.1.0-draft;
            import wasmcloud:secrets/reveal@0.1.0-draft;
        }",
        world: "trellis:host/secrets",
        imports: { default: async | trappable },
        with: { "wasmcloud:secrets/store.secret": crate::capabilities::secrets::Secret },
    });
}

pub(crate) mod blobstore {
    wasmtime::component::bindgen!({
        path: "../../wit/wasi-blobstore",
        world: "wasi:blobstore/imports",
        imports: { default: async | trappable },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:blobstore/types.incoming-value": crate::capabilities::blobstore::Incoming,
            "wasi:blobstore/types.outgoing-value": crate::capabilities::blobstore::Outgoing,
            "wasi:blobstore/container.container": crate::capabilities::blobstore::Container,
            "wasi:blobstore/container.stream-object-names": crate::capabilities::blobstore::Names,
        },
        trappable_error_type: { "wasi:blobstore/types.error" => crate::capabilities::blobstore::Refusal },
    });
}

pub(crate) mod entities {
    wasmtime::component::bindgen!({
        path: "../../wit/trellis-actor",
        world: "trellis:actor/actor-client",
        imports: { default: async | trappable },
        with: { "trellis:actor/types": crate::persistent::bindings::trellis::actor::types },
    });
}
