//! The word that others ask for.

wit_bindgen::generate!({
    inline: "
        package example:pong;

        interface pingpong {
            ping: func() -> string;
        }

        world pong {
            export pingpong;
        }
    ",
});

use exports::example::pong::pingpong::Guest;

struct Pong;

export!(Pong);

impl Guest for Pong {
    fn ping() -> String {
        "pong".to_owned()
    }
}
