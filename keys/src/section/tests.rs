//! Rows 1–6 and 16–19 of BAD_INPUT.md, and the walk on arbitrary bytes.

use super::*;
use crate::fixtures::{component, custom, signed};
use proptest::prelude::*;

fn refusal(file: &[u8]) -> (&'static str, String) {
    let error = split(file, MAX_COMPONENT_BYTES).unwrap_err();
    (error.code(), error.to_string())
}

fn with(mut file: Vec<u8>, more: &[u8]) -> Vec<u8> {
    file.extend_from_slice(more);
    file
}

#[test]
fn each_bad_file_has_its_code_and_words() {
    let mut cwasm = vec![0; 64];
    cwasm[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\xc8");
    let module = b"\0asm\x01\0\0\0";
    let twice = with(with(component(), &custom(CLAIMS_SECTION, b"a")), &custom(CLAIMS_SECTION, b"b"));
    let bare = || component()[..8].to_vec();
    let cases: Vec<(Vec<u8>, &str, &str)> = vec![
        (vec![], "E_ARTIFACT_EMPTY", "0 bytes"),
        (b"\x7fELF\x02\x01\x01\0".to_vec(), "E_NOT_WASM", "bad magic 7f454c46 at 0"),
        (b"PK\x03\x04zip".to_vec(), "E_NOT_WASM", "bad magic 504b0304 at 0"),
        (b"hi".to_vec(), "E_NOT_WASM", "bad magic 6869 at 0"),
        (cwasm, "E_PRECOMPILED", "only component binaries are accepted"),
        (module.to_vec(), "E_CORE_MODULE", "wrap with wasm-tools component new"),
        (b"\0asm\x0e\0\x01\0".to_vec(), "E_MALFORMED", "unknown component version at 0x4"),
        (b"\0asm\x0d\0\x01".to_vec(), "E_MALFORMED", "unexpected end at 0x7"),
        (with(bare(), &[1]), "E_MALFORMED", "unexpected end at 0x9"),
        (with(bare(), &[1, 0xff, 0xff, 0xff, 0xff, 0x0f]), "E_MALFORMED", "unexpected end at 0xe"),
        (with(bare(), &[1, 0x80, 0]), "E_MALFORMED", "overlong LEB128 at 0x9"),
        (with(bare(), &[1, 0xff, 0xff, 0xff, 0xff, 0x1f]), "E_MALFORMED", "overlong LEB128 at 0x9"),
        (with(bare(), &[1, 0x80, 0x80, 0x80, 0x80, 0x80, 0]), "E_MALFORMED", "overlong LEB128 at 0x9"),
        (with(bare(), &[0, 0]), "E_MALFORMED", "unexpected end at 0xa"),
        (with(bare(), &[0, 2, 5, b'a']), "E_MALFORMED", "unexpected end at 0xc"),
        (with(bare(), &[0, 2, 1, 0xff]), "E_MALFORMED", "section name is not text at 0xb"),
        (with(component(), b"PK\x03\x04trailing"), "E_TRAILING", "12 bytes"),
        (with(signed(), &[0; 12]), "E_TRAILING", "12 bytes"),
        (with(signed(), &custom("x", b"")), "E_TRAILING", "4 bytes"),
        (twice, "E_DUP_CLAIMS", "more than one claims section"),
    ];
    for (file, code, words) in cases {
        let (got_code, text) = refusal(&file);
        assert_eq!(got_code, code, "{text}");
        assert!(text.contains(words), "{text:?} lacks {words:?}");
    }
}

#[test]
fn the_size_limit_comes_first() {
    let error = split(&[1; 11], 10).unwrap_err();
    assert_eq!(error.to_string(), "file too large: got 11, limit 10 bytes");
    assert_eq!(error.code(), "E_TOO_LARGE");
    let file = component();
    assert!(split(&file, file.len()).is_ok());
    let signed = embed(&file, "token", file.len() + 30).unwrap();
    assert_eq!(embed(&file, "token", signed.len() - 1).unwrap_err().code(), "E_TOO_LARGE");
}

#[test]
fn claims_in_an_inner_module_are_part_of_the_body() {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    module.extend(custom(CLAIMS_SECTION, b"token"));
    let mut file = b"\0asm\x0d\0\x01\0".to_vec();
    file.extend([1, module.len() as u8]);
    file.extend(module);
    let found = split(&file, MAX_COMPONENT_BYTES).unwrap();
    assert_eq!(found.token, None);
    assert_eq!(found.body, file);
}

#[test]
fn embedding_replaces_and_keeps_the_body() {
    let file = component();
    for token in ["", "a.b.c", &"x".repeat(200), &"y".repeat(token::MAX_TOKEN_BYTES)] {
        let once = embed(&file, token, MAX_COMPONENT_BYTES).unwrap();
        let found = split(&once, MAX_COMPONENT_BYTES).unwrap();
        assert_eq!((found.body, found.token), (file.as_slice(), Some(token)));
        let again = embed(&once, "other", MAX_COMPONENT_BYTES).unwrap();
        let found = split(&again, MAX_COMPONENT_BYTES).unwrap();
        assert_eq!((found.body, found.token), (file.as_slice(), Some("other")));
    }
    let long = "z".repeat(token::MAX_TOKEN_BYTES + 1);
    assert!(embed(&file, &long, MAX_COMPONENT_BYTES).is_err());
}

#[test]
fn wasmcloud_claims_are_shown_and_prove_nothing() {
    // {"iss":"A","name":"old"}
    let token = b"e30.eyJpc3MiOiJBIiwibmFtZSI6Im9sZCJ9.c2ln";
    for section in FOREIGN_SECTIONS {
        let file = with(component(), &custom(section, token));
        let found = foreign_claims(&file, MAX_COMPONENT_BYTES).unwrap();
        assert_eq!(found.section, section);
        assert_eq!(found.claims["name"], "old");
        assert_eq!(split(&file, MAX_COMPONENT_BYTES).unwrap().token, None);
    }
    assert_eq!(foreign_claims(&component(), MAX_COMPONENT_BYTES), None);
    let broken = with(component(), &custom("jwt", b"no token"));
    assert_eq!(foreign_claims(&broken, MAX_COMPONENT_BYTES), None);
}

proptest! {
    #[test]
    fn no_bytes_make_the_walk_panic(tail: Vec<u8>, preamble: bool) {
        let mut file = if preamble { component()[..8].to_vec() } else { vec![] };
        file.extend(tail);
        let _ = foreign_claims(&file, MAX_COMPONENT_BYTES);
        if let Ok(found) = split(&file, MAX_COMPONENT_BYTES) {
            prop_assert!(found.body.len() <= file.len());
        }
    }
}
