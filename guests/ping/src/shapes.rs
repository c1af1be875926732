//! One value or more of each kind, at the edges where encodings break: extremes, empty, nested, not ASCII, NaN.

use crate::bindings::example::pong::shapes::{self, Colour, Point, Rights, Shape};

/// Every function with whether all of its values came back as they went. The debug form is compared: it shows all
/// of a value, and NaN equals itself in it.
pub fn round_trips() -> Vec<(&'static str, bool)> {
    let mut outcomes = numbers();
    outcomes.extend(texts_and_lists());
    outcomes.extend(compounds());
    shapes::nothing();
    outcomes.push(("nothing", true));
    outcomes
}

/// Whether each value comes back as it went.
fn kept<T: std::fmt::Debug>(values: impl IntoIterator<Item = T>, echo: impl Fn(&T) -> T) -> bool {
    values.into_iter().all(|value| format!("{:?}", echo(&value)) == format!("{value:?}"))
}

fn numbers() -> Vec<(&'static str, bool)> {
    vec![
        ("echo-bool", kept([false, true], |v| shapes::echo_bool(*v))),
        ("echo-u8", kept([0, u8::MAX], |v| shapes::echo_u8(*v))),
        ("echo-u16", kept([0, u16::MAX], |v| shapes::echo_u16(*v))),
        ("echo-u32", kept([0, 127, 128, u32::MAX], |v| shapes::echo_u32(*v))),
        ("echo-u64", kept([0, 1 << 35, u64::MAX], |v| shapes::echo_u64(*v))),
        ("echo-s8", kept([i8::MIN, -1, i8::MAX], |v| shapes::echo_s8(*v))),
        ("echo-s16", kept([i16::MIN, -1, i16::MAX], |v| shapes::echo_s16(*v))),
        ("echo-s32", kept([i32::MIN, -65, -64, 63, 64, i32::MAX], |v| shapes::echo_s32(*v))),
        ("echo-s64", kept([i64::MIN, -1, i64::MAX], |v| shapes::echo_s64(*v))),
        ("echo-f32", kept([0.0, -0.0, f32::MIN_POSITIVE, f32::INFINITY, f32::NAN], |v| shapes::echo_f32(*v))),
        ("echo-f64", kept([-0.0, 92.5, f64::MAX, f64::NEG_INFINITY, f64::NAN], |v| shapes::echo_f64(*v))),
        (
            "echo-char",
            kept(['\0', 'a', 'ü', '\u{d7ff}', '\u{e000}', '\u{10ffff}'], |v| shapes::echo_char(*v)),
        ),
    ]
}

fn texts_and_lists() -> Vec<(&'static str, bool)> {
    let texts = [String::new(), "edge".to_owned(), "ü\0\u{1f680}".to_owned(), "x".repeat(100_000)];
    let bytes = [Vec::new(), vec![0, 127, 128, 255], vec![7; 65_537]];
    vec![
        ("echo-string", kept(texts, |v| shapes::echo_string(v))),
        ("echo-bytes", kept(bytes, |v| shapes::echo_bytes(v))),
        ("echo-records", kept([Vec::new(), points(), many_points()], |v| shapes::echo_records(v))),
    ]
}

fn compounds() -> Vec<(&'static str, bool)> {
    let results = [Ok(String::new()), Ok("ok".to_owned()), Err(Colour::Blue)];
    vec![
        ("echo-option", kept([None, Some(None), Some(Some(7))], |v| shapes::echo_option(*v))),
        ("echo-result", kept(results, |v| shapes::echo_result(v.as_deref()))),
        ("echo-empty-result", kept([Ok(()), Err(())], |v| shapes::echo_empty_result(*v))),
        (
            "echo-tuple",
            kept([(1, "one".to_owned(), 1.5)], |(number, text, float)| {
                shapes::echo_tuple((*number, text.as_str(), *float))
            }),
        ),
        ("echo-variant", kept(all_shapes(), shapes::echo_variant)),
        ("echo-enum", kept([Colour::Red, Colour::Green, Colour::Blue], |v| shapes::echo_enum(*v))),
        (
            "echo-flags",
            kept([Rights::empty(), Rights::READ | Rights::RUN, Rights::all()], |v| shapes::echo_flags(*v)),
        ),
        ("echo-many", many()),
    ]
}

fn many() -> bool {
    let names = ["a".to_owned(), String::new()];
    let shape = Shape::Polygon(points());
    let back = shapes::echo_many(u64::MAX, "b", &names, -1.5, true, 'é', i64::MIN, &shape);
    let sent = (u64::MAX, "b", names, -1.5, true, 'é', i64::MIN, shape);
    format!("{back:?}") == format!("{sent:?}")
}

fn points() -> Vec<Point> {
    vec![Point { x: i32::MIN, y: 0, label: None }, Point { x: 1, y: -1, label: Some("München".to_owned()) }]
}

fn many_points() -> Vec<Point> {
    (0..1_000).map(|x| Point { x, y: -x, label: Some(x.to_string()) }).collect()
}

fn all_shapes() -> Vec<Shape> {
    vec![Shape::Nothing, Shape::Circle(2.5), Shape::Polygon(points()), Shape::Named(("square".to_owned(), 4))]
}
