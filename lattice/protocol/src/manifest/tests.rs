//! Tests of the manifest as a whole: both forms, every field, rendering, and the schema.

mod oam;
mod rollout;
mod roundtrip;

use super::*;
use crate::link::{CallPolicy, LinkTarget};
use crate::spec::{InstancePolicy, ProviderMode};

const EDGE: &str = r#"
apiVersion: trellis.dev/v1
kind: Application
metadata:
  name: edge
  version: 1.0.0
  description: Readings in, alerts out
  labels: { team: sensors, tier: 2 }
spec:
  actors:
    - name: edge-processor
      artifact: ./target/edge.wasm
      replicas: 3
      instances: { warm: { maxCalls: 500, idleMs: 1000 } }
      limits: { memoryMib: 32, callMs: 2000, bodyKib: 64 }
      config: { temp_threshold: 85, alert_enabled: true, ratio: 0.5, note: "no" }
      placement:
        requirements: { tier: edge }
        hosts: [NEDGE01, NEDGE02]
        spread:
          - { name: ap, requirements: { region: ap-east-1 }, weight: 80 }
          - { requirements: { region: eu-west-1 } }
        strategy: pack
        preferredRegion: ap-east-1
        maxLatencyMs: 50
        resources: { cpuMillis: 250, memoryMib: 64 }
        priority: 255
      links:
        - to: kv
          interface: wasmcloud:keyvalue
          config: { bucket: edge-data, token: { secretRef: kv-token } }
          timeoutMs: 2000
          retries: 0
          retryDelayMs: 0
          idempotent: true
          grants: { buckets: [edge-data], keyPrefixes: [dev/], readOnly: true }
        - { to: pong, interface: "example:pong/pingpong@0.1.0", name: primary }
        - { to: other/camera, interface: "example:camera/frames" }
        - { to: other/kv, interface: "wasi:keyvalue/store", name: theirs }
    - name: pong
      artifact: oci://registry.example/pong:1
      daemon: true
      links:
        - { to: edge-processor, interface: "example:edge/back" }
  providers:
    - { name: kv, kind: keyvalue-redis, config: { url: "redis://localhost" }, run: remote }
"#;

#[test]
fn every_field_arrives() {
    let app = parse(EDGE, "edge.yaml").unwrap();
    assert_eq!((app.name.as_str(), app.version.as_str()), ("edge", "1.0.0"));
    assert_eq!(app.labels.get("tier").map(String::as_str), Some("2"));
    let actor = &app.actors[0];
    assert_eq!(actor.scale, Scale::Replicas(3));
    assert_eq!(actor.instances, InstancePolicy::Warm { max_calls: 500, max_concurrency: 1, idle_ms: 1000 });
    assert_eq!((actor.limits.memory_bytes, actor.limits.body_bytes), (32 << 20, 64 << 10));
    let config: Vec<_> = actor.config.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(config, ["alert_enabled=true", "note=no", "ratio=0.5", "temp_threshold=85"]);
    let placement = &actor.placement;
    assert_eq!((placement.hosts.len(), placement.pack, placement.priority), (2, true, 255));
    assert_eq!((placement.spread[0].weight, placement.spread[1].weight), (80, 100));
    assert_eq!(placement.max_latency_ms, Some(50));
    assert_eq!(placement.resources, Resources { cpu_millis: 250, memory_mib: 64 });
    let link = &actor.links[0];
    assert_eq!(link.target, LinkTarget::Provider("edge/kv".parse().unwrap()));
    assert_eq!(link.policy, CallPolicy { timeout_ms: 2000, retries: 0, retry_delay_ms: 0, idempotent: true });
    assert_eq!(secret_ref(&link.config["token"]), Some("kv-token"));
    assert!(link.grants.read_only);
    assert_eq!(actor.links[1].target, LinkTarget::Actor("edge/pong".parse().unwrap()));
    assert_eq!(actor.links[1].policy, CallPolicy::default());
    assert_eq!(actor.links[2].target, LinkTarget::Actor("other/camera".parse().unwrap()));
    assert_eq!(actor.links[3].target, LinkTarget::Provider("other/kv".parse().unwrap()));
    assert_eq!(app.actors[1].scale, Scale::Daemon);
    assert_eq!(app.providers[0].mode, ProviderMode::Remote);
    assert!(check(&app).is_empty(), "{:?}", check(&app));
}

