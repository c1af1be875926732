//! Every operation is called, over both ways, and every answer is held against the document.

use crate::lab::{Answer, Lab, key};
use crate::schema::problems;
use lattice_ctl_controller::api::openapi::document;
use lattice_ctl_controller::api::operation::{Body, OPERATIONS, Operation};
use lattice_protocol::permission::PersonRole::{self, Admin};
use serde_json::{Map, Value, json};

/// What is asked of an operation: members of its path, its query, its body.
fn example(lab: &Lab, operation: &Operation) -> (Vec<(&'static str, String)>, &'static str, Value) {
    let named = |name: &'static str, value: &str| (name, value.to_owned());
    let shop = named("app", "shop");
    let web = || vec![named("app", "shop"), named("name", "web")];
    let manifest = || Value::from(lab.manifest("shop"));
    match operation.name {
        "app.put" => (vec![shop], "deploy=true", manifest()),
        "app.plan" => (vec![shop], "", manifest()),
        "app.rollback" => (vec![shop], "", json!({ "version": 1 })),
        "actor.scale" => (web(), "", json!({ "max": 2, "hosts": ["H1"] })),
        "actor.start" => (web(), "", json!({ "max": 1 })),
        "actor.stop" => (web(), "", json!({})),
        "actor.why" => (web(), "", Value::Null),
        "provider.start" => (vec![shop], "", json!({ "reference": "keyvalue-embedded", "name": "more" })),
        "provider.stop" => (vec![shop], "", json!({ "reference": "more" })),
        "link.put" => {
            let link = json!({ "actor": "web", "target": "data", "contract": "wasi:keyvalue", "name": "kv" });
            (vec![shop], "", link)
        }
        "link.delete" => (vec![shop], "actor=web&contract=wasi%3Akeyvalue&name=kv", Value::Null),
        "host.get" | "host.stop" => (vec![named("host", "H1")], "", Value::Null),
        "event.list" => (Vec::new(), "limit=5&kind=admin", Value::Null),
        "user.put" => {
            let new = keys::KeyPair::from_entropy(keys::KeyKind::User, [77; 32]).public();
            (vec![named("key", new.as_str())], "", json!({ "name": "bob", "role": "viewer" }))
        }
        "user.delete" => (vec![named("key", key(PersonRole::Viewer).public().as_str())], "", Value::Null),
        _ if operation.path.contains("{app}") => (vec![shop], "", Value::Null),
        _ => (Vec::new(), "", Value::Null),
    }
}

async fn over_http(lab: &Lab, operation: &Operation) -> Answer {
    let (members, query, body) = example(lab, operation);
    let mut target = operation.path.to_owned();
    for (name, value) in &members {
        target = target.replace(&format!("{{{name}}}"), value);
    }
    if !query.is_empty() {
        target = format!("{target}?{query}");
    }
    let (media, bytes) = match (operation.body, &body) {
        (Body::Manifest { .. }, Value::String(text)) => ("application/yaml", text.clone().into_bytes()),
        (Body::Json(_), body) => ("application/json", serde_json::to_vec(body).unwrap()),
        _ => ("", Vec::new()),
    };
    lab.http(Admin, (operation.method, &target), media, &bytes).await
}

/// The same as one object, for the bus.
fn input(lab: &Lab, operation: &Operation) -> Value {
    let (members, query, body) = example(lab, operation);
    let mut input: Map<String, Value> =
        members.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let typed = match value {
            "true" => true.into(),
            number if number.parse::<u64>().is_ok() => number.parse::<u64>().unwrap().into(),
            text => text.replace("%3A", ":").into(),
        };
        input.insert(name.to_owned(), typed);
    }
    match body {
        Value::String(text) => drop(input.insert("manifest".to_owned(), text.into())),
        Value::Object(fields) => input.extend(fields),
        _ => {}
    }
    input.into()
}

fn schema_of(document: &Value, operation: &Operation) -> Value {
    let path = operation.path.replace('~', "~0").replace('/', "~1");
    let pointer = format!(
        "/paths/{path}/{}/responses/200/content/application~1json/schema",
        operation.method.to_ascii_lowercase()
    );
    document.pointer(&pointer).unwrap_or_else(|| panic!("{pointer}")).clone()
}

