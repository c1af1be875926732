//! Seed 004: its command lines with our binary for `wash`, and its ten messages, each provoked.

use crate::lattice::{DEADLINE, Lattice, lattice};
use crate::{Person, Ran};
use std::path::Path;
use tests_harness::{RedisServer, eventually};

/// A line of the seed, `wash` left out, with what stands for its ids.
fn line(person: &Person, text: &str, names: &[(&str, &str)]) -> Ran {
    let words: Vec<String> = text
        .split_whitespace()
        .map(|word| names.iter().fold(word.to_owned(), |word, (from, to)| word.replace(from, to)))
        .collect();
    person.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The id that `start provider` printed.
fn id_of(ran: &Ran) -> String {
    let (_, rest) = ran.stdout.split_once(", id ").unwrap_or_else(|| panic!("no id: {}", ran.stdout));
    rest.split_whitespace().next().unwrap().to_owned()
}

/// The seed's account is the lattice's issuer, and its module is built where the seed builds it.
fn prepare(lattice: &Lattice) {
    let person = &lattice.person;
    let issuer = std::fs::read(person.path("trellis-lattice/keys/issuer.nk")).unwrap();
    let path = person.write("keys/account.nk", issuer);
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    person.write(
        "target/wasm32-unknown-unknown/release/edge_processor_actor.wasm",
        crate::guest("edge_processor"),
    );
}

const SIGN: &str = "claim sign target/wasm32-unknown-unknown/release/edge_processor_actor.wasm \
    --name edge-processor --issuer ./keys/account.nk --subject ./keys/module.nk";

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_the_seed_work_as_written() {
    let (lattice, redis) = (lattice().await, RedisServer::start().await.unwrap());
    let person = &lattice.person;
    let _controller = lattice.controller("fast").await;
    let _one = lattice.host("NEDGE01", &["--label", "region=ap-east-1"]).await;
    prepare(&lattice);
    let run = |text: &str, names: &[(&str, &str)]| line(person, text, names).ok();
    run(SIGN, &[]);
    let module = person.run(&["keys", "inspect", "keys/module.nk", "-o", "json"]).ok().json();
    let module = module["public"].as_str().unwrap().to_owned();
    run("start actor edge-processor --hosts NEDGE01 --link-name edge-processor", &[]);
    let kv = id_of(&run(
        "start provider wasmcloud.azurecr.io/kvredis:0.27.0 --hosts NEDGE01 --link-name default",
        &[],
    ));
    let http = id_of(&run(
        "start provider wasmcloud.azurecr.io/httpserver:0.20.0 --hosts NEDGE01 --link-name default",
        &[],
    ));
    let nats = id_of(&run(
        "start provider wasmcloud.azurecr.io/nats:0.18.0 --hosts NEDGE01 --link-name cloud-sync",
        &[],
    ));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let names = [
        ("MBCF", module.as_str()),
        ("VKV", kv.as_str()),
        ("VHTTP", http.as_str()),
        ("VNATS", nats.as_str()),
        ("8080", port.as_str()),
        ("REDIS", &redis.url()),
    ];
    run(
        "link put MBCF VKV wasmcloud:keyvalue default --bucket edge-data --region ap-east-1 --cluster-uri REDIS",
        &names,
    );
    run("link put MBCF VHTTP wasmcloud:httpserver default --port 8080", &names);
    run("link put MBCF VNATS wasmcloud:messaging cloud-sync --subscription edge.sensor.*", &names);
    run(
        "link put MBCF VKV wasmcloud:keyvalue default --bucket edge-data --region ap-east-1 --timeout 5000 --retry-count 3 --retry-delay 1000",
        &names,
    );
    let call = || {
        let data = r#"{"device":"sensor-001","temp":92.5}"#;
        let args = ["call", &module, "HandleMessage", "--subject", "edge.sensor.ap-east-1", "--data", data];
        let ran = person.run(&args);
        std::future::ready(if ran.status == 0 { Ok(()) } else { Err(anyhow::anyhow!(ran.stderr)) })
    };
    eventually(DEADLINE, "the actor to handle the seed's message", call).await.unwrap();
    assert!(run("get hosts", &[]).stdout.contains("NEDGE01"));
    assert!(run("get claims", &[]).stdout.contains(&module));
    let links = run("get links", &[]).stdout;
    assert!(
        links.contains("Link: default/edge-processor -> default/keyvalue-redis [wasmcloud:keyvalue:default]"),
        "{links}"
    );
    assert!(links.contains("[wasmcloud:messaging:cloud-sync]"), "{links}");
    assert!(run("get inventory", &[]).stdout.contains("default/messaging-nats"));
    let _two = lattice.host("NEDGE02", &[]).await;
    run("get hosts --healthy-only", &[]);
    run("scale actor MBCF --hosts NEDGE01,NEDGE02 --max 3", &names);
    run("start actor edge-processor --hosts NEDGE01,NEDGE02 --spread", &[]);
    run("scale actor edge-processor --hosts NEDGE01", &[]);
    let missing = line(person, "stop actor MBCF --host-id NEDGE03", &names).failed(5, "E_HOST_NOT_FOUND");
    assert!(missing.contains("host not found: NEDGE03") && missing.contains("get hosts"), "{missing}");
    // The seed's own ids are no keys (Z-034): said, with the character that is wrong.
    let broken = [
        ("MBCF", "MBCFOPNG6DDWUTJYEQVP5A7PV7Y4MFSH5I2I2R4"),
        ("VKV", "VAG3QITQQ2ODAOWB5MTQ0JD6BX7T7NZ2FMX4NOOB"),
    ];
    let text = line(person, "scale actor MBCF --max 3", &broken).failed(5, "E_ACTOR_NOT_FOUND");
    assert!(text.contains("actor not found: MBCF") && text.contains("expected 56"), "{text}");
    let half = [("MBCF", module.as_str()), broken[1]];
    let text =
        line(person, "link put MBCF VKV wasmcloud:keyvalue other", &half).failed(5, "E_PROVIDER_NOT_FOUND");
    assert!(text.contains("provider not found: VAG3") && text.contains("'0' at character"), "{text}");
    // Who did what is in the audit stream.
    let acts =
        person.run(&["get", "events", "--kind", "admin", "--about", "default", "-o", "json"]).ok().json();
    let said = |change: &str| {
        acts.as_array().unwrap().iter().any(|act| {
            act["data"]["change"].as_str().unwrap_or_default().starts_with(change)
                && act["source"] == "trellis://lab/controller"
                && act["data"]["user"] == "admin"
                && !act["data"]["by"].as_str().unwrap().is_empty()
        })
    };
    assert!(said("start actor edge-processor") && said("link put") && said("scale actor"), "{acts}");
}

/// The ten messages, word for word, each from the command that a person would get it from.
#[tokio::test(flavor = "multi_thread")]
async fn each_of_the_ten_messages_is_said_where_it_applies() {
    let lattice = lattice().await;
    let person = &lattice.person;
    let has = |text: &str, words: &str| assert!(text.contains(words), "{words:?} is not in: {text}");
    let failed = |text: &str, status, code| line(person, text, &[]).failed(status, code);
    // 4
    let refused = person.run(&["get", "hosts", "--nats-url", "nats://127.0.0.1:1"]).failed(8, "E_CONNECTION");
    has(&refused, "NATS: connection refused");
    let _controller = lattice.controller("fast").await;
    let mut host = lattice.host("NEDGE01", &["--memory-mib", "64"]).await;
    prepare(&lattice);
    // 1: nobody has signed it.
    person.write("raw.wasm", crate::guest("pong"));
    has(&failed("start actor raw.wasm", 3, "E_UNSIGNED"), "actor start failed: invalid claim");
    // 2, 3, 7
    lattice.signed("kv-counter");
    line(person, "start actor kv-counter --hosts NEDGE01 --wait 60", &[]).ok();
    has(
        &failed("link del kv-counter wasmcloud:keyvalue", 5, "E_LINK_NOT_FOUND"),
        "link definition not found",
    );
    let image = failed("start provider wasmcloud.azurecr.io/unheard:0.1.0", 8, "E_PROVIDER_START");
    has(&image, "provider start failed: image pull");
    has(&image, "keyvalue-redis");
    has(&failed("stop actor kv-counter --host-id NEDGE03", 5, "E_HOST_NOT_FOUND"), "host not found: NEDGE03");
    // 6: it imports the store, and no link grants it.
    let denied = person.run(&["call", "kv-counter", "HandleRequest", "--path", "/a"]);
    has(&format!("{}{}", denied.stdout, denied.stderr), "capability denied: wasmcloud:keyvalue");
    lattice.signed("pong");
    line(person, "start actor pong --wait 60", &[]).ok();
    // 8: the host's 64 MiB are not enough for so many.
    line(person, "stop actor kv-counter", &[]).ok();
    let full = failed("scale actor kv-counter --max 900 --wait 30", 6, "E_INSUFFICIENT_RESOURCES");
    has(&full, "actor scale failed: insufficient resources");
    // 5: the host holds the subscription and says nothing.
    host.freeze().unwrap();
    let silent = person.run(&["call", "pong", "ping", "--timeout", "500"]);
    has(&silent.failed(9, "E_TIMEOUT"), "NATS: subscription timeout");
    // 9, 10: it is lost, and there is no other.
    for (args, words) in [
        (["get", "hosts"], "heartbeat timeout: 1500ms"),
        (["get", "actors"], "failover failed: no healthy target"),
    ] {
        let said = eventually(DEADLINE, words, || {
            let ran = person.run(&args);
            let found = ran.stdout.contains(words);
            std::future::ready(if found { Ok(()) } else { Err(anyhow::anyhow!(ran.stdout)) })
        });
        said.await.unwrap();
    }
    host.thaw().unwrap();
    assert!(Path::new(host.log_path()).exists());
}
