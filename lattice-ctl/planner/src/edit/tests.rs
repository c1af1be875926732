//! Seed 004's command lines, as edits.

use super::*;
use crate::fixtures::{app, host};
use lattice_protocol::desired::Placement;
use lattice_protocol::manifest::{ActorManifest, Scale};
use lattice_protocol::spec::Artifact;
use lattice_protocol::{ActorId, CallPolicy, Grants};
use std::collections::BTreeMap;

fn known() -> BTreeSet<HostId> {
    ["NEDGE01", "NEDGE02"].map(host).into()
}

fn hosts(names: &[&str]) -> Vec<HostId> {
    names.iter().map(|name| host(name)).collect()
}

fn start(name: &str) -> StartActor {
    StartActor {
        name: name.parse().unwrap(),
        artifact: Some(("edge.wasm".into(), Artifact { digest: "sha256:aa".into(), size: 1 })),
        hosts: vec![],
        spread: false,
        max: None,
        link_name: None,
    }
}

fn start_provider_named(record: &DesiredApp, reference: &str, link_name: &str) -> DesiredApp {
    let command = StartProvider {
        reference: reference.into(),
        name: None,
        hosts: hosts(&["NEDGE01"]),
        link_name: Some(link_name.parse().unwrap()),
        config: BTreeMap::new(),
    };
    start_provider(record, &command, &known()).unwrap().record
}

fn put(target: &str, contract: &str, values: &[(&str, &str)]) -> PutLink {
    PutLink {
        actor: "edge-processor".parse().unwrap(),
        target: target.into(),
        contract: contract.parse().unwrap(),
        name: None,
        config: values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        policy: CallPolicy::default(),
        grants: Grants::default(),
        replace: false,
    }
}

/// An imperative application with `edge-processor`, as `start actor` makes it.
fn started() -> DesiredApp {
    start_actor(&app("default", vec![]), &start("edge-processor"), &known()).unwrap().record
}

/// The same with seed 004's three providers.
fn with_providers() -> DesiredApp {
    let record = start_provider_named(&started(), "wasmcloud.azurecr.io/kvredis:0.27.0", "default");
    let record = start_provider_named(&record, "wasmcloud.azurecr.io/httpserver:0.20.0", "default");
    start_provider_named(&record, "wasmcloud.azurecr.io/nats:0.18.0", "cloud-sync")
}

fn only(record: &DesiredApp) -> &ActorManifest {
    &record.application.actors[0]
}

