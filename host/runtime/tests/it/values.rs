//! Values of types that are known only when a component is loaded, through actors written as text: given
//! back as they came, and refused where a guest says something that cannot be.

use crate::support::fakes::Peer;
use crate::support::{PATIENCE, link, start, text};
use bytes::Bytes;
use host_runtime::{Actor, CallInfo};
use lattice_protocol::value::{Signature, Type, Value, decode_all, encode_call};
use lattice_protocol::{ErrorCode, Report};
use std::sync::Arc;

const INTERFACE: &str = "example:loop/round@0.1.0";
/// A memory, and something that gives pieces of it, each behind the last one.
const MEMORY: &str = r#"
    (memory (export "memory") 4) (global $free (mut i32) (i32.const 4096))
    (func $realloc (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
        (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
        (global.set $free (i32.add (local.get $at) (local.get 3)))
        (local.get $at))"#;
/// So many parameters before the value in question that all of them go through the memory.
const BEFORE: usize = 16;

/// Types, and some values of each.
fn kinds() -> Vec<(&'static str, Type, Vec<Value>)> {
    let text = |text: &str| Value::String(text.to_owned());
    let bytes = |bytes: &'static [u8]| Value::Bytes(Bytes::from_static(bytes));
    let some = |value| Value::Option(Some(Box::new(value)));
    let pair = Type::Tuple(vec![Type::U8, Type::U64, Type::String]);
    let result =
        |ok: Option<Type>, err: Option<Type>| Type::Result { ok: ok.map(Box::new), err: err.map(Box::new) };
    vec![
        ("bool", Type::Bool, vec![Value::Bool(true), Value::Bool(false)]),
        ("u8", Type::U8, vec![Value::U8(255)]),
        ("s8", Type::S8, vec![Value::S8(-128), Value::S8(-1)]),
        ("u16", Type::U16, vec![Value::U16(65_535)]),
        ("s16", Type::S16, vec![Value::S16(-32_768)]),
        ("u32", Type::U32, vec![Value::U32(u32::MAX)]),
        ("s32", Type::S32, vec![Value::S32(i32::MIN)]),
        ("u64", Type::U64, vec![Value::U64(u64::MAX)]),
        ("s64", Type::S64, vec![Value::S64(i64::MIN)]),
        ("f32", Type::F32, vec![Value::F32(-0.5), Value::F32(f32::INFINITY)]),
        ("f64", Type::F64, vec![Value::F64(1e300)]),
        ("char", Type::Char, vec![Value::Char('ü'), Value::Char('\u{10ffff}')]),
        ("string", Type::String, vec![text(""), text("Grüße")]),
        ("(list u8)", Type::list(Type::U8), vec![bytes(b""), bytes(&[7; 5_000])]),
        (
            "(list u32)",
            Type::list(Type::U32),
            vec![Value::List(vec![]), Value::List(vec![Value::U32(9); 300])],
        ),
        ("(list string)", Type::list(Type::String), vec![Value::List(vec![text("a"), text(""), text("bc")])]),
        (
            "(list (tuple u8 u64 string))",
            Type::list(pair.clone()),
            vec![Value::List(vec![
                Value::Tuple(vec![Value::U8(1), Value::U64(2), text("three")]),
                Value::Tuple(vec![Value::U8(4), Value::U64(5), text("")]),
            ])],
        ),
        ("(tuple u8 u64 string)", pair, vec![Value::Tuple(vec![Value::U8(1), Value::U64(2), text("three")])]),
        (
            "(list (list u8))",
            Type::list(Type::list(Type::U8)),
            vec![Value::List(vec![bytes(b"one"), bytes(b""), bytes(b"three")])],
        ),
        (
            "(option (option u64))",
            Type::option(Type::option(Type::U64)),
            vec![Value::Option(None), some(Value::Option(None)), some(some(Value::U64(1 << 40)))],
        ),
        (
            "(result (list u8) (error string))",
            result(Some(Type::list(Type::U8)), Some(Type::String)),
            vec![
                Value::Result(Ok(Some(Box::new(bytes(b"x"))))),
                Value::Result(Err(Some(Box::new(text("no"))))),
            ],
        ),
        // The payloads' core values are joined: a float in a 64-bit integer.
        (
            "(result u64 (error f32))",
            result(Some(Type::U64), Some(Type::F32)),
            vec![
                Value::Result(Ok(Some(Box::new(Value::U64(u64::MAX))))),
                Value::Result(Err(Some(Box::new(Value::F32(-1.5))))),
            ],
        ),
        (
            "(result (error s16))",
            result(None, Some(Type::S16)),
            vec![Value::Result(Ok(None)), Value::Result(Err(Some(Box::new(Value::S16(-3)))))],
        ),
        ("(result)", result(None, None), vec![Value::Result(Ok(None)), Value::Result(Err(None))]),
    ]
}

/// A function that gives back what it gets, at the place in the memory where it got it.
fn echo(before: usize, ty: &str) -> String {
    let (params, result) = signature(before, ty);
    let core = "(func (export \"go\") (param i32) (result i32) local.get 0)";
    format!(
        r#"(component
        (core module $m {MEMORY} {core})
        (core instance $c (instantiate $m))
        (func $go {params} {result} (canon lift (core func $c "go")
            (memory (core memory $c "memory")) (realloc (core func $c "realloc"))))
        (instance $e (export "go" (func $go)))
        (export "{INTERFACE}" (instance $e)))"#
    )
}

/// A function that calls the one of the same type that it imports.
fn through(before: usize, ty: &str) -> String {
    let (params, result) = signature(before, ty);
    // Where the results go is aligned for anything, and large enough for all of these.
    format!(
        r#"(component
        (import "{INTERFACE}" (instance $i (export "go" (func {params} {result}))))
        (core module $lib {MEMORY})
        (core instance $lib (instantiate $lib))
        (core func $go (canon lower (func $i "go")
            (memory (core memory $lib "memory")) (realloc (core func $lib "realloc"))))
        (core module $m
            (import "" "go" (func $go (param i32 i32)))
            (import "" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
            (func (export "go") (param i32) (result i32) (local $back i32)
                (local.set $back (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 512)))
                (call $go (local.get 0) (local.get $back))
                (local.get $back)))
        (core instance $c (instantiate $m (with "" (instance
            (export "go" (func $go)) (export "realloc" (func $lib "realloc"))))))
        (func $exported {params} {result} (canon lift (core func $c "go")
            (memory (core memory $lib "memory")) (realloc (core func $lib "realloc"))))
        (instance $e (export "go" (func $exported)))
        (export "{INTERFACE}" (instance $e)))"#
    )
}

