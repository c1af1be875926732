//! What people call an actor on the command line: `app/name`, a bare name, or its module key (`M…`)
//! as in seed 004's commands. Names of providers are for the planner's edits to find: they are
//! always of the application that is edited.

use crate::client::SeenHost;
use keys::{KeyKind, PublicKey};
use lattice_protocol::desired::DesiredApp;
use lattice_protocol::manifest::closest;
use lattice_protocol::{ActorId, AppName, ErrorCode, HostId, Report};
use std::collections::BTreeMap;

/// Does this text look like a public key rather than a name? Upper-case base32, long, of this kind.
fn looks_like_key(text: &str, kind: KeyKind) -> bool {
    text.starts_with(kind.letter())
        && text.len() >= 32
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

fn read_key(text: &str, kind: KeyKind) -> Result<PublicKey, Report> {
    text.parse::<PublicKey>()
        .and_then(|key| key.expect_kind(kind))
        .map_err(|error| Report::new(ErrorCode::Name, error.to_string()))
}

/// Every actor of these applications.
pub fn actors(apps: &BTreeMap<AppName, DesiredApp>) -> impl Iterator<Item = ActorId> + '_ {
    apps.iter().flat_map(|(app, record)| {
        record.application.actors.iter().map(|actor| ActorId::new(app.clone(), actor.name.clone()))
    })
}

/// The actor that is meant.
///
/// # Errors
/// `E_ACTOR_NOT_FOUND`, with the nearest name; `E_USAGE` when several have the name.
pub fn actor(
    text: &str,
    apps: &BTreeMap<AppName, DesiredApp>,
    hosts: &BTreeMap<HostId, SeenHost>,
) -> Result<ActorId, Report> {
    let missing = || Report::new(ErrorCode::ActorNotFound, format!("actor not found: {text}"));
    if looks_like_key(text, KeyKind::Module) {
        let key = read_key(text, KeyKind::Module)
            .map_err(|why| missing().got(why.what).hint("name the actor (app/name): trellis get actors"))?;
        let running = hosts.values().flat_map(|host| &host.heartbeat.actors);
        let mut found = running
            .filter(|actor| actor.claims.as_ref().is_some_and(|claims| claims.subject == key.as_str()));
        return found.next().map(|actor| actor.id.clone()).ok_or_else(|| {
            missing().hint("no running actor has this key; name it instead (app/name): trellis get actors")
        });
    }
    one(text, actors(apps).map(|id| (id.app.clone(), id.name.to_string(), id)), missing, "trellis get actors")
}

/// `app/name`, or a bare name: in the application of imperative commands, else the only one.
fn one<T>(
    text: &str,
    all: impl Iterator<Item = (AppName, String, T)>,
    missing: impl Fn() -> Report,
    see: &str,
) -> Result<T, Report> {
    let all: Vec<(AppName, String, T)> = all.collect();
    let names: Vec<String> = all.iter().map(|(app, name, _)| format!("{app}/{name}")).collect();
    let (app, name) = match text.split_once('/') {
        Some((app, name)) => (Some(app), name),
        None => (None, text),
    };
    let imperative = AppName::imperative();
    let mut found: Vec<(AppName, T)> = all
        .into_iter()
        .filter(|(of, known, _)| known == name && app.is_none_or(|app| app == of.as_str()))
        .map(|(of, _, value)| (of, value))
        .collect();
    if app.is_none() && found.len() > 1 && found.iter().any(|(of, _)| *of == imperative) {
        found.retain(|(of, _)| *of == imperative);
    }
    match (found.pop(), found.is_empty()) {
        (Some((_, value)), true) => Ok(value),
        (Some(_), false) => Err(Report::new(ErrorCode::Usage, format!("several applications have {name}"))
            .got(
                names
                    .iter()
                    .filter(|full| full.ends_with(&format!("/{name}")))
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(", "),
            )
            .hint("write app/name")),
        (None, _) => {
            let bare = names.iter().filter_map(|full| full.rsplit('/').next());
            let near = closest(text, names.iter().map(String::as_str)).or_else(|| closest(name, bare));
            Err(match near {
                Some(near) => missing().hint(format!("did you mean {near}? see: {see}")),
                None => missing().hint(format!("see: {see}")),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app_files::empty_record;
    use lattice_protocol::manifest;

    fn apps() -> BTreeMap<AppName, DesiredApp> {
        let app = |name: &str, actors: &[&str]| {
            let list: String =
                actors.iter().map(|actor| format!("    - name: {actor}\n      artifact: a.wasm\n")).collect();
            let text = format!(
                "apiVersion: trellis.dev/v1\nkind: Application\nmetadata:\n  name: {name}\nspec:\n  actors:\n{list}"
            );
            let mut record = empty_record(name.parse().unwrap());
            record.application = manifest::parse(&text, "t").unwrap();
            (record.application.name.clone(), record)
        };
        [app("default", &["echo", "cart"]), app("shop", &["cart", "till"]), app("lab", &["till"])].into()
    }

    #[test]
    fn a_bare_name_is_of_the_imperative_application_or_the_only_one() {
        let find = |text: &str| actor(text, &apps(), &BTreeMap::new()).map(|id| id.to_string());
        assert_eq!(find("echo").unwrap(), "default/echo");
        assert_eq!(find("cart").unwrap(), "default/cart");
        assert_eq!(find("shop/cart").unwrap(), "shop/cart");
        assert_eq!(find("till").unwrap_err().code, ErrorCode::Usage);
        let near = find("shop/tilll").unwrap_err();
        assert_eq!(near.code, ErrorCode::ActorNotFound);
        assert!(near.hint.unwrap().contains("did you mean shop/till?"));
    }

    #[test]
    fn a_key_of_the_seed_that_is_no_key_says_why() {
        let report = actor("MBCFOPNG6DDWUTJYEQVP5A7PV7Y4MFSH5I2I2R4", &apps(), &BTreeMap::new()).unwrap_err();
        assert!(report.what.starts_with("actor not found: MBCF"), "{report}");
        assert!(report.got.is_some(), "{report}");
    }
}
