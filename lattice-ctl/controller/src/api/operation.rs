//! The table of operations. A route, its role, its parameters and its shapes are said here once; the
//! servers, the OpenAPI document, the command line and the tests all read this.

use lattice_ctl_planner::edit::Change;
use lattice_protocol::permission::PersonRole::{self, Admin, Deployer, Viewer};
use lattice_protocol::{AppName, ErrorCode, Report};
use serde_json::{Map, Value};

/// What the body of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    None,
    /// A JSON object of this schema; its members are the operation's.
    Json(&'static str),
    /// A manifest in YAML or JSON; over NATS the member `manifest`.
    Manifest {
        /// May it be left out?
        optional: bool,
    },
}

/// What a parameter of a query is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Flag,
}

/// A parameter of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Must it be given?
    pub required: bool,
    /// What it means.
    pub text: &'static str,
}

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Its name, a token over NATS: `app.list`.
    pub name: &'static str,
    /// Its method.
    pub method: &'static str,
    /// Its path, with `{members}`.
    pub path: &'static str,
    /// The least role that may.
    pub role: PersonRole,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// What its query may hold.
    pub query: &'static [Query],
    /// Its body.
    pub body: Body,
    /// The schema of its answer.
    pub answer: &'static str,
    /// The tag of the [`Change`] that it makes, if it is one of those.
    pub change: Option<&'static str>,
    /// Is it a stream of events, which only HTTP serves?
    pub stream: bool,
}

const fn look(
    name: &'static str,
    path: &'static str,
    answer: &'static str,
    summary: &'static str,
) -> Operation {
    Operation {
        name,
        method: "GET",
        path,
        role: Viewer,
        summary,
        query: &[],
        body: Body::None,
        answer,
        change: None,
        stream: false,
    }
}

const fn edit(
    name: &'static str,
    path: &'static str,
    change: &'static str,
    summary: &'static str,
) -> Operation {
    let (body, query) = (Body::None, EXPECT);
    let (method, role, answer) = ("POST", Deployer, "Changed");
    let change = Some(change);
    Operation { name, method, path, role, summary, query, body, answer, change, stream: false }
}

const fn query(name: &'static str, kind: Kind, text: &'static str) -> Query {
    Query { name, kind, required: false, text }
}

const EVENTS: &[Query] = &[
    query("since", Kind::Number, "Only what happened then or later, Unix milliseconds."),
    query("limit", Kind::Number, "Only the last so many, at most 1000; 100 if it is not said."),
    query("kind", Kind::Text, "Only kinds that begin so: `host`, `actor.failed`, `admin`."),
    query("about", Kind::Text, "Only about this: a host, an actor, an application."),
];
/// Only if nobody else has changed it: what makes it safe to send a change again.
const EXPECTED: Query =
    query("expect", Kind::Number, "Only if the application is at this version still; 0: if there is none.");
const EXPECT: &[Query] = &[EXPECTED];
const DEPLOY: &[Query] =
    &[EXPECTED, query("deploy", Kind::Flag, "Run it; otherwise it runs if it did before.")];
const WHICH_LINK: &[Query] = &[
    EXPECTED,
    Query { name: "actor", kind: Kind::Text, required: true, text: "The actor." },
    Query { name: "contract", kind: Kind::Text, required: true, text: "Interface, package or contract id." },
    query("name", Kind::Text, "The link's name; otherwise the only one, otherwise `default`."),
];

