//! Commands against a lattice: a real nats-server with the lattice's own users, and where it says
//! so the controller and a host as the command itself runs them.

use crate::{Person, guest};
use std::path::Path;
use std::time::Duration;
use tests_harness::{JetStream, NatsOptions, NatsServer, Process, ProcessSpec};

/// Longest wait for a process or a state.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A lattice made by `trellis lattice init`, its server, and a person at its directory.
pub struct Lattice {
    pub person: Person,
    pub server: NatsServer,
}

pub async fn lattice() -> Lattice {
    let mut person = Person::new();
    person.run(&["lattice", "init", "--name", "lab", "--host", "NEDGE01", "--host", "NEDGE02"]).ok();
    let auth = std::fs::read_to_string(person.path("trellis-lattice/nats/auth.conf")).unwrap();
    let options = NatsOptions {
        jetstream: Some(JetStream::default()),
        operator_config: Some(auth),
        ..NatsOptions::default()
    };
    let server = NatsServer::start(options).await.unwrap();
    person.env.push(("TRELLIS_NATS_URL".into(), server.url()));
    Lattice { person, server }
}

impl Lattice {
    pub fn start(&self, name: &str, args: &[&str]) -> Process {
        ProcessSpec::new(name, env!("CARGO_BIN_EXE_trellis"), self.person.path(&format!("{name}.log")))
            .args(args)
            .env("TRELLIS_NATS_URL", self.server.url())
            .env("TRELLIS_HOME", self.person.path("home"))
            .current_dir(self.person.path(""))
            .spawn()
            .unwrap()
    }

    /// A host that runs.
    pub async fn host(&self, id: &str, more: &[&str]) -> Process {
        let args = [&["host", "--host-id", id, "--heartbeat-ms", "250"], more].concat();
        let mut host = self.start(id, &args);
        host.wait_for_line("is up", DEADLINE).await.unwrap();
        host
    }

    /// A controller that runs, with this profile.
    pub async fn controller(&self, profile: &str) -> Process {
        let mut controller = self.start("controller", &["controller", "--profile", profile]);
        controller.wait_for_line("is up", DEADLINE).await.unwrap();
        controller
    }

    /// A signed guest, by the lattice's own issuer.
    pub fn signed(&self, name: &str) {
        self.person.write(&format!("{name}.wasm"), guest(name));
        let file = format!("{name}.wasm");
        let issuer = "trellis-lattice/keys/issuer.nk";
        let subject = format!("keys/{name}.nk");
        self.person
            .run(&["claim", "sign", &file, "--name", name, "--issuer", issuer, "--subject", &subject])
            .ok();
    }
}

