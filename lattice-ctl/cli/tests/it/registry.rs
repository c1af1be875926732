//! Components in a real OCI registry: pushed, pinned, pulled, deployed; and what is said when that fails.

use crate::lattice::{DEADLINE, lattice};
use crate::{Person, guest};
use tests_harness::OciRegistry;
use tests_harness::registry::USER;

/// A person with a component signed by a key of their own: `pong.wasm`.
fn signer() -> Person {
    let person = Person::new();
    person.write("pong.wasm", guest("pong"));
    let keys = ["--issuer", "keys/account.nk", "--subject", "keys/module.nk"];
    person.run(&["keys", "gen", "account", "--to", "keys/account.nk"]).ok();
    person.run(&[&["claim", "sign", "pong.wasm", "--name", "pong"][..], &keys].concat()).ok();
    person
}

fn same_file(person: &Person, one: &str, other: &str) -> bool {
    std::fs::read(person.path(one)).unwrap() == std::fs::read(person.path(other)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pushed_is_pulled_by_tag_and_by_digest_whatever_becomes_of_the_tag() {
    let (person, registry) = (signer(), OciRegistry::start().await.unwrap());
    let reference = format!("oci://{}/team/pong:1", registry.address());
    let pushed = person.run(&["push", "pong.wasm", &reference, "--output", "json"]).ok().json();
    let pinned = pushed["pinned"].as_str().unwrap();
    assert!(pinned.starts_with(&format!("oci://{}/team/pong@sha256:", registry.address())), "{pinned}");
    person.run(&["pull", &reference, "--to", "by-tag.wasm"]).ok();
    assert!(same_file(&person, "pong.wasm", "by-tag.wasm"));
    let again = person.run(&["push", "pong.wasm", &reference, "--output", "json"]).ok().json();
    assert_eq!(again["pinned"], pinned, "the same file is the same image");
    // The tag moves; the digest does not.
    person.write("other.wasm", guest("http-hello"));
    person.run(&["push", "other.wasm", &reference]).failed(3, "E_UNSIGNED");
    person.run(&["push", "other.wasm", &reference, "--unsigned"]).ok();
    person.run(&["pull", &reference, "--to", "by-tag.wasm"]).ok();
    assert!(same_file(&person, "other.wasm", "by-tag.wasm"));
    person.run(&["pull", pinned, "--to", "by-digest.wasm"]).ok();
    assert!(same_file(&person, "pong.wasm", "by-digest.wasm"));
    let pulled = person.run(&["pull", pinned, "--output", "json"]).ok().json();
    assert_eq!(pulled["file"], "pong.wasm", "named after its repository");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_of_a_registry_says_which_it_is() {
    let (person, mut registry) = (signer(), OciRegistry::start().await.unwrap());
    let reference = format!("oci://{}/team/pong:1", registry.address());
    let pushed = person.run(&["push", "pong.wasm", &reference, "--output", "json"]).ok().json();
    let fails = |reference: &str, status, code, words: &str| {
        let line = person.run(&["pull", reference]).failed(status, code);
        assert!(line.contains(words) && line.contains(reference), "{words}: {line}");
    };
    fails(&reference.replace(":1", ":2"), 5, "E_ARTIFACT_NOT_FOUND", "image pull: not found");
    fails(&reference.replace("pong", "pung"), 5, "E_ARTIFACT_NOT_FOUND", "image pull: not found");
    let absent = format!("oci://{}/team/pong@sha256:{}", registry.address(), "0".repeat(64));
    fails(&absent, 5, "E_ARTIFACT_NOT_FOUND", "image pull: not found");
    person.run(&["pull", "oci://UPPER CASE"]).failed(2, "E_USAGE");
    // One bit of the stored component.
    let blob = registry.blob_path(pushed["digest"].as_str().unwrap());
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    fails(&reference, 8, "E_DAMAGED", "image pull: digest mismatch");
    registry.kill().unwrap();
    fails(&reference, 8, "E_CONNECTION", "image pull: registry not reached");
    let line = person.run(&["push", "pong.wasm", &reference]).failed(8, "E_CONNECTION");
    assert!(line.contains("image push: registry not reached"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_with_passwords_is_used_with_the_right_one_only() {
    let (mut person, registry) = (signer(), OciRegistry::start_with_password().await.unwrap());
    let reference = format!("oci://{}/team/pong:1", registry.address());
    let refused = |person: &Person| {
        let line = person.run(&["push", "pong.wasm", &reference]).failed(4, "E_DENIED");
        assert!(line.contains("image push: unauthorized") && line.contains("TRELLIS_OCI_USER"), "{line}");
        let line = person.run(&["pull", &reference]).failed(4, "E_DENIED");
        assert!(line.contains("image pull: unauthorized"), "{line}");
        assert!(!line.contains(USER.1) && !line.contains("wrong-password"), "{line}");
    };
    refused(&person);
    person.env.push(("TRELLIS_OCI_USER".into(), USER.0.into()));
    person.env.push(("TRELLIS_OCI_PASSWORD".into(), "wrong-password".into()));
    refused(&person);
    person.env.push(("TRELLIS_OCI_PASSWORD".into(), USER.1.into()));
    person.run(&["push", "pong.wasm", &reference]).ok();
    person.run(&["pull", &reference, "--to", "back.wasm"]).ok();
    assert!(same_file(&person, "pong.wasm", "back.wasm"));
}

/// The whole way: a manifest that names the registry, by tag and by digest, on a lattice; the hosts run from the
/// lattice's own store, so that the registry may be gone.
#[tokio::test(flavor = "multi_thread")]
async fn an_application_is_deployed_from_a_registry() {
    let (lattice, mut registry) = (lattice().await, OciRegistry::start().await.unwrap());
    let person = &lattice.person;
    let mut controller = lattice.start("controller", &["controller"]);
    let mut host = lattice.start("host", &["host", "--host-id", "NEDGE01", "--heartbeat-ms", "250"]);
    host.wait_for_line("host NEDGE01 is up", DEADLINE).await.unwrap();
    controller.wait_for_line("is up", DEADLINE).await.unwrap();
    lattice.signed("pong");
    let reference = format!("oci://{}/team/pong:1", registry.address());
    let pushed = person.run(&["push", "pong.wasm", &reference, "--output", "json"]).ok().json();
    let manifest = |artifact: &str| {
        format!(
            "apiVersion: trellis.dev/v1\nkind: Application\nmetadata: {{ name: shop }}\nspec:\n  actors:\n    \
             - {{ name: pong, artifact: \"{artifact}\" }}\n"
        )
    };
    for artifact in [reference.as_str(), pushed["pinned"].as_str().unwrap()] {
        person.write("app.yaml", manifest(artifact));
        let ran = person.run(&["app", "deploy", "app.yaml", "--wait-for", "60"]).ok();
        assert!(ran.stdout.contains(pushed["pinned"].as_str().unwrap()), "{}", ran.stdout);
        assert_eq!(person.run(&["call", "pong", "ping"]).ok().json(), "pong");
    }
    registry.kill().unwrap();
    let line = person.run(&["app", "deploy", "app.yaml"]).failed(8, "E_CONNECTION");
    assert!(line.contains("actor start failed: image pull: registry not reached"), "{line}");
    let line = person.run(&["start", "actor", &reference]).failed(8, "E_CONNECTION");
    assert!(line.contains("actor start failed: image pull: registry not reached"), "{line}");
    assert_eq!(person.run(&["call", "pong", "ping"]).ok().json(), "pong", "it runs on without the registry");
}
