//! wasmCloud's manifests, in the newer and the older form.

use crate::link::{LinkDefinition, LinkTarget};
use crate::manifest::{Application, Scale, parse};

const HELLO: &str = r#"
apiVersion: core.oam.dev/v1beta1
kind: Application
metadata:
  name: hello-http
  annotations:
    version: v0.1.0
    description: "Answers every request with a greeting"
    wasmcloud.dev/authors: someone
  labels:
    app.oam.io/category: http
spec:
  components:
    - name: hello
      type: component
      properties:
        image: ghcr.io/acme/components/hello:0.1.0
      traits:
        - type: spreadscaler
          properties:
            instances: 5
            spread:
              - name: eastcoast
                requirements:
                  zone: us-east-1
              - name: westcoast
                requirements: { zone: us-west-1 }
                weight: 30
    - name: httpserver
      type: capability
      properties:
        image: ghcr.io/wasmcloud/http-server:0.23.2
      traits:
        - type: link
          properties:
            target: hello
            namespace: wasi
            package: http
            interfaces: [incoming-handler]
            source_config:
              - name: default-http
                properties:
                  address: 127.0.0.1:8080
"#;

const COUNTER: &str = r#"
apiVersion: core.oam.dev/v1beta1
kind: Application
metadata:
  name: counter
spec:
  policies:
    - name: vault
      type: policy.secret.wasmcloud.dev/v1alpha1
      properties: { backend: vault }
  components:
    - name: counter
      type: actor
      properties:
        image: file:///srv/counter.wasm
        config:
          - name: first
            properties: { greeting: hello, step: 1 }
          - name: second
            properties: { step: 2 }
        secrets:
          - name: api
            properties: { policy: vault, key: k }
      traits:
        - type: daemonscaler
          properties: { replicas: 10 }
        - type: link
          properties:
            target:
              name: redis
              config:
                - name: redis-url
                  properties: { url: "redis://127.0.0.1:6379" }
              secrets:
                - name: redis-password
                  properties: { policy: vault, key: p }
            namespace: wasi
            package: keyvalue
            interfaces: [atomics, store]
        - type: link
          properties:
            target: helper
            name: main
            namespace: example
            package: pong
            interfaces: [pingpong]
    - name: helper
      type: component
      properties: { image: oci://ghcr.io/acme/helper:1 }
    - name: redis
      type: capability
      properties: { image: ghcr.io/wasmcloud/keyvalue-redis:0.28.1 }
    - name: http
      type: capability
      properties:
        image: ghcr.io/wasmcloud/http-server:0.23.2
        config:
          - name: listen
            properties: { default_address: "[::1]:8000" }
      traits:
        - type: spreadscaler
          properties: { instances: 1 }
        - type: link
          properties:
            target: { name: counter }
            namespace: wasi
            package: http
            interfaces: [incoming-handler]
            source:
              config:
                - name: route
                  properties: { path: /count }
    - name: nats
      type: capability
      properties: { image: ghcr.io/wasmcloud/messaging-nats:0.23.0 }
      traits:
        - type: link
          properties:
            target: counter
            namespace: wasmcloud
            package: messaging
            interfaces: [handler]
            source_config:
              - name: subjects
                properties: { subscriptions: "acme.count,acme.reset", cluster_uris: "nats://far:4222" }
"#;

fn read(text: &str) -> Application {
    parse(text, "wadm.yaml").unwrap_or_else(|reports| panic!("{reports:#?}"))
}

fn lines(text: &str) -> Vec<String> {
    parse(text, "wadm.yaml").unwrap_err().iter().map(ToString::to_string).collect()
}

fn link<'l>(app: &'l Application, interface: &str) -> &'l LinkDefinition {
    let links = app.actors.iter().flat_map(|actor| &actor.links);
    links
        .into_iter()
        .find(|link| link.interface.to_string() == interface)
        .unwrap_or_else(|| panic!("{interface}"))
}

