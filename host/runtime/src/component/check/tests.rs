//! BAD_INPUT rows A, as far as they are the runtime's; those about framing and signatures are
//! `keys`' own.

use super::*;
use crate::RuntimeConfig;
use crate::fixtures::{self, guest, probe, signed};

const BOUNDS: Bounds = Bounds { memory_bytes: 64 << 20, table_elements: 10_000 };

fn code_of(file: &[u8]) -> ErrorCode {
    check(file, BOUNDS).unwrap_err().code
}

async fn load_error(component: &[u8]) -> Report {
    let runtime = fixtures::runtime();
    fixtures::load(&runtime, component).await.err().expect("it must be refused")
}

#[test]
fn the_guests_pass_and_need_the_engine_they_should() {
    for name in ["http_hello", "http_hello_raw", "fixture_hostile", "fixture_probe", "ping", "pong"] {
        let file = guest(name);
        check(&file, BOUNDS).unwrap();
        assert_eq!(profile(&file), Ok(Profile::Plain), "{name}");
    }
    assert_eq!(profile(&guest("http_hello_p3")), Ok(Profile::Concurrent));
}

#[test]
fn a_component_truncated_anywhere_is_malformed() {
    let file = guest("http_hello_raw");
    for end in (8..file.len()).step_by(97) {
        let cut = &file[..end];
        // A cut on a section's border is a shorter component: no claims, so `keys` refuses it.
        if let Err(report) = check(cut, BOUNDS) {
            assert_eq!(report.code, ErrorCode::Malformed, "cut at {end}: {report}");
            assert!(report.place.is_some(), "{report}");
        }
    }
}

#[test]
fn limits_of_nesting_counts_memories_and_tables_are_named() {
    let blocks = |depth: usize| {
        let text = format!("(func {} {})", "(block ".repeat(depth), ")".repeat(depth));
        probe(&text, &[])
    };
    check(&blocks(400), BOUNDS).unwrap();
    let core =
        format!("(component (core module (func {} {})))", "block ".repeat(10_001), "end ".repeat(10_001));
    assert_eq!(code_of(&wat::parse_str(core).unwrap()), ErrorCode::Nesting);

    let locals = format!("(func (local {}))", "i32 ".repeat(10_001));
    assert_eq!(code_of(&probe(&locals, &[])), ErrorCode::Limit);

    let report = check(&probe("(memory 65536)", &[]), BOUNDS).unwrap_err();
    assert_eq!(report.code, ErrorCode::Memory);
    assert!(report.to_string().contains("got min 65536 pages, expected limit 1024"), "{report}");
    assert_eq!(code_of(&probe("(table 10001 funcref)", &[])), ErrorCode::Table);
    assert_eq!(code_of(&probe("(table 100000000 funcref)", &[])), ErrorCode::Table);
}

#[test]
fn features_that_are_off_are_named() {
    for (core, words) in [
        ("(memory 1 1 shared)", "threads disabled"),
        ("(memory i64 1)", "memory64 disabled"),
        ("(type (struct (field i32)))", "gc disabled"),
    ] {
        let report = check(&probe(core, &[]), BOUNDS).unwrap_err();
        assert_eq!((report.code, report.what.as_str()), (ErrorCode::Feature, words));
    }
}

#[tokio::test]
async fn what_only_the_compiler_sees_is_refused_too() {
    // Valid framing, an instruction that does not type.
    let wrong = probe("(func (result i32) (i64.const 0))", &[]);
    assert_eq!(load_error(&wrong).await.code, ErrorCode::Malformed);
    let atomic = probe("(memory 1) (func (drop (i32.atomic.load (i32.const 0))))", &[]);
    let report = load_error(&atomic).await;
    assert_eq!(report.code, ErrorCode::Feature, "{report}");
}

#[tokio::test]
async fn imports_that_nobody_offers_are_refused_by_name() {
    let importing = |name: &str| {
        wat::parse_str(format!(r#"(component (import "{name}" (instance (export "f" (func)))))"#)).unwrap()
    };
    for (name, code) in [
        ("wasi:foo/bar@0.2.9", ErrorCode::UnknownImport),
        ("wasi:http/types@0.9.0", ErrorCode::Version),
        ("wasi:keyvalue/store@0.2.0-draft9", ErrorCode::Version),
        // The interface exists, but has no function of this name.
        ("wasi:keyvalue/store@0.2.0-draft", ErrorCode::UnknownImport),
        ("other:thing/api@1.0.0", ErrorCode::CapabilityDenied),
    ] {
        let report = load_error(&importing(name)).await;
        assert_eq!(report.code, code, "{name}: {report}");
    }
    let alone = wat::parse_str(r#"(component (import "f" (func)))"#).unwrap();
    assert_eq!(load_error(&alone).await.code, ErrorCode::UnknownImport);
}

#[tokio::test]
async fn an_import_that_the_claims_do_not_name_is_refused() {
    let runtime = fixtures::runtime();
    let (claims, file) = signed(&guest("fixture_no_cap"), &["wasi:http"]);
    let report = runtime.load(claims, file).await.err().expect("it is not claimed");
    assert_eq!(report.code, ErrorCode::CapabilityDenied);
    assert_eq!(report.what, "capability denied: wasmcloud:keyvalue");
}

#[tokio::test]
async fn claims_of_another_file_do_not_load() {
    let runtime = fixtures::runtime();
    let (claims, _) = signed(&guest("http_hello"), &["wasi:http"]);
    let (_, other) = signed(&guest("http_hello_raw"), &["wasi:http"]);
    let report = runtime.load(claims, other).await.err().expect("not these bytes");
    assert_eq!(report.code, ErrorCode::Claim);
    assert!(report.what.contains("digest mismatch"), "{report}");
}

#[tokio::test]
async fn a_compilation_that_takes_too_long_is_given_up() {
    let runtime = fixtures::runtime_with(RuntimeConfig { compile_ms: 0, ..Default::default() });
    let report = fixtures::load(&runtime, &guest("fixture_hostile")).await.err().unwrap();
    assert_eq!(report.code, ErrorCode::CompileTimeout, "{report}");
}
