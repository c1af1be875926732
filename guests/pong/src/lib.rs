//! The other end of a typed call: it answers `pong`, and gives every kind of WIT value back as it came.

/// The generated bindings of `wit/world.wit`.
#[allow(unsafe_code, reason = "the component model's export symbols are unsafe attributes")]
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "pong" });
    use super::Pong;
    export!(Pong);
}

use bindings::exports::example::pong::{pingpong, shapes};
use shapes::{Colour, Point, Rights, Shape};

struct Pong;

impl pingpong::Guest for Pong {
    fn ping() -> String {
        "pong".to_owned()
    }
}

/// The functions that give back what they got.
macro_rules! echo {
    ($($name:ident($kind:ty);)*) => {
        $(fn $name(value: $kind) -> $kind {
            value
        })*
    };
}

impl shapes::Guest for Pong {
    echo! {
        echo_bool(bool);
        echo_u8(u8);
        echo_u16(u16);
        echo_u32(u32);
        echo_u64(u64);
        echo_s8(i8);
        echo_s16(i16);
        echo_s32(i32);
        echo_s64(i64);
        echo_f32(f32);
        echo_f64(f64);
        echo_char(char);
        echo_string(String);
        echo_bytes(Vec<u8>);
        echo_records(Vec<Point>);
        echo_option(Option<Option<u32>>);
        echo_result(Result<String, Colour>);
        echo_empty_result(Result<(), ()>);
        echo_tuple((u8, String, f32));
        echo_variant(Shape);
        echo_enum(Colour);
        echo_flags(Rights);
    }

    fn echo_many(
        a: u64,
        b: String,
        c: Vec<String>,
        d: f64,
        e: bool,
        f: char,
        g: i64,
        h: Shape,
    ) -> (u64, String, Vec<String>, f64, bool, char, i64, Shape) {
        (a, b, c, d, e, f, g, h)
    }

    fn nothing() {}

    fn trap() {
        std::process::abort()
    }
}
