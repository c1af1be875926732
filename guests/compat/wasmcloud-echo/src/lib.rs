//! Sends every message back to where its sender waits. The WIT is that of wasmCloud 1.x: logging has no version.

wit_bindgen::generate!({
    path: ["../../../wit/wasmcloud-messaging", "../../../wit/wasi-logging-unversioned"],
    inline: "
        package wasmcloud:examples;

        world echo {
            import wasi:logging/logging;
            import wasmcloud:messaging/consumer@0.2.0;
            export wasmcloud:messaging/handler@0.2.0;
        }
    ",
    world: "wasmcloud:examples/echo",
    generate_all,
});

use exports::wasmcloud::messaging::handler::Guest;
use wasi::logging::logging::{log, Level};
use wasmcloud::messaging::consumer;
use wasmcloud::messaging::types::BrokerMessage;

struct Echo;

export!(Echo);

impl Guest for Echo {
    fn handle_message(message: BrokerMessage) -> Result<(), String> {
        let Some(subject) = message.reply_to else {
            log(Level::Warn, "echo", "nobody waits for an answer");
            return Ok(());
        };
        consumer::publish(&BrokerMessage { subject, body: message.body, reply_to: None })
    }
}