/// Every operation.
pub const OPERATIONS: &[Operation] = &[
    look("lattice.get", "/v1/lattice", "Lattice", "Say which lattice this is, and who asks in which role."),
    look("app.list", "/v1/apps", "AppSummaries", "List applications and how they run."),
    look("app.get", "/v1/apps/{app}", "DesiredApp", "Give an application as it is stored."),
    Operation {
        method: "PUT",
        query: DEPLOY,
        body: Body::Manifest { optional: false },
        ..edit(
            "app.put",
            "/v1/apps/{app}",
            "put",
            "Store an application. Components are in the lattice and named by digest.",
        )
    },
    Operation {
        method: "DELETE",
        change: None,
        answer: "Deleted",
        ..edit("app.delete", "/v1/apps/{app}", "delete", "Stop and forget an application.")
    },
    edit("app.deploy", "/v1/apps/{app}/deploy", "deploy", "Run a stored application."),
    edit("app.undeploy", "/v1/apps/{app}/undeploy", "undeploy", "Stop an application; it stays stored."),
    Operation {
        body: Body::Json("Rollback"),
        ..edit("app.rollback", "/v1/apps/{app}/rollback", "rollback", "Go back to an earlier version.")
    },
    edit("app.pause", "/v1/apps/{app}/rollout/pause", "pause", "Stop a rollout where it is."),
    edit(
        "app.resume",
        "/v1/apps/{app}/rollout/resume",
        "resume",
        "Go on with a rollout, or try again what was rolled back.",
    ),
    edit(
        "app.finalise",
        "/v1/apps/{app}/rollout/finalise",
        "finalise",
        "Say that a complete rollout is final.",
    ),
    look("app.history", "/v1/apps/{app}/history", "History", "List an application's versions."),
    look("app.status", "/v1/apps/{app}/status", "AppStatus", "Say how an application runs."),
    look("app.placement", "/v1/apps/{app}/placement", "Placement", "Give the decision in force."),
    Operation {
        method: "POST",
        body: Body::Manifest { optional: true },
        ..look(
            "app.plan",
            "/v1/apps/{app}/plan",
            "Plan",
            "Say what deploying would start, stop and move, and why; change nothing.",
        )
    },
    look("actor.list", "/v1/actors", "ActorViews", "List the actors of all applications."),
    look(
        "actor.why",
        "/v1/apps/{app}/actors/{name}/why",
        "Why",
        "Say where an actor runs, and what speaks for and against each host.",
    ),
    Operation {
        body: Body::Json("StartActor"),
        ..edit("actor.start", "/v1/apps/{app}/actors/{name}/start", "start-actor", "Start an actor.")
    },
    Operation {
        body: Body::Json("ScaleActor"),
        ..edit(
            "actor.scale",
            "/v1/apps/{app}/actors/{name}/scale",
            "scale-actor",
            "Change how many of an actor run, and where.",
        )
    },
    Operation {
        body: Body::Json("StopActor"),
        ..edit(
            "actor.stop",
            "/v1/apps/{app}/actors/{name}/stop",
            "stop-actor",
            "Stop an actor, everywhere or on one host.",
        )
    },
    Operation {
        body: Body::Json("StartProvider"),
        ..edit(
            "provider.start",
            "/v1/apps/{app}/providers/start",
            "start-provider",
            "Add a provider, or change its configuration.",
        )
    },
    Operation {
        body: Body::Json("StopProvider"),
        ..edit(
            "provider.stop",
            "/v1/apps/{app}/providers/stop",
            "stop-provider",
            "Remove a provider that nothing is linked to.",
        )
    },
    look("link.list", "/v1/links", "Links", "List links."),
    Operation {
        method: "PUT",
        body: Body::Json("PutLink"),
        ..edit(
            "link.put",
            "/v1/apps/{app}/links",
            "put-link",
            "Link an actor to a provider or to another actor.",
        )
    },
    Operation {
        method: "DELETE",
        query: WHICH_LINK,
        ..edit("link.delete", "/v1/apps/{app}/links", "delete-link", "Delete a link.")
    },
    look(
        "host.list",
        "/v1/hosts",
        "Hosts",
        "List hosts: those that answer, and those that a controller remembers.",
    ),
    look("host.get", "/v1/hosts/{host}", "Host", "Give one host and all that it says."),
    Operation {
        method: "POST",
        role: Admin,
        ..look(
            "host.stop",
            "/v1/hosts/{host}/stop",
            "HostStopped",
            "Ask a host to leave: it finishes what it has in hand, and ends.",
        )
    },
    look("claim.list", "/v1/claims", "Claims", "List the claims of the actors that run."),
    Operation {
        query: EVENTS,
        ..look("event.list", "/v1/events", "Events", "List what happened: the audit stream, as CloudEvents.")
    },
    Operation {
        stream: true,
        ..look(
            "event.stream",
            "/v1/events/stream",
            "EventStream",
            "Follow what happens and what changes, as server-sent events.",
        )
    },
    Operation { role: Admin, ..look("user.list", "/v1/users", "Users", "List who may use this API.") },
    Operation {
        method: "PUT",
        role: Admin,
        body: Body::Json("PutUser"),
        ..look("user.put", "/v1/users/{key}", "User", "Let the holder of a user key use this API, in a role.")
    },
    Operation {
        method: "DELETE",
        role: Admin,
        ..look(
            "user.delete",
            "/v1/users/{key}",
            "UserDeleted",
            "Let a user use this API no more, from now on.",
        )
    },
];