#[test]
fn the_file_may_have_any_line_ends_and_a_byte_order_mark() {
    let expected = parse(EDGE, "edge.yaml").unwrap();
    let dos = format!("\u{feff}{}", EDGE.trim_start().replace('\n', "\r\n"));
    assert_eq!(parse(&dos, "edge.yaml").unwrap(), expected);
    assert_eq!(parse_bytes(EDGE.as_bytes(), "edge.yaml").unwrap(), expected);
}

#[test]
fn the_example_of_the_documentation_is_a_manifest() {
    let source = include_str!("../manifest.rs");
    let start = source.find("//! ```yaml\n").unwrap() + "//! ```yaml\n".len();
    let example = &source[start..source[start..].find("//! ```\n").unwrap() + start];
    let yaml: String = example.lines().map(|line| format!("{}\n", &line[4..])).collect();
    let app = parse(&yaml, "doc.yaml").unwrap_or_else(|reports| panic!("{reports:#?}"));
    assert_eq!(app.actors[0].limits, crate::spec::Limits::default());
    assert_eq!(app.actors[0].links[0].policy, CallPolicy::default());
}

#[test]
fn an_application_from_elsewhere_is_checked_as_well() {
    let mut app = parse(EDGE, "edge.yaml").unwrap();
    app.actors[0].scale = Scale::Replicas(100_001);
    app.actors[0].config.insert("db_password".into(), "hunter2".into());
    app.actors[0].links[0].policy.timeout_ms = 0;
    app.actors[0].placement.preferred_region = None;
    app.actors[1].name = "edge-processor".parse().unwrap();
    app.providers.clear();
    let found: Vec<String> = check(&app).iter().map(ToString::to_string).collect();
    for expected in [
        "E_MANIFEST: two parts named \"edge-processor\": spec.actors[1].name",
        "E_PROVIDER_NOT_FOUND: provider not found: kv: spec.actors[0].links[0].to",
        "E_LINK_NOT_FOUND: link definition not found: no actor named pong: spec.actors[0].links[1].to",
        "E_MANIFEST: out of range: spec.actors[0].replicas (got 100001, expected 0..100000)",
        "E_MANIFEST: a latency from nowhere: spec.actors[0].placement.maxLatencyMs; it is measured from preferredRegion: name one",
        "E_LINK: out of range: spec.actors[0].links[0].timeoutMs (got 0, expected 1..600000)",
    ] {
        assert!(found.iter().any(|line| line == expected), "{expected}\n{found:#?}");
    }
    assert!(found.iter().any(|line| line.starts_with("E_INLINE_SECRET")), "{found:#?}");
    assert!(!found.concat().contains("hunter2"));
}

#[test]
fn a_provider_runs_in_the_host_in_a_process_or_elsewhere() {
    let app = |provider: &str| {
        format!(
            "apiVersion: trellis.dev/v1\nkind: Application\nmetadata: {{ name: a }}\nspec:\n  providers:\n    - {provider}\n"
        )
    };
    for (provider, mode) in [
        ("{ name: kv, kind: keyvalue-redis }", ProviderMode::InProcess),
        ("{ name: kv, kind: keyvalue-redis, run: in-process }", ProviderMode::InProcess),
        ("{ name: kv, kind: keyvalue-redis, run: process }", ProviderMode::Process),
        ("{ name: kv, kind: our-own, run: process }", ProviderMode::Process),
        (
            "{ name: kv, kind: keyvalue-nats, run: process, config: { url: \"nats://h\" } }",
            ProviderMode::Process,
        ),
        ("{ name: kv, kind: our-own, run: remote }", ProviderMode::Remote),
    ] {
        let read = parse(&app(provider), "a.yaml").unwrap_or_else(|found| panic!("{provider}: {found:?}"));
        assert_eq!(read.providers[0].mode, mode, "{provider}");
        assert_eq!(parse(&render(&read), "again.yaml").unwrap(), read);
    }
    for (provider, expected) in [
        (
            "{ name: kv, kind: keyvalue-redis, run: proces }",
            "(got \"proces\", expected in-process or process or remote)",
        ),
        ("{ name: kv, kind: our-own }", "one of your own needs run: process or run: remote"),
        ("{ name: kv, kind: keyvalue-nats, run: process }", "needs a server and a user of its own"),
        ("{ name: kv, kind: keyvalue-redis, rum: process }", "did you mean \"run\""),
    ] {
        let found = parse(&app(provider), "a.yaml").unwrap_err();
        assert!(found.iter().any(|report| report.to_string().contains(expected)), "{provider}: {found:#?}");
    }
}

