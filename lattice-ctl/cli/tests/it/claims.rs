//! Signing as seed 004 writes it, and every way in which a signed file can be wrong.

use crate::{Person, Ran, guest, mode};

fn sign(person: &Person, more: &[&str]) -> Ran {
    let mut args = vec![
        "claim",
        "sign",
        "hello.wasm",
        "--name",
        "hello",
        "--issuer",
        "./keys/account.nk",
        "--subject",
        "./keys/module.nk",
    ];
    args.extend(more);
    person.run(&args)
}

fn signed() -> (Person, String) {
    let person = Person::new();
    person.write("hello.wasm", guest("http-hello"));
    let record = sign(&person, &["--output", "json"]).ok().json();
    let issuer = record["issuer"].as_str().unwrap().to_owned();
    (person, issuer)
}

#[test]
fn signing_makes_keys_derives_capabilities_and_verifies() {
    let (person, issuer) = signed();
    for key in ["keys/account.nk", "keys/module.nk"] {
        assert_eq!(mode(&person.path(key)), 0o600, "{key}");
    }
    let claims =
        person.run(&["claim", "verify", "hello.wasm", "--issuer", &issuer, "--output", "json"]).ok().json();
    assert_eq!(claims["capabilities"], serde_json::json!(["wasi:http/incoming-handler"]));
    assert_eq!((claims["name"].as_str(), claims["verified"].as_bool()), (Some("hello"), Some(true)));
    let shape = person.run(&["inspect", "hello.wasm", "--output", "json"]).ok().json();
    assert_eq!(shape["claims"]["issuer"], issuer.as_str());
    assert!(shape["imports"].as_array().unwrap().iter().any(|import| import["ambient"] == true), "{shape}");
}

#[test]
fn signing_again_replaces_the_claims_and_keeps_the_identity() {
    let (person, issuer) = signed();
    let first = person.run(&["claim", "inspect", "hello.wasm", "--output", "json"]).ok().json();
    sign(&person, &["--rev", "18446744073", "--ver", "2.0.0"]).ok();
    let second =
        person.run(&["claim", "verify", "hello.wasm", "--issuer", &issuer, "--output", "json"]).ok().json();
    assert_eq!(first["subject"], second["subject"]);
    assert_eq!(first["digest"], second["digest"], "the signed bytes are the same");
    assert_eq!(
        (second["version"].as_str(), second["revision"].as_u64()),
        (Some("2.0.0"), Some(18_446_744_073))
    );
}

#[test]
fn one_changed_byte_is_refused() {
    let (person, issuer) = signed();
    let mut file = std::fs::read(person.path("hello.wasm")).unwrap();
    let end = file.len();
    // In the body, well before the claims at the end, where framing does not depend on it.
    let at = file.windows(4).position(|text| text == b"text").unwrap_or(end / 2);
    file[at] ^= 1;
    person.write("hello.wasm", file);
    let line = person.run(&["claim", "verify", "hello.wasm", "--issuer", &issuer]).failed(3, "E_CLAIM");
    assert!(line.contains("digest mismatch"), "{line}");
}

#[test]
fn another_issuer_an_expired_claim_and_no_claim_are_each_said() {
    let (person, _) = signed();
    let other = person.run(&["keys", "gen", "account", "--output", "json"]).ok().json();
    let line = person
        .run(&["claim", "verify", "hello.wasm", "--issuer", other["public"].as_str().unwrap()])
        .failed(3, "E_CLAIM");
    assert!(line.contains("not trusted"), "{line}");
    sign(&person, &["--expires-in-days", "0"]).failed(3, "E_CLAIM");
    person.write("hello.wasm", guest("http-hello"));
    let line = person.run(&["claim", "inspect", "hello.wasm"]).failed(3, "E_UNSIGNED");
    assert!(line.contains("invalid claim: no signature"), "{line}");
}

#[test]
fn detached_claims_leave_the_file_as_it_is() {
    let person = Person::new();
    let body = guest("http-hello");
    person.write("hello.wasm", &body);
    let record = sign(&person, &["--detached", "--output", "json"]).ok().json();
    assert_eq!(std::fs::read(person.path("hello.wasm")).unwrap(), body);
    let issuer = record["issuer"].as_str().unwrap();
    let args = ["claim", "verify", "hello.wasm", "--detached", "hello.wasm.claims", "--issuer", issuer];
    person.run(&args).ok();
    person.write("hello.wasm", guest("kv-counter"));
    person.run(&args).failed(3, "E_CLAIM");
}

#[test]
fn what_is_no_component_is_refused_by_name_and_no_key_is_made_for_it() {
    let person = Person::new();
    let core = b"\0asm\x01\0\0\0";
    let cases: [(&[u8], i32, &str); 4] = [
        (b"", 2, "E_ARTIFACT_EMPTY"),
        (b"\x7fELF\x02\x01\x01\0\0\0\0\0", 2, "E_NOT_WASM"),
        (core, 2, "E_CORE_MODULE"),
        (b"\0asm\x0d\0\x01\0\x07\xff", 2, "E_MALFORMED"),
    ];
    for (content, status, code) in cases {
        person.write("hello.wasm", content);
        sign(&person, &[]).failed(status, code);
        person.run(&["inspect", "hello.wasm"]).failed(status, code);
    }
    assert!(!person.path("keys").exists());
    std::fs::remove_file(person.path("hello.wasm")).unwrap();
    sign(&person, &[]).failed(5, "E_NOT_FOUND");
}
