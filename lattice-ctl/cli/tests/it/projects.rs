//! A newcomer's first hour: `new`, `build`, `dev`, in a directory that knows nothing of this repository.

use crate::Person;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;
use tests_harness::{ProcessSpec, http, workspace};

const PATIENCE: Duration = Duration::from_secs(120);

/// A project of this template, on a port that is free. What its build takes from the registry of crates is built
/// once for all runs of its test: the project's target folder leads into ours, to one that no other test has.
fn project(person: &Person, template: &str) -> SocketAddr {
    person.run(&["new", "my-actor", "--template", template]).ok();
    let built = workspace::target_dir().join("new-project").join(template);
    std::fs::create_dir_all(&built).unwrap();
    std::os::unix::fs::symlink(built, person.path("my-actor/target")).unwrap();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let manifest = std::fs::read_to_string(person.path("my-actor/app.yaml")).unwrap();
    person.write("my-actor/app.yaml", manifest.replace("8080", &port.to_string()));
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_project_builds_runs_and_is_swapped_when_its_source_changes() {
    let person = Person::new();
    let address = project(&person, "kv-counter");
    let built = person.run(&["build", "--dir", "my-actor", "--output", "json"]).ok().json();
    let file = built[0]["file"].as_str().unwrap();
    assert!(file.ends_with("wasm32-wasip2/release/my_actor.wasm"), "{file}");
    let shown = person.run(&["inspect", file, "--output", "json"]).ok().stdout;
    assert!(shown.contains("wasi:keyvalue/atomics"), "{shown}");

    let mut dev = ProcessSpec::new("trellis dev", env!("CARGO_BIN_EXE_trellis"), person.path("dev.log"))
        .arg("dev")
        .env("TRELLIS_HOME", person.path("home"))
        .current_dir(person.path("my-actor"))
        .spawn()
        .unwrap();
    dev.wait_for_line("my-actor serves", PATIENCE).await.unwrap();
    assert_eq!(http::get(address, "/a").await.unwrap(), "a: 1\n");

    let source = std::fs::read_to_string(person.path("my-actor/src/lib.rs")).unwrap();
    let changed = source.replace("{key}: {visits}", "{key} was here {visits} times");
    assert_ne!(source, changed);
    let before = dev.mark();
    person.write("my-actor/src/lib.rs", &changed);
    dev.wait_for_line_since(before, "swapped in", PATIENCE).await.unwrap();
    // What it says is true at once, and the data is still there.
    assert_eq!(http::get(address, "/a").await.unwrap(), "a was here 2 times\n");

    let before = dev.mark();
    person.write("my-actor/src/lib.rs", "this is no Rust");
    dev.wait_for_line_since(before, "the project does not build", PATIENCE).await.unwrap();
    assert_eq!(http::get(address, "/a").await.unwrap(), "a was here 3 times\n", "the last good one serves");

    let before = dev.mark();
    person.write("my-actor/src/lib.rs", &source);
    dev.wait_for_line_since(before, "swapped in", PATIENCE).await.unwrap();
    assert_eq!(http::get(address, "/a").await.unwrap(), "a: 4\n");
    dev.terminate().unwrap();
    assert!(dev.wait_for_exit(PATIENCE).await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_persistent_actor_is_tested_without_a_host_served_and_swapped_with_what_it_has_stored() {
    let person = Person::new();
    let address = project(&person, "persistent");
    // Its own tests, as its source says; in a target folder beside that of components.
    let mut tests = tests_harness::cargo();
    tests.current_dir(person.path("my-actor")).args(["test", "--target", "host-tuple"]);
    tests.env_remove("CARGO_TARGET_DIR");
    let tested = tests.output().unwrap();
    let said = String::from_utf8_lossy(&tested.stdout);
    assert!(tested.status.success() && said.contains("1 passed"), "{tested:?}");

    claims_its_effects(&person);
    let mut dev = ProcessSpec::new("trellis dev", env!("CARGO_BIN_EXE_trellis"), person.path("dev.log"))
        .args(["dev", "--data-dir", "data"])
        .env("TRELLIS_HOME", person.path("home"))
        .current_dir(person.path("my-actor"))
        .spawn()
        .unwrap();
    dev.wait_for_line("my-actor serves", PATIENCE).await.unwrap();
    let post =
        async |path: &str, headers: &[&str], body: &str| http::post(address, path, headers, body).await;
    assert_eq!(post("/a-1/deposit", &[], r#"{"amount":5}"#).await.unwrap(), "5");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let key = format!("Idempotency-Key: {}", key_at(now));
    for _ in 0..2 {
        assert_eq!(post("/a-1/deposit", &[&key], r#"{"amount":2}"#).await.unwrap(), "7", "once");
    }
    let refused = post("/a-1/withdraw", &[], r#"{"amount":8}"#).await.unwrap_err().to_string();
    assert!(refused.contains("409") && refused.contains("insufficient: 8 wanted, 7 there"), "{refused}");

    // A change of either component is taken up; what was stored is folded by the new one.
    let before = dev.mark();
    let front = std::fs::read_to_string(person.path("my-actor/front/src/lib.rs")).unwrap();
    person.write(
        "my-actor/front/src/lib.rs",
        front.replace("\"GET\", [id, query]", "\"GET\", [id, \"ask\", query]"),
    );
    dev.wait_for_line_since(before, "swapped in", PATIENCE).await.unwrap();
    assert_eq!(http::get(address, "/a-1/ask/balance").await.unwrap(), "7");
    let before = dev.mark();
    let source = std::fs::read_to_string(person.path("my-actor/src/lib.rs")).unwrap();
    person.write("my-actor/src/lib.rs", source.replace("Ok(self.balance)", "Ok(self.balance * 100)"));
    dev.wait_for_line_since(before, "swapped in", PATIENCE).await.unwrap();
    assert_eq!(http::get(address, "/a-1/ask/balance").await.unwrap(), "700");
    dev.terminate().unwrap();
    assert!(dev.wait_for_exit(PATIENCE).await.unwrap().success());
}

/// A `UUIDv7` of this moment.
fn key_at(now_ms: u128) -> String {
    let hex = format!("{now_ms:012x}");
    let (high, low) = hex.split_at(8);
    format!("{high}-{low}-7000-8000-000000000001")
}

/// What a persistent actor is linked to is in the claims of its build: its effects are no imports.
fn claims_its_effects(person: &Person) {
    let manifest = std::fs::read_to_string(person.path("my-actor/app.yaml")).unwrap();
    let linked = manifest.replacen(
        "    - name: my-actor-front",
        "      links:\n        - { to: messages, interface: wasmcloud:messaging, grants: { publish: [app.out] } }\n    - name: my-actor-front",
        1,
    ) + "    - { name: messages, kind: messaging-embedded }\n";
    assert_ne!(linked.len(), manifest.len());
    person.write("my-actor/app.yaml", linked);
    let built = person.run(&["build", "--dir", "my-actor", "--output", "json"]).ok().json();
    let claims = |ends: &str| {
        let files: Vec<&str> =
            built.as_array().unwrap().iter().filter_map(|one| one["file"].as_str()).collect();
        let file = files.iter().find(|file| file.ends_with(ends)).unwrap();
        person.run(&["claim", "inspect", file, "--output", "json"]).ok().stdout
    };
    assert!(claims("/my_actor.wasm").contains("wasmcloud:messaging"), "{}", claims("/my_actor.wasm"));
    assert!(!claims("/my_actor_front.wasm").contains("wasmcloud:messaging"));
    person.write("my-actor/app.yaml", manifest);
}