fn persistent(actor: &str) -> Result<Application, Vec<String>> {
    let text = format!(
        "{{apiVersion: trellis.dev/v1, kind: Application, metadata: {{name: a}}, spec: {{actors: [\
         {{name: meter, artifact: m.wasm, {actor}}}, {{name: other, artifact: o.wasm, persistent: true}}]}}}}"
    );
    parse(&text, "a.yaml").map_err(|found| found.iter().map(ToString::to_string).collect())
}

#[test]
fn a_persistent_kind_is_read_with_its_defaults_and_reads_back() {
    let app = persistent("persistent: true").unwrap();
    assert_eq!(app.actors[0].persistent, Some(Box::default()));
    let app = persistent(
        "persistent: {kind: gauge, durability: lattice, domain: factory, replicas: 3, isolation: {shared: 16}, turnMs: 50, \
         snapshots: {events: 7, seconds: 8, replayMs: 9}, retainHours: 0, retainMib: 5, idleSeconds: 10}, \
         replicas: 3",
    )
    .unwrap();
    let kind = app.actors[0].persistent.clone().unwrap();
    assert_eq!(kind.kind_of(&app.actors[0].name).as_str(), "gauge");
    assert_eq!((kind.states, kind.turn_ms, kind.snapshot_events, kind.retain_hours), (16, 50, 7, 0));
    assert_eq!((kind.replicas, kind.retain_mib), (3, 5));
    assert_eq!(kind.domain.as_ref().map(crate::DomainName::as_str), Some("factory"));
    assert_eq!(parse(&render(&app), "again.yaml").unwrap(), app);
    let app = persistent("persistent: {isolation: instance}").unwrap();
    assert_eq!(app.actors[0].persistent.as_ref().unwrap().states, 1);
    assert_eq!(parse(&render(&app), "again.yaml").unwrap(), app);
}

#[test]
fn what_is_wrong_with_a_persistent_kind_is_said_with_its_place_and_what_was_meant() {
    for (actor, expected) in [
        ("persistent: {durabilty: device}", "did you mean \"durability\"?"),
        ("persistent: {durability: disk}", "(got \"disk\", expected device or lattice)"),
        ("persistent: {isolation: {shared: 9000}}", "(got number 9000, expected 2..4096)"),
        ("persistent: {isolation: {sharred: 9}}", "did you mean \"shared\"?"),
        ("persistent: {isolation: own}", "expected shared or instance"),
        ("persistent: {turnMs: 0}", "spec.actors[0].persistent.turnMs (got number 0, expected 1..60000)"),
        (
            "persistent: {retainMib: 2000000}",
            "spec.actors[0].persistent.retainMib (got number 2000000, expected 0..1048576)",
        ),
        ("persistent: {retainMb: 5}", "did you mean \"retainMib\"?"),
        ("persistent: {snapshots: {event: 5}}", "did you mean \"events\"?"),
        ("persistent: {durability: lattice, replicas: 2}", "(got 2, expected 1 or 3)"),
        ("persistent: {durability: lattice, replicas: 5}", "(got number 5, expected 1..3)"),
        ("persistent: {replicas: 3}", "has its journal on one disk"),
        ("persistent: {domain: factory}", "in no JetStream domain"),
        ("persistent: {durability: lattice, domain: a_b}", "JetStream domain: only A-Za-z0-9-, 1..32"),
        ("persistent: {kind: 'a b'}", "actor kind: only A-Za-z0-9_-"),
        ("persistent: {kind: other}", "kind other is that of meter"),
        ("persistent: true, replicas: 2", "runs on one host"),
        ("persistent: true, daemon: true", "runs on one host"),
        ("persistent: true, instances: warm", "use persistent.isolation"),
        ("persistent: yes", "fields: kind, durability"),
    ] {
        let found = persistent(actor).unwrap_err();
        assert!(found.iter().any(|line| line.contains(expected)), "{actor}: {found:#?}");
        assert!(found.iter().all(|line| line.contains("a.yaml:")), "{actor}: {found:#?}");
    }
}

