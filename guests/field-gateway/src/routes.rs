//! Which persistent actor a device's words are for, and as which command. Pure: addresses in, addresses out.

use serde_json::{Map, Value};

/// The prefix of the subjects that devices send to.
const PREFIX: &str = "edge.";

/// What of a device is told to whom: collection, topic, link, command. No command: the body names it, in `type`, as
/// seed 002's messages do.
const COMMANDS: [(&str, &str, &str, Option<&str>); 6] = [
    ("machines", "readings", "machines", Some("record-temperature")),
    ("machines", "alarms", "machines", Some("trigger-alarm")),
    ("drones", "battery", "drones", Some("report-level")),
    ("drones", "command", "drones", None),
    ("drones", "steps", "drones", Some("flow")),
    ("substations", "measurements", "substations", Some("measure")),
];

/// What of a device can be read: collection, view, link, query.
const QUERIES: [(&str, &str, &str, &str); 4] = [
    ("machines", "latest", "machines", "latest"),
    ("drones", "battery", "drones", "level"),
    ("drones", "mission", "drones", "mission"),
    ("substations", "load", "substations", "load"),
];

/// A command on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Told<'a> {
    /// Which link leads to the actors.
    pub link: &'static str,
    /// Which of them.
    pub id: &'a str,
    /// What is asked.
    pub command: String,
    /// With what.
    pub body: Value,
}

/// The command that a device's words are: of `readings` of `machine-01` in `machines`.
///
/// # Errors
/// No such topic, no JSON, or a body that does not name its command.
pub fn command<'a>(collection: &str, id: &'a str, topic: &str, body: &[u8]) -> Result<Told<'a>, String> {
    let found = COMMANDS.iter().find(|(of, name, ..)| (*of, *name) == (collection, topic));
    let (.., link, command) = *found.ok_or_else(|| unknown(collection, topic))?;
    let mut body: Value = serde_json::from_slice(body).map_err(|error| format!("body: not JSON: {error}"))?;
    let command = match command {
        Some(command) => command.to_owned(),
        None => named(&mut body)?,
    };
    Ok(Told { link, id, command, body })
}

/// Takes the command's name out of a body that has it.
fn named(body: &mut Value) -> Result<String, String> {
    let name = body.as_object_mut().and_then(|fields: &mut Map<_, _>| fields.remove("type"));
    match name {
        Some(Value::String(name)) => Ok(name),
        Some(other) => Err(format!("type: want the command's name (got {other})")),
        None => Err("type: missing: want the command's name, such as {\"type\":\"StartMission\"}".to_owned()),
    }
}

/// The link and the query that a view is: `latest` of `machines`.
///
/// # Errors
/// No such view.
pub fn query(collection: &str, view: &str) -> Result<(&'static str, &'static str), String> {
    let found = QUERIES.iter().find(|(of, name, ..)| (*of, *name) == (collection, view));
    found.map(|(.., link, query)| (*link, *query)).ok_or_else(|| unknown(collection, view))
}

fn unknown(collection: &str, topic: &str) -> String {
    let told = COMMANDS.iter().map(|(of, name, ..)| (of, name));
    let known = told.chain(QUERIES.iter().map(|(of, name, ..)| (of, name)));
    let known: Vec<String> = known.map(|(of, name)| format!("{of}/<id>/{name}")).collect();
    format!("{collection}/<id>/{topic}: no such address; known are {}", known.join(", "))
}

/// The parts of a message's subject: collection, id, topic.
///
/// # Errors
/// Another form of subject.
pub fn address(subject: &str) -> Result<(&str, &str, &str), String> {
    let parts: Vec<&str> = subject.strip_prefix(PREFIX).unwrap_or_default().split('.').collect();
    match parts.as_slice() {
        [collection, id, topic] => Ok((collection, id, topic)),
        _ => Err(format!("subject {subject}: want {PREFIX}<collection>.<id>.<topic>")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_way_in_leads_to_a_command() {
        let (collection, id, topic) = address("edge.machines.machine-01.readings").unwrap();
        let told = command(collection, id, topic, br#"{"value":85.7}"#).unwrap();
        assert_eq!(
            (told.link, told.id, told.command.as_str()),
            ("machines", "machine-01", "record-temperature")
        );
        for (collection, topic, link, name) in COMMANDS {
            let told =
                command(collection, "x", topic, br#"{"type":"StartMission","mission":"m-1"}"#).unwrap();
            assert_eq!((told.link, told.command.as_str()), (link, name.unwrap_or("StartMission")));
        }
        for (collection, view, link, name) in QUERIES {
            assert_eq!(query(collection, view), Ok((link, name)));
        }
    }

    #[test]
    fn the_seeds_command_is_named_by_its_type_and_the_rest_is_its_body() {
        let told = command("drones", "drone-001", "command", br#"{"type":"StartMission","mission":"m-1"}"#);
        let told = told.unwrap();
        assert_eq!((told.command.as_str(), told.body), ("StartMission", json!({ "mission": "m-1" })));
    }

    #[test]
    fn what_is_no_address_or_no_command_is_refused_with_what_would_be_one() {
        assert!(address("edge.machines.readings").unwrap_err().contains("edge.<collection>.<id>.<topic>"));
        assert!(address("cloud.machines.m.readings").is_err());
        assert!(address("edge.machines.a.b.readings").is_err());
        let unknown = command("machines", "m", "noise", b"{}").unwrap_err();
        assert!(unknown.contains("machines/<id>/readings"), "{unknown}");
        assert!(query("machines", "readings").is_err(), "what is told cannot be read by that name");
        assert!(command("machines", "m", "readings", b"85.7 C").unwrap_err().starts_with("body: not JSON"));
        for body in ["{}", "[]", "\"StartMission\"", r#"{"type":5}"#] {
            let refused = command("drones", "d", "command", body.as_bytes()).unwrap_err();
            assert!(refused.starts_with("type: "), "{refused}");
        }
    }
}