fn signature(before: usize, ty: &str) -> (String, String) {
    let filler = "u64 ".repeat(before);
    (format!(r#"(param "before" (tuple {filler})) (param "value" {ty})"#), {
        format!("(result (tuple (tuple {filler}) {ty}))")
    })
}

async fn go(actor: &Arc<Actor>, signature: &Signature, values: &[Value]) -> Result<Vec<Value>, Report> {
    let payload = Bytes::from(encode_call(signature, values).unwrap());
    let answer = actor.call(INTERFACE, "go", payload, CallInfo::within(PATIENCE)).await?;
    Ok(decode_all(&signature.results, &answer, &Default::default()).unwrap())
}

#[tokio::test]
async fn a_value_of_any_type_comes_back_equal_from_memory_to_memory() {
    let filler = Type::Tuple(vec![Type::U64; BEFORE]);
    let before = Value::Tuple((0..BEFORE as u64).map(Value::U64).collect());
    for (number, (written, ty, values)) in kinds().into_iter().enumerate() {
        let signature = Signature {
            params: vec![("before".into(), filler.clone()), ("value".into(), ty.clone())],
            results: vec![Type::Tuple(vec![filler.clone(), ty.clone()])],
        };
        let name = format!("echo-{number}");
        let echo = start(&name, text(&echo(BEFORE, written)).await.unwrap(), []).await;
        let name = format!("through-{number}");
        let links = [link(&name, "example:loop", Peer::local(&echo).target())];
        let through = start(&name, text(&through(BEFORE, written)).await.unwrap(), links).await;
        for value in values {
            let given = [before.clone(), value];
            let back = [Value::Tuple(given.to_vec())];
            assert_eq!(go(&echo, &signature, &given).await.unwrap(), back, "{written}");
            assert_eq!(go(&through, &signature, &given).await.unwrap(), back, "{written}, by another actor");
        }
    }
}

/// A function without parameters whose result is what this core function says.
async fn says(name: &str, ty: &str, core: &str) -> Arc<Actor> {
    let component = format!(
        r#"(component
        (core module $m {MEMORY} (func (export "go") (result i32) {core}))
        (core instance $c (instantiate $m))
        (func $go (result {ty}) (canon lift (core func $c "go") (memory (core memory $c "memory"))))
        (instance $e (export "go" (func $go)))
        (export "{INTERFACE}" (instance $e)))"#
    );
    start(name, text(&component).await.unwrap(), []).await
}

#[tokio::test]
async fn what_a_guest_says_that_cannot_be_ends_its_call() {
    let store = |at: u32, word: u32| format!("(i32.store (i32.const {at}) (i32.const {word}))");
    let list = |at: u32, length: u32| format!("{} {} (i32.const 64)", store(64, at), store(68, length));
    let words = Type::list(Type::U32);
    let cases = [
        ("beyond", "(list u32)", list(262_140, 2), words.clone(), "out of bounds"),
        ("enormous", "(list u32)", list(64, u32::MAX), words.clone(), "out of bounds"),
        ("crooked", "(list u32)", list(66, 1), words.clone(), "aligned"),
        ("crooked-place", "(list u32)", "(i32.const 66)".into(), words.clone(), "aligned"),
        ("far-place", "(list u32)", "(i32.const 262144)".into(), words, "out of bounds"),
        (
            "no-case",
            "(option u32)",
            format!("{} (i32.const 64)", store(64, 2)),
            Type::option(Type::U32),
            "case 2",
        ),
        ("no-character", "char", "(i32.const 0xd800)".into(), Type::Char, "char"),
    ];
    for (name, written, core, ty, why) in cases {
        let signature = Signature { params: vec![], results: vec![ty] };
        let guest = says(name, written, &core).await;
        let ended = go(&guest, &signature, &[]).await.unwrap_err();
        assert_eq!(ended.code, ErrorCode::Trap, "{name}: {ended}");
        assert!(ended.to_string().contains(why), "{name}: {ended}");
    }
    let right = says("right", "(list u32)", &format!("{} {}", store(128, 7), list(128, 1))).await;
    let signature = Signature { params: vec![], results: vec![Type::list(Type::U32)] };
    assert_eq!(go(&right, &signature, &[]).await.unwrap(), [Value::List(vec![Value::U32(7)])]);
}