#[test]
fn http_hello_is_read() {
    let app = read(HELLO);
    assert_eq!(
        (app.version.as_str(), app.description.as_str()),
        ("v0.1.0", "Answers every request with a greeting")
    );
    let hello = &app.actors[0];
    assert_eq!(hello.artifact, "oci://ghcr.io/acme/components/hello:0.1.0");
    assert_eq!(hello.scale, Scale::Replicas(5));
    let weights: Vec<_> = hello.placement.spread.iter().map(|share| share.weight).collect();
    assert_eq!(weights, [100, 30]);
    // The provider calls the actor; the link says so from the actor's side.
    let link = link(&app, "wasi:http/incoming-handler");
    assert_eq!(
        link.to_string(),
        "Link: hello-http/hello -> hello-http/httpserver [wasi:http/incoming-handler:default]"
    );
    assert!(link.config.is_empty());
    let server = &app.providers[0];
    assert_eq!(server.kind, "http-server");
    assert_eq!((server.config["address"].as_str(), server.config["port"].as_str()), ("127.0.0.1", "8080"));
}

#[test]
fn http_keyvalue_counter_is_read() {
    let app = read(COUNTER);
    let counter = app.actor(&"counter".parse().unwrap()).unwrap();
    assert_eq!(counter.artifact, "file:///srv/counter.wasm");
    assert_eq!(counter.scale, Scale::Daemon);
    let config: Vec<_> = counter.config.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(config, ["api=secret:api", "greeting=hello", "step=2"]);
    for interface in ["wasi:keyvalue/atomics", "wasi:keyvalue/store"] {
        let link = link(&app, interface);
        assert_eq!(link.target, LinkTarget::Provider("counter/redis".parse().unwrap()));
        assert_eq!(link.config["redis-password"], "secret:redis-password");
        assert!(!link.config.contains_key("url"));
    }
    assert_eq!(app.provider(&"redis".parse().unwrap()).unwrap().config["url"], "redis://127.0.0.1:6379");
    let pong = link(&app, "example:pong/pingpong");
    assert_eq!(
        (pong.name.as_str(), &pong.target),
        ("main", &LinkTarget::Actor("counter/helper".parse().unwrap()))
    );
    let http = app.provider(&"http".parse().unwrap()).unwrap();
    assert_eq!((http.config["address"].as_str(), http.config["port"].as_str()), ("::1", "8000"));
    assert_eq!(link(&app, "wasi:http/incoming-handler").config["path"], "/count");
    let messages = link(&app, "wasmcloud:messaging/handler");
    assert_eq!(
        messages.config.iter().collect::<Vec<_>>(),
        [(&"subscription".to_owned(), &"acme.count,acme.reset".to_owned())]
    );
    assert_eq!(app.provider(&"nats".parse().unwrap()).unwrap().config["url"], "nats://far:4222");
}

#[test]
fn what_has_no_counterpart_is_refused_by_name() {
    let unknown = HELLO.replace("http-server:0.23.2", "lattice-spy:1");
    assert_eq!(
        lines(&unknown),
        [
            "E_PROVIDER_NOT_FOUND: provider not found: ghcr.io/wasmcloud/lattice-spy:1: wadm.yaml:32:16: spec.components[1].properties.image; images with a built-in counterpart: http-server, httpserver, http-client, httpclient, keyvalue-redis, kvredis, keyvalue-nats, messaging-nats, nats, nats_messaging, blobstore-fs"
        ]
    );
    let shared = HELLO.replace(
        "image: ghcr.io/wasmcloud/http-server:0.23.2",
        "application: { name: base, component: http }",
    );
    assert!(lines(&shared)[0].starts_with("E_MANIFEST: a component of another application: wadm.yaml:32:"));
    let misspelt = HELLO.replace("type: spreadscaler", "type: spreadscalar");
    assert!(
        lines(&misspelt)[0].contains("expected spreadscaler or daemonscaler or link"),
        "{:?}",
        lines(&misspelt)
    );
}

#[test]
fn two_addresses_of_one_server_are_a_contradiction() {
    let two = format!(
        "{HELLO}{}",
        r#"        - type: link
          properties:
            target: hello
            name: second
            namespace: wasi
            package: http
            interfaces: [incoming-handler]
            source_config:
              - name: other
                properties:
                  address: 127.0.0.1:9090
"#
    );
    let found = lines(&two);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("a provider cannot have two values of port"), "{found:#?}");
    assert!(found[0].contains("(got 9090, expected 8080)"), "{found:#?}");
}

#[test]
fn a_link_to_nowhere_is_reported_once() {
    let lost = HELLO.replace("target: hello", "target: helo");
    assert_eq!(
        lines(&lost),
        [
            "E_LINK_NOT_FOUND: link definition not found: no actor or provider named \"helo\": wadm.yaml:36:21: spec.components[1].traits[0].properties.target; did you mean \"hello\"?"
        ]
    );
}
