//! The OpenAPI 3.1 document, made of the table of operations and the schemas. `docs/openapi.json` is
//! this text; a test keeps it so.

use super::operation::{Body, Kind, OPERATIONS, Operation, Query};
use super::schema::{reference, schemas};
use serde_json::{Map, Value, json};
use std::sync::OnceLock;

/// Every status with which a problem may come.
const PROBLEMS: [(&str, &str); 11] = [
    ("400", "The request is not what the operation takes."),
    ("401", "No token, or none that holds for this request."),
    ("403", "The role may not, or nothing grants it."),
    ("404", "There is no such thing."),
    ("408", "The body did not come in time."),
    ("409", "Somebody else was first, or there is no room."),
    ("413", "Larger than the limit."),
    ("415", "Another content type."),
    ("500", "A defect, or the store failed."),
    ("503", "Too much at once, or the lattice cannot be reached."),
    ("504", "Not done in time; a change may have been made."),
];

/// The document, as `docs/openapi.json` has it.
#[must_use]
pub fn text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        // JSON from JSON: serialising cannot fail.
        let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
        text.push('\n');
        text
    })
}

/// The document.
#[must_use]
pub fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(operation.method.to_ascii_lowercase(), describe(operation));
        }
    }
    let mut responses: Map<String, Value> = Map::new();
    for (status, text) in PROBLEMS {
        let content = json!({ "application/problem+json": { "schema": reference("Problem") } });
        responses.insert(format!("Problem{status}"), json!({ "description": text, "content": content }));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Trellis controller API", "version": "1",
            "description": "Applications, hosts and events of one lattice. The same operations are served over NATS: subject trellis.<lattice>.api.<role>.<user>.<operation id>, body: one JSON object of all parameters.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "http://127.0.0.1:7070", "description": "trellis controller --api 127.0.0.1:7070" }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas(), "responses": responses,
            "securitySchemes": { "token": {
                "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                "description": "Signed by a user's nkey over lattice, method, target and body; good for a minute, a change's for one use: trellis user token <method> <path>.",
            } },
        },
    })
}

fn describe(operation: &Operation) -> Value {
    let path = operation
        .members()
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": member(name) }));
    let query = operation.query.iter().map(parameter);
    let last = operation.stream.then(|| {
        json!({ "name": "Last-Event-ID", "in": "header", "required": false, "schema": reference("Count"),
                "description": "Events go on behind this one." })
    });
    let parameters: Vec<Value> = path.chain(query).chain(last).collect();
    let media = if operation.stream { "text/event-stream" } else { "application/json" };
    let mut responses: Map<String, Value> = Map::new();
    let content = json!({ media: { "schema": reference(operation.answer) } });
    responses.insert("200".to_owned(), json!({ "description": "Done.", "content": content }));
    for (status, _) in PROBLEMS {
        let reference = format!("#/components/responses/Problem{status}");
        responses.insert(status.to_owned(), json!({ "$ref": reference }));
    }
    let mut described = json!({
        "operationId": operation.name, "summary": operation.summary, "responses": responses,
        "x-trellis-role": operation.role.as_str(),
    });
    if let Some(fields) = described.as_object_mut() {
        if !parameters.is_empty() {
            fields.insert("parameters".to_owned(), parameters.into());
        }
        if let Some(body) = body(operation) {
            fields.insert("requestBody".to_owned(), body);
        }
    }
    described
}

/// A member of a path: an application, an actor or a host by name, a user by key.
fn member(name: &str) -> Value {
    reference(if name == "key" { "UserKey" } else { "Name" })
}

fn parameter(query: &Query) -> Value {
    let schema = match query.kind {
        Kind::Text => "Text",
        Kind::Number => "Count",
        Kind::Flag => "Flag",
    };
    json!({
        "name": query.name, "in": "query", "required": query.required, "description": query.text,
        "schema": reference(schema),
    })
}

fn body(operation: &Operation) -> Option<Value> {
    match operation.body {
        Body::None => None,
        Body::Json(schema) => {
            let content = json!({ "application/json": { "schema": reference(schema) } });
            Some(json!({ "required": false, "content": content }))
        }
        Body::Manifest { optional } => {
            let manifest = || json!({ "schema": reference("Manifest") });
            // As JSON a manifest is an object; its own schema is published apart.
            let json = json!({ "schema": { "type": "object" } });
            let content = json!({ "application/yaml": manifest(), "application/json": json });
            Some(json!({ "required": !optional, "content": content }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// With `BLESS=1` the file is written.
    #[test]
    fn the_file_is_this_document() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, text()).unwrap();
        }
        let have = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            have == text(),
            "docs/openapi.json is not what the table says: BLESS=1 cargo test -p lattice-ctl-controller"
        );
    }

    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(to)) = fields.get("$ref") {
                    found.insert(to.clone());
                }
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_schema_is_used() {
        let document = document();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for to in &found {
            let pointer = to.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{to}");
        }
        for name in document["components"]["schemas"].as_object().unwrap().keys() {
            assert!(found.contains(&format!("#/components/schemas/{name}")), "{name} is used nowhere");
        }
    }
}