fn manifest(name: &str, actor: &str) -> String {
    format!(
        "apiVersion: trellis.dev/v1\nkind: Application\nmetadata: {{ name: {name} }}\nspec:\n  actors:\n    \
         - {{ name: {actor}, artifact: {actor}.wasm }}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_is_put_listed_changed_and_deleted() {
    let lattice = lattice().await;
    let person = &lattice.person;
    lattice.signed("pong");
    person.write("app.yaml", manifest("shop", "pong"));
    assert_eq!(person.run(&["app", "list", "--output", "json"]).ok().json(), serde_json::json!([]));
    let put = person.run(&["app", "put", "app.yaml", "--output", "json"]).ok().json();
    assert_eq!((put["version"].as_u64(), put["deployed"].as_bool()), (Some(1), Some(false)));
    let again = person.run(&["app", "put", "app.yaml", "--output", "json"]).ok().json();
    assert_eq!(again["version"], 1, "the same again is no new version");
    let deployed = person.run(&["app", "deploy", "shop", "--no-wait", "--output", "json"]).ok().json();
    assert_eq!((deployed["version"].as_u64(), deployed["deployed"].as_bool()), (Some(2), Some(true)));
    let stored = person.run(&["app", "get", "shop"]).ok().stdout;
    person.write("stored.yaml", stored);
    person.run(&["app", "validate", "stored.yaml"]).ok();
    person.run(&["app", "undeploy", "shop"]).ok();
    let history = person.run(&["app", "history", "shop", "--output", "json"]).ok().json();
    let changes: Vec<&str> =
        history.as_array().unwrap().iter().map(|past| past["change"].as_str().unwrap()).collect();
    assert_eq!(changes, ["undeploy", "deploy", "put"]);
    let listed = person.run(&["get", "apps", "--output", "json"]).ok().json();
    assert_eq!(listed[0]["state"], "undeployed");
    person.run(&["app", "delete", "shop"]).ok();
    let line = person.run(&["app", "status", "shop"]).failed(5, "E_APP_NOT_FOUND");
    assert!(line.contains("application not found: shop"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_go_in_and_come_out_the_same_and_unsigned_ones_do_not_go_in() {
    let lattice = lattice().await;
    let person = &lattice.person;
    lattice.signed("pong");
    let pushed = person.run(&["push", "pong.wasm", "--output", "json"]).ok().json();
    let artifact = pushed["artifact"].as_str().unwrap();
    person.run(&["pull", artifact, "--to", "back.wasm"]).ok();
    assert_eq!(
        std::fs::read(person.path("back.wasm")).unwrap(),
        std::fs::read(person.path("pong.wasm")).unwrap()
    );
    person.write("raw.wasm", guest("pong"));
    person.run(&["push", "raw.wasm"]).failed(3, "E_UNSIGNED");
    let absent = format!("sha256:{}", "0".repeat(64));
    person.run(&["pull", &absent]).failed(5, "E_ARTIFACT_NOT_FOUND");
    person.run(&["pull", "pong.wasm"]).failed(2, "E_USAGE");
}

/// Seed 004's lines, with `trellis` for `wash`, without a host: what they refuse and what they store.
#[tokio::test(flavor = "multi_thread")]
async fn imperative_commands_edit_what_is_desired() {
    let lattice = lattice().await;
    let person = &lattice.person;
    let line =
        person.run(&["start", "actor", "edge-processor", "--hosts", "NEDGE03"]).failed(5, "E_HOST_NOT_FOUND");
    assert!(line.contains("host not found: NEDGE03") && line.contains("get hosts"), "{line}");
    lattice.signed("kv-counter");
    // Found by the name that it was signed under, as the seed starts it.
    person.run(&["start", "actor", "kv-counter"]).ok();
    person.run(&["start", "provider", "wasmcloud.azurecr.io/kvredis:0.27.0", "--link-name", "default"]).ok();
    let line = person.run(&["start", "provider", "registry.example/unheard:1"]).failed(8, "E_PROVIDER_START");
    assert!(line.contains("provider start failed: image pull"), "{line}");
    let link = [
        "link",
        "put",
        "kv-counter",
        "keyvalue-redis",
        "wasmcloud:keyvalue",
        "default",
        "--bucket",
        "edge-data",
        "--region",
        "ap-east-1",
        "--timeout",
        "5000",
        "--retry-count",
        "3",
        "--retry-delay",
        "1000",
    ];
    person.run(&link).ok();
    let links = person.run(&["get", "links", "--output", "json"]).ok().json();
    assert_eq!(links[0]["config"], serde_json::json!({ "bucket": "edge-data", "region": "ap-east-1" }));
    assert_eq!(
        (links[0]["policy"]["timeoutMs"].as_u64(), links[0]["policy"]["retries"].as_u64()),
        (Some(5000), Some(3))
    );
    let key = "VAG3QITQQ2ODAOWB5MTQ0JD6BX7T7NZ2FMX4NOOB";
    let line = person
        .run(&["link", "put", "kv-counter", key, "wasmcloud:keyvalue", "other"])
        .failed(5, "E_PROVIDER_NOT_FOUND");
    assert!(line.contains(&format!("provider not found: {key}")), "{line}");
    let key = "MBCFOPNG6DDWUTJYEQVP5A7PV7Y4MFSH5I2I2R4";
    let line = person.run(&["scale", "actor", key, "--max", "3"]).failed(5, "E_ACTOR_NOT_FOUND");
    assert!(line.contains(&format!("actor not found: {key}")), "{line}");
    person.run(&["scale", "actor", "kv-counter", "--max", "3"]).ok();
    let line =
        person.run(&["link", "put", "kv-counter", "keyvalue-redis", "wasmcloud:keyvalue", "--timeout", "0"]);
    line.failed(2, "E_LINK");
    person.run(&["link", "del", "kv-counter", "wasmcloud:keyvalue", "default"]).ok();
    let line = person
        .run(&["link", "del", "kv-counter", "wasmcloud:keyvalue", "default"])
        .failed(5, "E_LINK_NOT_FOUND");
    assert!(line.contains("link definition not found"), "{line}");
    let stored = person.run(&["app", "get", "default", "--output", "json"]).ok().json();
    assert_eq!(stored["application"]["actors"][0]["scale"], serde_json::json!({ "replicas": 3 }));
}

/// The whole way: deploy waits until it runs, calls reach it, a typed answer comes back, it scales
/// and stops; the host answers with its claims.
#[tokio::test(flavor = "multi_thread")]
async fn a_deployed_actor_is_called_scaled_and_stopped() {
    let lattice = lattice().await;
    let person = &lattice.person;
    let mut controller = lattice.start("controller", &["controller"]);
    let mut host = lattice
        .start("host", &["host", "--host-id", "NEDGE01", "--heartbeat-ms", "250", "--label", "region=lab"]);
    host.wait_for_line("host NEDGE01 is up", DEADLINE).await.unwrap();
    controller.wait_for_line("is up", DEADLINE).await.unwrap();
    lattice.signed("pong");
    person.write("app.yaml", manifest("shop", "pong"));
    let plan = person.run(&["app", "plan", "app.yaml", "--output", "json"]).ok().json();
    let step = &plan["steps"][0];
    assert_eq!((step["action"].as_str(), step["host"].as_str()), (Some("start"), Some("NEDGE01")), "{plan}");
    assert!(step["text"].as_str().unwrap().starts_with("Scheduled shop/pong -> NEDGE01 (cpu: "), "{plan}");
    assert_eq!(
        person.run(&["app", "list", "--output", "json"]).ok().json(),
        serde_json::json!([]),
        "a plan stores nothing"
    );
    let status =
        person.run(&["app", "deploy", "app.yaml", "--wait-for", "60", "--output", "json"]).ok().json();
    assert_eq!(status["state"], "running");
    let hosts = person.run(&["get", "hosts", "--healthy-only", "--output", "json"]).ok().json();
    assert_eq!(
        (hosts[0]["host"].as_str(), hosts[0]["labels"]["region"].as_str()),
        (Some("NEDGE01"), Some("lab"))
    );
    assert_eq!(person.run(&["call", "pong", "ping"]).ok().json(), "pong");
    let point = r#"[{"x": -1, "y": 2, "label": "a"}]"#;
    let back = person.run(&["call", "shop/pong", "shapes.echo-records", "--data", point]).ok().json();
    assert_eq!(back, serde_json::from_str::<serde_json::Value>(point).unwrap());
    person.run(&["call", "pong", "echo-u8", "--data", "256"]).failed(2, "E_USAGE");
    person.run(&["call", "pong", "pings"]).failed(2, "E_NO_HANDLER");
    let claims = person.run(&["get", "claims", "--output", "json"]).ok().json();
    let module = claims[0]["claims"]["subject"].as_str().unwrap().to_owned();
    assert_eq!(person.run(&["call", &module, "ping"]).ok().json(), "pong", "by its key");
    let why = person.run(&["why", "pong", "--output", "json"]).ok().json();
    let host_of = &why["hosts"][0];
    assert_eq!((host_of["host"].as_str(), host_of["replicas"].as_u64()), (Some("NEDGE01"), Some(1)), "{why}");
    person.run(&["why", "pang"]).failed(5, "E_ACTOR_NOT_FOUND");
    let again = person.run(&["app", "plan", "shop", "--output", "json"]).ok().json();
    assert_eq!(again["steps"], serde_json::json!([]), "nothing is left to do");
    person.run(&["scale", "actor", "pong", "--max", "3", "--wait", "60"]).ok();
    let actors = person.run(&["get", "actors", "--output", "json"]).ok().json();
    assert_eq!((actors[0]["running"].as_u64(), actors[0]["state"].as_str()), (Some(3), Some("running")));
    person.run(&["stop", "actor", &module, "--host-id", "NEDGE01"]).ok();
    person.run(&["stop", "host", "NEDGE01"]).ok();
    assert!(host.wait_for_exit(DEADLINE).await.unwrap().success());
    assert!(Path::new(host.log_path()).exists());
}

/// What the user of these credentials may publish to, and its seed.
fn may_publish(creds: &str) -> (Vec<String>, String) {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let line = |start: &str| creds.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    let payload = URL_SAFE_NO_PAD.decode(line("eyJ").split('.').nth(1).unwrap()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    let allowed = claims.pointer("/nats/pub/allow").unwrap().as_array().unwrap();
    (allowed.iter().map(|subject| subject.as_str().unwrap().to_owned()).collect(), line("SU"))
}

#[test]
fn a_host_is_enrolled_for_its_sites_domain_and_for_a_further_one_with_the_same_key() {
    let person = Person::new();
    person.run(&["lattice", "init", "--name", "lab", "--host", "NEDGE01"]).ok();
    person.run(&["lattice", "enroll", "NEDGE01", "--domain", "factory"]).failed(2, "E_USAGE");
    person.run(&["lattice", "init", "--name", "lab", "--domain", "hub", "--host", "NEDGE02"]).ok();
    let auth = std::fs::read_to_string(person.path("trellis-lattice/nats/auth.conf")).unwrap();
    assert!(
        auth.contains("max_control_line: 16384"),
        "tokens of such hosts are longer than a server's usual line"
    );
    person.run(&["lattice", "enroll", "NEDGE01"]).ok();
    let read =
        || may_publish(&std::fs::read_to_string(person.path("trellis-lattice/users/NEDGE01.creds")).unwrap());
    let has = |allowed: &[String], subject: &str| allowed.iter().any(|allowed| allowed == subject);
    let (first, key) = read();
    assert!(has(&first, "$JS.hub.API.>") && !has(&first, "$JS.factory.API.INFO"), "{first:?}");
    person.run(&["lattice", "enroll", "NEDGE01", "--domain", "factory"]).ok();
    person.run(&["lattice", "enroll", "NEDGE01", "--domain", "depot", "--bundle", "edge"]).ok();
    let (then, same) = read();
    assert_eq!(key, same);
    for subject in
        ["$JS.hub.API.>", "$JS.factory.API.INFO", "$JS.depot.API.INFO", "trellis.lab.shard.*.*.depot"]
    {
        assert!(has(&then, subject), "{subject}: {then:?}");
    }
    let bundled: serde_json::Value =
        serde_json::from_slice(&std::fs::read(person.path("edge/lattice.json")).unwrap()).unwrap();
    assert_eq!(bundled["domain"], "hub", "the host finds the lattice by it");
    assert_eq!(bundled["siteDomains"], serde_json::json!({ "NEDGE01": ["depot", "factory"] }));
    // Made again without saying so, it is the same lattice.
    person.run(&["lattice", "init", "--name", "lab", "--host", "NEDGE01"]).ok();
    let file: serde_json::Value =
        serde_json::from_slice(&std::fs::read(person.path("trellis-lattice/lattice.json")).unwrap()).unwrap();
    assert_eq!((&file["domain"], &file["siteDomains"]), (&bundled["domain"], &bundled["siteDomains"]));
    person.run(&["lattice", "enroll", "NEDGE01", "--domain", "a_b"]).failed(2, "E_USAGE");
}

#[test]
fn a_directory_from_before_compiler_keys_gets_one_and_what_somebody_changed_in_trust_json_stays() {
    let person = Person::new();
    let init = ["lattice", "init", "--name", "lab", "--host", "NEDGE01"];
    person.run(&init).ok();
    let (path, key) = ("trellis-lattice/trust.json", person.path("trellis-lattice/keys/compiler.nk"));
    let trust = || -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(person.path(path)).unwrap()).unwrap()
    };
    let write = |trust: &serde_json::Value| person.write(path, trust.to_string());
    let made = trust();
    assert_eq!((made["compilers"].as_array().map(Vec::len), crate::mode(&key)), (Some(1), 0o600), "{made}");
    // As a version without them left it, with one more issuer.
    std::fs::remove_file(&key).unwrap();
    let mut before = made.clone();
    before.as_object_mut().unwrap().remove("compilers");
    // In the order in which it is written.
    let mut issuers = [&made["issuers"][0], &made["controllers"][0]].map(|key| key.as_str().unwrap());
    issuers.sort_unstable();
    before["issuers"] = serde_json::json!(issuers);
    write(&before);
    person.run(&init).ok();
    let after = trust();
    assert_eq!((&after["issuers"], &after["controllers"]), (&before["issuers"], &before["controllers"]));
    assert!(after["compilers"].as_array().is_some_and(|all| all.len() == 1), "{after}");
    // Who wants nobody to compile for others has it so.
    let mut none = after.clone();
    none["compilers"] = serde_json::json!([]);
    write(&none);
    person.run(&init).ok();
    assert_eq!(trust(), none);
    // And a host that compiles nothing says then why it cannot be.
    let said = person.run(&["host", "--host-id", "NEDGE01", "--no-compiler"]).failed(2, "E_CONFIG");
    assert!(said.contains("trusts no compiler"), "{said}");
    person.run(&["lattice", "enroll", "NEDGE01", "--bundle", "edge"]).ok();
    assert!(!person.path("edge/keys/compiler.nk").exists(), "whoever has it can run anything there");
}
