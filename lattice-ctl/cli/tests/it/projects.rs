//! A newcomer's first hour: `new`, `build`, `dev`, in a directory that knows nothing of this repository.

use crate::Person;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;
use tests_harness::{ProcessSpec, http, workspace};

const PATIENCE: Duration = Duration::from_secs(120);

/// A project of this template, on a port that is free. What its build takes from the registry of crates is built
/// once for all runs of this test: the project's target folder leads into ours.
fn project(person: &Person, template: &str) -> SocketAddr {
    person.run(&["new", "my-actor", "--template", template]).ok();
    let built = workspace::target_dir().join("new-project");
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