/// An operation by its name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.name == name)
}

/// The operation that makes a change, and its input.
///
/// # Errors
/// `E_INTERNAL` for a change that the table does not know.
pub fn of_change(app: &AppName, change: &Change) -> Result<(&'static Operation, Value), Report> {
    let internal = |why: String| Report::new(ErrorCode::Internal, format!("change is no operation: {why}"));
    let mut fields = match serde_json::to_value(change) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return Err(internal("no object".to_owned())),
        Err(error) => return Err(internal(error.to_string())),
    };
    let tag = fields.remove("change");
    let tag = tag.as_ref().and_then(Value::as_str).unwrap_or_default();
    let operation = OPERATIONS.iter().find(|operation| operation.change == Some(tag));
    let operation = operation.ok_or_else(|| internal(tag.to_owned()))?;
    if let Change::Put { application, .. } = change {
        fields.remove("application");
        fields.insert("manifest".to_owned(), lattice_protocol::manifest::render(application).into());
    }
    fields.insert("app".to_owned(), app.as_str().into());
    Ok((operation, Value::Object(fields)))
}

impl Operation {
    /// Does it change anything? Such requests are told of in the audit stream, and their tokens are
    /// good once.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.method != "GET" && self.name != "app.plan"
    }

    /// The members of its path, in order.
    pub fn members(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    /// The members of a path that is this operation's; `None` for another one's.
    #[must_use]
    pub fn matches(&self, path: &[String]) -> Option<Map<String, Value>> {
        let mut members = Map::new();
        let mut have = path.iter();
        for part in self.path.split('/').skip(1) {
            let text = have.next().filter(|text| !text.is_empty())?;
            match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                Some(member) => drop(members.insert(member.to_owned(), text.as_str().into())),
                None if part == text => {}
                None => return None,
            }
        }
        have.next().is_none().then_some(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lattice_ctl_planner::edit::ScaleActor;
    use std::collections::BTreeSet;

    #[test]
    fn names_and_routes_are_each_their_own() {
        let names: BTreeSet<&str> = OPERATIONS.iter().map(|operation| operation.name).collect();
        let shape = |path: &str| {
            let parts = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
            parts.collect::<Vec<_>>().join("/")
        };
        let routes: BTreeSet<String> =
            OPERATIONS.iter().map(|one| format!("{} {}", one.method, shape(one.path))).collect();
        assert_eq!((names.len(), routes.len()), (OPERATIONS.len(), OPERATIONS.len()));
        for operation in OPERATIONS {
            assert!(!operation.changes() || operation.role > Viewer, "{}", operation.name);
            assert!(operation.change.is_none() || operation.path.contains("{app}"), "{}", operation.name);
        }
    }

    #[test]
    fn a_path_is_matched_whole() {
        let path = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
        let scale = find("actor.scale").unwrap();
        let members = scale.matches(&path("v1/apps/shop/actors/web/scale")).unwrap();
        assert_eq!((members["app"].as_str(), members["name"].as_str()), (Some("shop"), Some("web")));
        for other in ["v1/apps/shop/actors/web", "v1/apps/shop/actors/web/scale/x", "v1/apps/shop/links"] {
            assert!(scale.matches(&path(other)).is_none(), "{other}");
        }
    }

    #[test]
    fn every_change_is_an_operation_and_its_input_reads_back() {
        let app: AppName = "shop".parse().unwrap();
        let change =
            Change::ScaleActor(ScaleActor { name: "web".parse().unwrap(), hosts: Vec::new(), max: Some(3) });
        let (operation, input) = of_change(&app, &change).unwrap();
        assert_eq!((operation.name, input["app"].as_str()), ("actor.scale", Some("shop")));
        let mut fields = input.as_object().unwrap().clone();
        fields.remove("app");
        fields.insert("change".to_owned(), operation.change.unwrap().into());
        assert_eq!(serde_json::from_value::<Change>(fields.into()).unwrap(), change);
        for change in
            [Change::Deploy {}, Change::Undeploy {}, Change::Pause {}, Change::Resume {}, Change::Finalise {}]
        {
            assert!(of_change(&app, &change).is_ok());
        }
    }
}
