//! Asks another component for its word, wherever that runs.

use wasmcloud_component::http;

wit_bindgen::generate!({
    inline: "
        package example:pong;

        interface pingpong {
            ping: func() -> string;
        }

        world hello {
            import pingpong;
        }
    ",
});

struct Hello;

http::export!(Hello);

impl http::Server for Hello {
    fn handle(request: http::IncomingRequest) -> http::Result<http::Response<impl http::OutgoingBody>> {
        let query = request.uri().query().unwrap_or_default();
        let name = query.strip_prefix("name=").unwrap_or("World");
        let word = example::pong::pingpong::ping();
        Ok(http::Response::new(format!("Hello {name}! I got {word}\n")))
    }
}
