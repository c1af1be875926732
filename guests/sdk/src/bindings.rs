//! The generated bindings, one module per package of `wit/`. They are separate worlds, so that linking one does
//! not drag in another: what a guest does not call, its component does not import.

pub mod keyvalue {
    wit_bindgen::generate!({ path: "../../wit/wasi-keyvalue", world: "imports", generate_all });
}

pub mod config {
    wit_bindgen::generate!({ path: "../../wit/wasi-config-rc1", world: "imports", generate_all });
}

pub mod logging {
    wit_bindgen::generate!({ path: "../../wit/wasi-logging", world: "imports", generate_all });
}

pub mod bus {
    wit_bindgen::generate!({ path: "../../wit/wasmcloud-bus", world: "imports", generate_all });
}

pub mod messaging {
    wit_bindgen::generate!({
        path: "../../wit/wasmcloud-messaging",
        world: "messaging",
        pub_export_macro: true,
        export_macro_name: "export_messaging",
        generate_all,
    });
}

pub mod actor_client {
    wit_bindgen::generate!({ path: "../../wit/trellis-actor", world: "actor-client", generate_all });
}

pub mod actor {
    wit_bindgen::generate!({
        path: "../../wit/trellis-actor",
        world: "persistent-actor",
        pub_export_macro: true,
        export_macro_name: "export_persistent_actor",
        generate_all,
    });
}