fn refused(result: Result<Edited, Report>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn start_actor_on_named_hosts() {
    let mut command = start("edge-processor");
    command.hosts = hosts(&["NEDGE01"]);
    command.link_name = Some("edge-processor".parse().unwrap());
    let edited = start_actor(&app("default", vec![]), &command, &known()).unwrap();
    let actor = only(&edited.record);
    assert_eq!((actor.scale, &actor.placement.hosts), (Scale::Replicas(1), &command.hosts));
    assert_eq!(edited.record.artifacts[&"edge-processor".parse().unwrap()].digest, "sha256:aa");
    assert_eq!(edited.change, "start actor edge-processor");
    let again = start_actor(&edited.record, &command, &known()).unwrap();
    assert_eq!(again.record, edited.record, "twice is once");

    command.hosts = hosts(&["NEDGE01", "NEDGE02"]);
    command.spread = true;
    let spread = start_actor(&edited.record, &command, &known()).unwrap().record;
    assert_eq!(only(&spread).scale, Scale::Replicas(2));
}

#[test]
fn start_actor_refuses_what_it_does_not_know() {
    let mut command = start("edge-processor");
    command.hosts = hosts(&["NEDGE01", "NEDGE03"]);
    assert_eq!(
        refused(start_actor(&app("default", vec![]), &command, &known())),
        "E_HOST_NOT_FOUND: host not found: NEDGE03; did you mean NEDGE01? see: trellis get hosts"
    );
    let mut command = start("edge-processor");
    command.artifact = None;
    let missing = refused(start_actor(&app("default", vec![]), &command, &known()));
    assert!(missing.starts_with("E_ARTIFACT_NOT_FOUND: artifact not found: edge-processor; "), "{missing}");
    let mut command = start("edge-processor");
    command.max = Some(1_000_000_000);
    assert!(
        refused(start_actor(&app("default", vec![]), &command, &known()))
            .starts_with("E_MANIFEST: out of range")
    );
}

#[test]
fn scale_actor_over_hosts() {
    let command = ScaleActor {
        name: "edge-processor".parse().unwrap(),
        hosts: hosts(&["NEDGE01", "NEDGE02"]),
        max: Some(3),
    };
    let edited = scale_actor(&started(), &command, &known()).unwrap();
    assert_eq!(only(&edited.record).scale, Scale::Replicas(3));
    assert_eq!(only(&edited.record).placement.hosts, command.hosts);
    assert_eq!(edited.change, "scale actor edge-processor 3");
    let unknown = ScaleActor { name: "edge-procesor".parse().unwrap(), ..command };
    assert_eq!(
        refused(scale_actor(&started(), &unknown, &known())),
        "E_ACTOR_NOT_FOUND: actor not found: edge-procesor: application default; did you mean edge-processor?"
    );
}

#[test]
fn stop_actor_on_one_host_and_everywhere() {
    let mut record = started();
    record.application.actors[0].scale = Scale::Replicas(3);
    let id: ActorId = "edge-processor".parse().unwrap();
    let placement = Placement {
        actors: [(id, [(host("NEDGE01"), 2), (host("NEDGE02"), 1)].into())].into(),
        ..Placement::empty(record.application.name.clone(), 1)
    };
    let stop = |on: Option<&str>| StopActor {
        name: "edge-processor".parse().unwrap(),
        host: on.map(host),
        placement: Some(&placement),
    };
    let edited = stop_actor(&record, &stop(Some("NEDGE01")), &known()).unwrap();
    assert_eq!(only(&edited.record).scale, Scale::Replicas(1));
    assert_eq!(only(&edited.record).placement.hosts, hosts(&["NEDGE02"]));
    assert_eq!(edited.notes, ["edge-processor is now confined to NEDGE02"]);
    assert_eq!(only(&stop_actor(&record, &stop(None), &known()).unwrap().record).scale, Scale::Replicas(0));
    let missing = refused(stop_actor(&record, &stop(Some("NEDGE03")), &known()));
    assert!(missing.starts_with("E_HOST_NOT_FOUND: host not found: NEDGE03"), "{missing}");
    let again = start_actor(
        &stop_actor(&record, &stop(None), &known()).unwrap().record,
        &start("edge-processor"),
        &known(),
    );
    assert_eq!(only(&again.unwrap().record).scale, Scale::Replicas(1));
}

#[test]
fn start_provider_by_image() {
    let record = with_providers();
    let kinds: Vec<&str> =
        record.application.providers.iter().map(|provider| provider.kind.as_str()).collect();
    assert_eq!(kinds, ["keyvalue-redis", "http-server", "messaging-nats"]);
    let unknown = StartProvider {
        reference: "example.com/quantum:1".into(),
        name: None,
        hosts: vec![],
        link_name: None,
        config: BTreeMap::new(),
    };
    let words = refused(start_provider(&record, &unknown, &known()));
    assert!(words.starts_with("E_PROVIDER_START: provider start failed: image pull: "), "{words}");
    let clash = StartProvider {
        reference: "keyvalue-nats".into(),
        name: Some("keyvalue-redis".parse().unwrap()),
        ..unknown
    };
    assert!(
        refused(start_provider(&record, &clash, &known()))
            .starts_with("E_CONFLICT: provider keyvalue-redis is of another kind")
    );
}

#[test]
fn link_put_as_seed_004_writes_it() {
    let record = with_providers();
    let mut kv = put(
        "wasmcloud.azurecr.io/kvredis:0.27.0",
        "wasmcloud:keyvalue",
        &[("BUCKET", "edge-data"), ("REGION", "ap-east-1")],
    );
    kv.policy = CallPolicy { timeout_ms: 5_000, retries: 3, retry_delay_ms: 1_000, idempotent: false };
    let record = put_link(&record, &kv).unwrap().record;
    let http = put("http-server", "wasmcloud:httpserver", &[("port", "8080")]);
    let record = put_link(&record, &http).unwrap().record;
    let values = [("SUBSCRIPTION", "edge.sensor.*"), ("CLUSTER_URI", "nats://cloud-nats:4222")];
    let record = put_link(&record, &put("messaging-nats", "wasmcloud:messaging", &values)).unwrap().record;

    let links: Vec<String> = only(&record).links.iter().map(ToString::to_string).collect();
    assert_eq!(
        links,
        [
            "Link: default/edge-processor -> default/keyvalue-redis [wasmcloud:keyvalue:default]",
            "Link: default/edge-processor -> default/http-server [wasmcloud:httpserver:default]",
            "Link: default/edge-processor -> default/messaging-nats [wasmcloud:messaging:cloud-sync]",
        ]
    );
    assert_eq!(
        only(&record).links[0].config,
        crate::fixtures::labels(&[("bucket", "edge-data"), ("region", "ap-east-1")])
    );
    assert_eq!(only(&record).links[2].config, crate::fixtures::labels(&[("subscription", "edge.sensor.*")]));
    assert_eq!(record.application.providers[1].config["port"], "8080");
    assert_eq!(record.application.providers[2].config["url"], "nats://cloud-nats:4222");
    assert_eq!(put_link(&record, &http).unwrap().record, record, "twice is once");
}

#[test]
fn link_put_refuses_what_leads_nowhere() {
    let record = with_providers();
    assert_eq!(
        refused(put_link(
            &record,
            &put("VAG3QITQQ2ODAOWB5MTQ0JD6BX7T7NZ2FMX4NOOB", "wasmcloud:keyvalue", &[])
        )),
        "E_PROVIDER_NOT_FOUND: provider not found: VAG3QITQQ2ODAOWB5MTQ0JD6BX7T7NZ2FMX4NOOB; \
         not a provider key either: one has 56 characters of A-Z and 2-7, this has 40"
    );
    assert!(
        refused(put_link(&record, &put("http-server", "wasmcloud:keyvalue", &[]))).contains("does not serve")
    );
    assert!(
        refused(put_link(&record, &put("http-client", "wasmcloud:httpclient", &[])))
            .contains("provider not found")
    );
    let mut impatient = put("keyvalue-redis", "wasmcloud:keyvalue", &[]);
    impatient.policy.timeout_ms = 0;
    assert!(refused(put_link(&record, &impatient)).contains("timeoutMs (got 0"));
    let secret = put("keyvalue-redis", "wasmcloud:keyvalue", &[("PASSWORD", "hunter2")]);
    let words = refused(put_link(&record, &secret));
    assert!(words.starts_with("E_INLINE_SECRET") && !words.contains("hunter2"), "{words}");
}

#[test]
fn another_value_is_a_conflict_and_not_the_last_that_wins() {
    let record =
        put_link(&with_providers(), &put("keyvalue-redis", "wasmcloud:keyvalue", &[("bucket", "a")]))
            .unwrap()
            .record;
    let mut other = put("keyvalue-redis", "wasi:keyvalue", &[("bucket", "b")]);
    assert!(
        refused(put_link(&record, &other)).starts_with("E_CONFLICT: there is such a link with other values")
    );
    other.replace = true;
    let replaced = put_link(&record, &other).unwrap().record;
    assert_eq!(only(&replaced).links.len(), 1);
    assert_eq!(only(&replaced).links[0].config["bucket"], "b");

    let record =
        put_link(&record, &put("http-server", "wasmcloud:httpserver", &[("port", "8080")])).unwrap().record;
    let mut second = put("http-server", "wasmcloud:httpserver", &[("port", "8081")]);
    second.name = Some("other".parse().unwrap());
    assert!(
        refused(put_link(&record, &second)).starts_with("E_CONFLICT: provider http-server has another port")
    );
}

#[test]
fn links_to_actors_and_other_applications() {
    let mut record = with_providers();
    record = start_actor(&record, &start("pong"), &known()).unwrap().record;
    let target = |text: &str, contract: &str| {
        let edited = put_link(&record, &put(text, contract, &[])).unwrap();
        only(&edited.record).links[0].target.clone()
    };
    use lattice_protocol::LinkTarget::{Actor, Provider};
    assert_eq!(target("pong", "example:pong/pingpong"), Actor("default/pong".parse().unwrap()));
    assert_eq!(target("shop/pong", "example:pong/pingpong"), Actor("shop/pong".parse().unwrap()));
    assert_eq!(target("shop/kv", "wasi:keyvalue"), Provider("shop/kv".parse().unwrap()));
    assert_eq!(
        target("default/keyvalue-redis", "wasi:keyvalue"),
        Provider("default/keyvalue-redis".parse().unwrap())
    );
}

#[test]
fn link_del_and_stop_provider() {
    let record =
        put_link(&with_providers(), &put("keyvalue-redis", "wasmcloud:keyvalue", &[])).unwrap().record;
    assert!(
        refused(stop_provider(&record, "keyvalue-redis"))
            .starts_with("E_CONFLICT: provider keyvalue-redis is linked to")
    );
    let mut command = DeleteLink {
        actor: "edge-processor".parse().unwrap(),
        contract: "wasi:keyvalue".parse().unwrap(),
        name: Some("other".parse().unwrap()),
    };
    assert!(
        refused(delete_link(&record, &command))
            .starts_with("E_LINK_NOT_FOUND: link definition not found: edge-processor [wasi:keyvalue:other]")
    );
    command.name = None;
    let record = delete_link(&record, &command).unwrap().record;
    assert!(only(&record).links.is_empty());
    let record = stop_provider(&record, "kvredis").unwrap().record;
    assert_eq!(record.application.providers.len(), 2);
    assert!(
        refused(stop_provider(&record, "kvredis"))
            .starts_with("E_PROVIDER_NOT_FOUND: provider not found: kvredis")
    );
}