/// An order in which each finds what it needs, and what nothing can follow comes last.
fn in_order() -> Vec<&'static Operation> {
    let order = |operation: &&Operation| match operation.name {
        "app.put" => 0,
        "provider.start" | "link.put" => 1,
        "link.delete" | "provider.stop" => 3,
        "app.rollback" | "app.pause" | "app.resume" | "app.finalise" => 4,
        "app.undeploy" => 5,
        "app.deploy" => 6,
        "user.delete" | "app.delete" | "host.stop" => 9,
        _ => 2,
    };
    let mut all: Vec<&Operation> = OPERATIONS.iter().filter(|operation| !operation.stream).collect();
    all.sort_by_key(order);
    all
}

/// Orders about a rollout need one; here there is none, and they say so.
fn is_refused(operation: &Operation) -> bool {
    matches!(operation.name, "app.pause" | "app.resume" | "app.finalise")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_answers_over_http_as_the_document_says() {
    let (lab, document) = (Lab::start().await, document());
    lab.put("shop").await;
    lab.decided("shop").await;
    let problem = json!({ "$ref": "#/components/schemas/Problem" });
    for operation in in_order() {
        let answer = over_http(&lab, operation).await;
        let (status, media, schema) = if is_refused(operation) {
            (409, "application/problem+json", problem.clone())
        } else {
            (200, "application/json", schema_of(&document, operation))
        };
        assert_eq!(answer.status, status, "{}: {answer:?}", operation.name);
        assert_eq!(answer.header("content-type"), Some(media), "{}", operation.name);
        let wrong = problems(&document, &schema, &answer.json());
        assert!(wrong.is_empty(), "{}: {wrong:#?} in {}", operation.name, answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_answers_over_the_bus_as_the_document_says() {
    let (lab, document) = (Lab::start().await, document());
    lab.put("shop").await;
    lab.decided("shop").await;
    for operation in in_order() {
        let answer = lab.ask(("admin", "root"), operation.name, &input(&lab, operation)).await;
        if is_refused(operation) {
            assert_eq!(answer.unwrap_err().code.as_str(), "E_ROLLOUT", "{}", operation.name);
            continue;
        }
        let answer = answer.unwrap_or_else(|report| panic!("{}: {report}", operation.name));
        let wrong = problems(&document, &schema_of(&document, operation), &answer);
        assert!(wrong.is_empty(), "{}: {wrong:#?} in {answer}", operation.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bodies_that_the_document_describes_are_those_that_are_taken() {
    let (lab, document) = (Lab::start().await, document());
    for operation in OPERATIONS {
        let Body::Json(name) = operation.body else { continue };
        let (_, _, body) = example(&lab, operation);
        let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
        let wrong = problems(&document, &schema, &body);
        assert!(wrong.is_empty(), "{name}: {wrong:#?}");
        // A member that the document does not know is refused by the server too, by name.
        let mut input = input(&lab, operation);
        input.as_object_mut().unwrap().insert("surprise".to_owned(), 1.into());
        let refused = lab.ask(("admin", "root"), operation.name, &input).await.unwrap_err();
        assert!(refused.what.contains("surprise"), "{}: {refused}", operation.name);
        // And every member that it knows is read: a wrong type is refused.
        let members = document["components"]["schemas"][name]["properties"].as_object().unwrap();
        for member in members.keys() {
            let mut input = self::input(&lab, operation);
            input.as_object_mut().unwrap().insert(member.clone(), json!({ "no": ["such"] }));
            let refused = lab.ask(("admin", "root"), operation.name, &input).await;
            let is_free = matches!(members[member]["type"].as_str(), Some("object"));
            assert!(is_free || refused.is_err(), "{}: {member} is not read", operation.name);
        }
    }
}

#[tokio::test]
async fn the_server_gives_the_document_without_a_token() {
    let lab = Lab::start().await;
    let answer = lab.send(("GET", "/v1/openapi.json"), &[], b"").await;
    assert_eq!((answer.status, answer.json()), (200, document()));
    assert_eq!(lab.send(("GET", "/healthz"), &[], b"").await.status, 200);
}
