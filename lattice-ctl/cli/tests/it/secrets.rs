//! Secrets by reference, end to end: a Redis that wants a password, on a real lattice; and a canary
//! that must be nowhere.

use crate::guest;
use crate::lattice::{DEADLINE, lattice};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use tests_harness::{RedisServer, eventually};

const FIRST: &str = "c4n4ry-one-9f1c";
const SECOND: &str = "c4n4ry-two-7b2e";

/// Sends one command as whoever knows this password.
fn redis(server: &RedisServer, password: &str, line: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let auth = if password.is_empty() { String::new() } else { format!("AUTH {password}\r\n") };
    stream.write_all(format!("{auth}{line}\r\nQUIT\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn manifest(url: &str) -> String {
    // Free as far as one can know; an HTTP server chooses none by itself.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!(
        "apiVersion: trellis.dev/v1\nkind: Application\nmetadata: {{ name: shop }}\nspec:\n  actors:\n    \
         - name: counter\n      artifact: kv-counter.wasm\n      links:\n        \
         - {{ to: http, interface: wasi:http/incoming-handler, config: {{ path: / }} }}\n        \
         - {{ to: cache, interface: wasi:keyvalue, config: {{ bucket: b }} }}\n  providers:\n    \
         - {{ name: http, kind: http-server, config: {{ port: \"{port}\" }} }}\n    \
         - name: cache\n      kind: keyvalue-redis\n      config: {{ url: \"{url}\", password: {{ secretRef: redis }} }}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_fetched_when_needed_rotated_without_restart_and_seen_nowhere() {
    let server = RedisServer::start().await.unwrap();
    assert!(redis(&server, "", &format!("CONFIG SET requirepass {FIRST}")).contains("+OK"));
    let lattice = lattice().await;
    let person = &lattice.person;
    let _controller = lattice.controller("fast").await;
    let _host = lattice.host("NEDGE01", &[]).await;
    lattice.signed("kv-counter");
    person.write("app.yaml", manifest(&server.url()));
    // Absent: which secret, which host, what to do.
    let line = person.run(&["app", "deploy", "app.yaml", "--no-wait"]).ok();
    drop(line);
    let why = eventually(DEADLINE, "the reason to be said", || {
        let text = person.run(&["app", "status", "shop"]).ok().stdout;
        let found = text.contains("secret not found: redis");
        std::future::ready(if found { Ok(text) } else { Err(anyhow::anyhow!(text)) })
    })
    .await
    .unwrap();
    assert!(why.contains("host NEDGE01") && why.contains("trellis secret put redis"), "{why}");
    // There: it is taken at once, without anything being started again.
    person.run_with(&["secret", "put", "redis"], &format!("{FIRST}\n")).ok();
    let call = || {
        let ran = person.run(&["call", "shop/counter", "HandleRequest", "--path", "/visits"]);
        let fine = ran.status == 0 && ran.stdout.contains("HTTP 200");
        std::future::ready(if fine { Ok(()) } else { Err(anyhow::anyhow!("{}{}", ran.stdout, ran.stderr)) })
    };
    eventually(DEADLINE, "the counter to count", call).await.unwrap();
    let listed = person.run(&["secret", "list", "--output", "json"]).ok();
    assert_eq!(listed.json()[0]["hosts"], serde_json::json!(["NEDGE01", "NEDGE02"]));
    // Rotated: Redis first, then the lattice; old connections are cut.
    assert!(redis(&server, FIRST, &format!("CONFIG SET requirepass {SECOND}")).contains("+OK"));
    redis(&server, SECOND, "CLIENT KILL TYPE normal SKIPME yes");
    person.run_with(&["secret", "put", "redis"], SECOND).ok();
    eventually(DEADLINE, "the counter to count with the new password", call).await.unwrap();
    let events = person.run(&["get", "events", "--output", "json"]).ok();
    let kinds: Vec<String> = events
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["type"].as_str().unwrap().trim_start_matches("dev.trellis.").to_owned())
        .collect();
    for kind in
        ["provider.failed", "provider.started", "provider.restarted", "admin.secret-put", "app.placed"]
    {
        assert!(kinds.iter().any(|have| have == kind), "{kind} is not in {kinds:?}");
    }
    // The canary: in nothing that is stored, sent, logged or said.
    for text in
        [&why, &events.stdout, &listed.stdout, &person.run(&["app", "get", "shop", "-o", "json"]).ok().stdout]
    {
        assert!(!text.contains("c4n4ry"), "{text}");
    }
    for place in [person.path(""), lattice.server.dir().to_path_buf()] {
        search(&place);
    }
}

/// No file below holds the canary.
fn search(place: &Path) {
    for entry in std::fs::read_dir(place).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            search(&path);
        } else if let Ok(content) = std::fs::read(&path) {
            assert!(!content.windows(6).any(|window| window == b"c4n4ry"), "canary in {}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_sealed_to_hosts_shared_with_new_ones_and_deleted() {
    let lattice = lattice().await;
    let person = &lattice.person;
    person.run_with(&["secret", "put", "mqtt", "--hosts", "NEDGE01"], "x").ok();
    let line =
        person.run_with(&["secret", "put", "mqtt", "--hosts", "NEDGE07"], "x").failed(5, "E_HOST_NOT_FOUND");
    assert!(line.contains("host not found: NEDGE07"), "{line}");
    person.run_with(&["secret", "put", "mqtt"], "").failed(2, "E_USAGE");
    let line = person.run_with(&["secret", "put", "p4ss word"], "x").failed(2, "E_NAME");
    assert!(!line.contains("p4ss"), "it may be the secret itself: {line}");
    person.run(&["lattice", "enroll", "NEDGE03"]).ok();
    let hosts = |person: &crate::Person| {
        person.run(&["secret", "list", "--output", "json"]).ok().json()[0]["hosts"].clone()
    };
    assert_eq!(hosts(person), serde_json::json!(["NEDGE01"]));
    person.run(&["secret", "share", "mqtt"]).ok();
    assert_eq!(hosts(person), serde_json::json!(["NEDGE01", "NEDGE02", "NEDGE03"]));
    person.run(&["secret", "delete", "mqtt"]).ok();
    let line = person.run(&["secret", "delete", "mqtt"]).failed(5, "E_SECRET_NOT_FOUND");
    assert!(line.contains("secret not found: mqtt"), "{line}");
    assert_eq!(person.run(&["secret", "list", "--output", "json"]).ok().json(), serde_json::json!([]));
}

#[test]
fn a_process_alone_reads_secrets_from_its_own_files() {
    let person = crate::Person::new();
    person.write("kv-counter.wasm", guest("kv-counter"));
    person.write("app.yaml", manifest("redis://127.0.0.1:1"));
    let run = ["run", "app.yaml", "--sign", "--secrets-dir", "secrets", "--ready-within", "3"];
    let ran = person.run(&run);
    assert!(
        ran.stderr.contains("secret not found: redis") && ran.stderr.contains("secrets/redis"),
        "{}",
        ran.stderr
    );
    person.write("secrets/redis", FIRST);
    let ran = person.run(&run);
    assert!(ran.stderr.contains("secret file is readable by others: redis"), "{}", ran.stderr);
    assert!(!ran.stderr.contains(FIRST), "{}", ran.stderr);
}
