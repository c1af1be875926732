//! The shapes of the API as JSON Schema (2020-12). A test holds every answer of a running server against
//! them, and the shapes of bodies against what operations take.

use lattice_protocol::ErrorCode;
use lattice_protocol::permission::PersonRole;
use serde_json::{Value, json};

/// An object of these members; the named ones must be there, and no others may.
fn object(members: &Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": members, "required": required, "additionalProperties": false })
}

/// An object that may have further members: records of which other documents say more.
fn open(members: &Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": members, "required": required })
}

fn list(of: &str) -> Value {
    json!({ "type": "array", "items": reference(of) })
}

/// A reference to one of these schemas.
pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn map_of(values: &Value) -> Value {
    json!({ "type": "object", "additionalProperties": values })
}

/// Every schema, by name.
#[must_use]
pub fn schemas() -> Value {
    let mut all = words();
    for (name, schema) in bodies().into_iter().chain(applications()).chain(lattice()) {
        all.push((name, schema));
    }
    all.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect::<serde_json::Map<_, _>>().into()
}

type Named = Vec<(&'static str, Value)>;

/// Names and numbers.
fn words() -> Named {
    let name = json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" });
    let codes: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    let roles: Vec<&str> = PersonRole::ALL.iter().map(|role| role.as_str()).collect();
    vec![
        ("Name", name),
        ("Count", json!({ "type": "integer", "minimum": 0 })),
        ("UnixMs", json!({ "type": "integer", "minimum": 0, "description": "Unix milliseconds." })),
        ("Text", json!({ "type": "string" })),
        ("Flag", json!({ "type": "boolean" })),
        ("Texts", json!({ "type": "array", "items": { "type": "string" } })),
        ("Names", list("Name")),
        ("ActorId", json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}/[A-Za-z0-9_-]{1,64}$" })),
        ("UserKey", json!({ "type": "string", "pattern": "^U[A-Z2-7]{55}$" })),
        ("Role", json!({ "type": "string", "enum": roles })),
        ("Code", json!({ "type": "string", "enum": codes })),
        (
            "Problem",
            object(
                &json!({
                    "type": reference("Text"), "title": reference("Text"), "status": reference("Count"),
                    "detail": { "type": "string", "description": "All of it in one line." },
                    "code": reference("Code"), "place": reference("Text"), "got": reference("Text"),
                    "limit": { "type": "string", "description": "What would have been accepted." },
                    "hint": { "type": "string", "description": "What to do next." },
                }),
                &["type", "title", "status", "detail", "code"],
            ),
        ),
        ("Replicas", map_of(&reference("Count"))),
        (
            "Artifact",
            object(
                &json!({ "digest": { "type": "string", "pattern": "^sha256:" }, "size": reference("Count") }),
                &["digest", "size"],
            ),
        ),
        (
            "Manifest",
            json!({
                "type": "string", "maxLength": lattice_protocol::manifest::MAX_BYTES,
                "description": "A manifest in YAML or JSON; its own schema: trellis app schema. Artifacts are named by digest.",
            }),
        ),
    ]
}

/// What requests carry.
fn bodies() -> Named {
    vec![
        ("Rollback", object(&json!({ "version": { "type": ["integer", "null"], "minimum": 0 } }), &[])),
        (
            "StartActor",
            object(
                &json!({
                    "artifact": {
                        "type": ["array", "null"], "minItems": 2, "maxItems": 2,
                        "description": "How it is named, and what was pushed; not for an actor that is in the application.",
                        "prefixItems": [reference("Text"), reference("Artifact")],
                    },
                    "hosts": reference("Names"), "spread": reference("Flag"),
                    "max": { "type": ["integer", "null"], "minimum": 0 }, "linkName": { "type": ["string", "null"] },
                }),
                &[],
            ),
        ),
        (
            "ScaleActor",
            object(
                &json!({ "hosts": reference("Names"), "max": { "type": ["integer", "null"], "minimum": 0 } }),
                &[],
            ),
        ),
        ("StopActor", object(&json!({ "host": { "type": ["string", "null"] } }), &[])),
        (
            "StartProvider",
            object(
                &json!({
                    "reference": { "type": "string", "description": "Kind, or image." },
                    "name": { "type": ["string", "null"] }, "hosts": reference("Names"),
                    "linkName": { "type": ["string", "null"] }, "config": map_of(&reference("Text")),
                }),
                &["reference"],
            ),
        ),
        ("StopProvider", object(&json!({ "reference": reference("Text") }), &["reference"])),
        (
            "PutLink",
            object(
                &json!({
                    "actor": reference("Name"), "target": reference("Text"), "contract": reference("Text"),
                    "name": { "type": ["string", "null"] }, "config": map_of(&reference("Text")),
                    "policy": { "type": "object" }, "grants": { "type": "object" },
                    "replace": reference("Flag"),
                }),
                &["actor", "target", "contract"],
            ),
        ),
        (
            "PutUser",
            object(&json!({ "name": reference("Name"), "role": reference("Role") }), &["name", "role"]),
        ),
    ]
}

/// Applications and their actors.
fn applications() -> Named {
    let version = json!({
        "version": reference("Count"), "atUnixMs": reference("UnixMs"), "by": reference("Text"),
        "change": reference("Text"), "kept": { "type": "boolean", "description": "It can come back." },
    });
    let summary = json!({
        "name": reference("Name"), "version": reference("Count"),
        "state": { "enum": ["running", "failed", "degraded", "waiting", "stopping", "undeployed"] },
        "deployed": reference("Flag"), "running": reference("Count"), "wanted": reference("Count"),
        "atUnixMs": reference("UnixMs"), "by": reference("Text"), "description": reference("Text"),
    });
    let summary_names =
        ["name", "version", "state", "deployed", "running", "wanted", "atUnixMs", "by", "description"];
    let view = json!({
        "id": reference("ActorId"), "wanted": reference("Count"), "running": reference("Count"),
        "state": { "enum": ["running", "degraded", "partial", "waiting", "failed", "stopping", "stopped"] },
        "hosts": reference("Replicas"), "version": reference("Text"), "subject": reference("Text"),
        "calls": reference("Count"), "errors": reference("Count"), "reason": reference("Text"),
        "unplaced": reference("Flag"),
    });
    let desired = json!({
        "version": reference("Count"), "deployed": reference("Flag"), "application": { "type": "object" },
        "artifacts": map_of(&reference("Artifact")), "atUnixMs": reference("UnixMs"),
        "by": reference("Text"), "history": { "type": "array", "items": { "type": "object" } },
    });
    let step = json!({
        "action": reference("Text"), "actor": reference("Text"), "host": reference("Text"),
        "replicas": reference("Count"), "why": reference("Text"), "text": reference("Text"),
    });
    let considered = json!({
        "host": reference("Name"), "replicas": reference("Count"), "fit": reference("Flag"),
        "why": reference("Text"),
    });
    let changed = json!({
        "app": reference("Name"), "version": reference("Count"), "deployed": reference("Flag"),
        "changed": reference("Flag"), "notes": reference("Texts"),
    });
    vec![
        ("AppSummary", object(&summary, &summary_names)),
        ("AppSummaries", list("AppSummary")),
        (
            "DesiredApp",
            open(&desired, &["version", "deployed", "application", "artifacts", "atUnixMs", "by", "history"]),
        ),
        ("Changed", object(&changed, &["app", "version", "deployed", "changed", "notes"])),
        (
            "Deleted",
            object(
                &json!({ "app": reference("Name"), "deleted": reference("Flag"), "notes": reference("Texts") }),
                &["app", "deleted", "notes"],
            ),
        ),
        ("Version", object(&version, &["version", "atUnixMs", "by", "change", "kept"])),
        ("History", list("Version")),
        (
            "ActorView",
            object(&view, &["id", "wanted", "running", "state", "hosts", "calls", "errors", "unplaced"]),
        ),
        ("ActorViews", list("ActorView")),
        (
            "AppStatus",
            object(
                &json!({
                    "app": reference("Name"), "version": reference("Count"), "deployed": reference("Flag"),
                    "state": reference("Text"), "actors": reference("ActorViews"),
                    "rollout": { "type": ["string", "null"] },
                }),
                &["app", "version", "deployed", "state", "actors", "rollout"],
            ),
        ),
        (
            "Placement",
            open(
                &json!({
                    "app": reference("Name"), "desiredVersion": reference("Count"),
                    "actors": map_of(&reference("Replicas")), "unplaced": map_of(&reference("Text")),
                }),
                &["app", "desiredVersion", "actors", "unplaced"],
            ),
        ),
        ("Step", object(&step, &["action", "actor", "host", "replicas", "why", "text"])),
        ("Plan", object(&json!({ "app": reference("Name"), "steps": list("Step") }), &["app", "steps"])),
        ("Considered", object(&considered, &["host", "replicas", "fit", "why"])),
        (
            "Why",
            object(
                &json!({
                    "actor": reference("ActorId"), "unplaced": { "type": ["string", "null"] },
                    "hosts": list("Considered"),
                }),
                &["actor", "unplaced", "hosts"],
            ),
        ),
        (
            "Link",
            open(
                &json!({
                    "source": reference("ActorId"), "name": reference("Name"), "interface": reference("Text"),
                    "target": { "type": "object" }, "config": map_of(&reference("Text")),
                }),
                &["source", "name", "interface", "target"],
            ),
        ),
        ("Links", list("Link")),
    ]
}

/// Hosts, users, events.
fn lattice() -> Named {
    let heartbeat = json!({
        "lattice": reference("Name"), "host": reference("Name"), "bootId": reference("Text"),
        "seq": reference("Count"), "intervalMs": reference("Count"), "version": reference("Text"),
        "arch": reference("Text"), "labels": map_of(&reference("Text")),
        "generation": object(
            &json!({ "incarnation": reference("Count"), "n": reference("Count") }),
            &["incarnation", "n"],
        ),
        "actors": { "type": "array", "items": { "type": "object" } },
        "providers": { "type": "array", "items": { "type": "object" } }, "load": { "type": "object" },
        "latencyMs": reference("Replicas"), "codeFor": reference("Text"),
    });
    let verdicts = json!({ "enum": ["alive", "suspect", "lost", "leaving", "cut-off", "rejoined"] });
    let host = json!({
        "host": reference("Name"), "health": { "enum": ["HEALTHY", "DEGRADED", "UNHEALTHY"] },
        "verdict": verdicts, "answered": reference("Flag"), "observed": reference("Flag"),
        "reason": reference("Text"), "heartbeat": reference("Heartbeat"),
    });
    let event = json!({
        "specversion": { "const": "1.0" }, "id": reference("Text"), "source": reference("Text"),
        "type": { "type": "string", "pattern": "^dev\\.trellis\\." }, "time": reference("Text"),
        "datacontenttype": { "const": "application/json" }, "subject": reference("Text"), "data": {},
    });
    let user = json!({
        "key": reference("UserKey"), "name": reference("Name"), "role": reference("Role"),
        "by": reference("Text"), "atUnixMs": reference("UnixMs"),
    });
    vec![
        (
            "Lattice",
            object(
                &json!({
                    "lattice": reference("Name"), "version": reference("Text"), "controller": reference("Text"),
                    "user": reference("Text"), "role": reference("Role"),
                }),
                &["lattice", "version", "controller", "user", "role"],
            ),
        ),
        (
            "Heartbeat",
            open(&heartbeat, &["lattice", "host", "bootId", "seq", "generation", "actors", "load"]),
        ),
        ("Host", object(&host, &["host", "health", "verdict", "answered", "observed", "heartbeat"])),
        ("Hosts", list("Host")),
        (
            "HostStopped",
            object(
                &json!({ "host": reference("Name"), "leaving": reference("Flag"), "notes": reference("Texts") }),
                &["host", "leaving", "notes"],
            ),
        ),
        (
            "Claim",
            object(
                &json!({ "actor": reference("ActorId"), "digest": reference("Text"), "claims": { "type": "object" } }),
                &["actor", "digest", "claims"],
            ),
        ),
        ("Claims", list("Claim")),
        (
            "Event",
            object(&event, &["specversion", "id", "source", "type", "time", "datacontenttype", "data"]),
        ),
        ("Events", list("Event")),
        (
            "EventStream",
            json!({
                "type": "string",
                "description": "Server-sent events: `cloudevent` (with an id, for Last-Event-ID), `desired`, `placement`, `host` ({key, value}; value null = gone) and `current` (all records have been told).",
            }),
        ),
        ("User", object(&user, &["key", "name", "role", "by", "atUnixMs"])),
        ("Users", list("User")),
        (
            "UserDeleted",
            object(
                &json!({ "key": reference("UserKey"), "name": reference("Name"), "deleted": reference("Flag") }),
                &["key", "name", "deleted"],
            ),
        ),
    ]
}