/// Every field of every level is in the schema, and the schema has no other.
#[test]
fn the_schema_is_the_reader() {
    let schema: serde_json::Value = serde_json::from_str(schema()).unwrap();
    for (pointer, fields) in [
        ("", native::ROOT),
        ("/properties/metadata", native::METADATA),
        ("/properties/spec", native::SPEC),
        ("/$defs/actor", native::ACTOR),
        ("/$defs/warm", native::WARM),
        ("/$defs/persistent", native::PERSISTENT),
        ("/$defs/isolation", native::ISOLATION),
        ("/$defs/snapshots", native::SNAPSHOTS),
        ("/$defs/limits", native::LIMITS),
        ("/$defs/placement", native::PLACEMENT),
        ("/$defs/resources", native::RESOURCES),
        ("/$defs/spread", native::SPREAD),
        ("/$defs/rollout", native::ROLLOUT),
        ("/$defs/gate", native::GATE),
        ("/$defs/check", native::CHECK),
        ("/$defs/autoscale", native::AUTOSCALE),
        ("/$defs/link", native::LINK),
        ("/$defs/grants", native::GRANTS),
        ("/$defs/provider", native::PROVIDER),
    ] {
        let level = schema.pointer(pointer).unwrap_or_else(|| panic!("{pointer}"));
        let mut names: Vec<&str> =
            level["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut fields = fields.to_vec();
        names.sort_unstable();
        fields.sort_unstable();
        assert_eq!(names, fields, "{pointer}");
        assert_eq!(level["additionalProperties"], false, "{pointer}");
    }
    let kinds = &schema["$defs"]["provider"]["properties"]["kind"]["examples"];
    assert_eq!(*kinds, serde_json::json!(KNOWN_KINDS));
    let run = &schema["$defs"]["provider"]["properties"]["run"]["enum"];
    assert_eq!(*run, serde_json::json!(ProviderMode::WORDS.map(|(word, _)| word)));
    let persistent = &schema["$defs"]["persistent"]["properties"];
    let default = crate::Persistent::default();
    assert_eq!(
        persistent["durability"]["enum"],
        serde_json::json!(crate::Durability::WORDS.map(|(word, _)| word))
    );
    assert_eq!(persistent["replicas"]["enum"], serde_json::json!(crate::Persistent::REPLICAS));
    assert_eq!(persistent["replicas"]["default"], default.replicas);
    assert_eq!(persistent["turnMs"]["maximum"], crate::Persistent::MAX_TURN_MS);
    assert_eq!(persistent["turnMs"]["default"], default.turn_ms);
    assert_eq!(persistent["retainHours"]["default"], default.retain_hours);
    assert_eq!(persistent["retainMib"]["default"], default.retain_mib);
    assert_eq!(persistent["retainMib"]["maximum"], crate::Persistent::MAX_RETAIN_MIB);
    assert_eq!(persistent["idleSeconds"]["maximum"], crate::Persistent::MAX_IDLE_SECONDS);
    let shared = &schema["$defs"]["isolation"]["properties"]["shared"];
    assert_eq!(
        (&shared["maximum"], &shared["default"]),
        (&crate::Persistent::MAX_STATES.into(), &default.states.into())
    );
    let snapshots = &schema["$defs"]["snapshots"]["properties"];
    assert_eq!(snapshots["events"]["default"], default.snapshot_events);
    assert_eq!(snapshots["replayMs"]["maximum"], crate::Persistent::MAX_SNAPSHOT_REPLAY_MS);
    let link = &schema["$defs"]["link"]["properties"];
    assert_eq!(link["timeoutMs"]["maximum"], CallPolicy::MAX_TIMEOUT_MS);
    assert_eq!(link["timeoutMs"]["default"], CallPolicy::default().timeout_ms);
    assert_eq!(schema["$defs"]["actor"]["properties"]["replicas"]["maximum"], Scale::MAX_REPLICAS);
}
