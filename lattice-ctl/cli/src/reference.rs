//! What people call an actor on the command line: `app/name`, a bare name, or its module key (`M…`)
//! as in seed 004's commands; and a provider: by name, kind or image, which the planner's edits find
//! in the application that is edited, or by its id (`V…`). A provider has no key of its own: its id
//! is made of its name.

use crate::artifacts;
use crate::client::{Client, SeenHost};
use keys::{KeyKind, PublicKey};
use lattice_protocol::desired::DesiredApp;
use lattice_protocol::manifest::closest;
use lattice_protocol::{ActorId, AppName, ErrorCode, HostId, ProviderName, Report};
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

/// The actor that is meant, on this lattice. A module key is looked for among what runs, then in the
/// claims of what is deployed: seed 004 links an actor before it is called.
///
/// # Errors
/// As [`actor`].
pub async fn find_actor(client: &Client, text: &str) -> Result<ActorId, Report> {
    let apps = client.apps().await?;
    let is_key = looks_like_key(text, KeyKind::Module);
    // Only a key needs the hosts' word for whose it is.
    let hosts = if is_key { client.hosts().await? } else { BTreeMap::new() };
    let found = actor(text, &apps, &hosts);
    if !is_key || found.is_ok() {
        return found;
    }
    let Ok(key) = read_key(text, KeyKind::Module) else { return found };
    for (app, record) in &apps {
        for manifest in &record.application.actors {
            let id = ActorId::new(app.clone(), manifest.name.clone());
            // What is not to be had is not the one; the error above says what to do.
            let Ok(file) = artifacts::of_actor(client, record, &id).await else { continue };
            if subject_of(&file) == Some(key) {
                return Ok(id);
            }
        }
    }
    found
}

fn subject_of(file: &[u8]) -> Option<PublicKey> {
    let split = keys::split(file, keys::section::MAX_COMPONENT_BYTES).ok()?;
    Some(keys::token::parse(split.token?).ok()?.claims.subject)
}

/// A provider's id, for commands that name it so.
pub fn provider_id(app: &AppName, name: &ProviderName) -> PublicKey {
    PublicKey::of_name(KeyKind::Provider, &format!("{app}/{name}"))
}

/// The provider that is meant, as the planner's edits take it: an id becomes its name.
///
/// # Errors
/// `provider not found: …` for an id that is none, or none of this application's.
pub fn provider(text: &str, record: Option<&DesiredApp>) -> Result<String, Report> {
    if !looks_like_key(text, KeyKind::Provider) {
        return Ok(text.to_owned());
    }
    let missing = || Report::new(ErrorCode::ProviderNotFound, format!("provider not found: {text}"));
    let key = read_key(text, KeyKind::Provider)
        .map_err(|why| missing().got(why.what).hint("name it by its name, kind or image"))?;
    record
        .and_then(|record| {
            let app = &record.application;
            app.providers.iter().find(|provider| provider_id(&app.name, &provider.name) == key)
        })
        .map(|provider| provider.name.to_string())
        .ok_or_else(|| {
            missing().hint("`trellis start provider` prints its id; or name it by name, kind or image")
        })
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
    use lattice_protocol::manifest;

    fn apps() -> BTreeMap<AppName, DesiredApp> {
        let app = |name: &str, actors: &[&str]| {
            let list: String =
                actors.iter().map(|actor| format!("    - name: {actor}\n      artifact: a.wasm\n")).collect();
            let text = format!(
                "apiVersion: trellis.dev/v1\nkind: Application\nmetadata:\n  name: {name}\nspec:\n  actors:\n{list}"
            );
            let mut record = DesiredApp::empty(name.parse().unwrap());
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
    fn a_provider_is_found_by_the_id_made_of_its_name_and_a_broken_id_says_why() {
        let mut record = DesiredApp::empty("shop".parse().unwrap());
        record.application.providers.push(manifest::ProviderManifest {
            name: "cache".parse().unwrap(),
            kind: "keyvalue-redis".to_owned(),
            config: BTreeMap::new(),
            mode: lattice_protocol::spec::ProviderMode::InProcess,
        });
        let id = provider_id(&record.application.name, &record.application.providers[0].name).to_string();
        assert!(id.starts_with('V') && id.len() == 56);
        assert_eq!(provider(&id, Some(&record)).unwrap(), "cache");
        assert_eq!(provider("keyvalue-redis", None).unwrap(), "keyvalue-redis");
        assert_eq!(provider(&id, None).unwrap_err().code, ErrorCode::ProviderNotFound);
        let report = provider("VAG3QITQQ2ODAOWB5MTQ0JD6BX7T7NZ2FMX4NOOB", Some(&record)).unwrap_err();
        assert!(report.to_string().contains("'0' at character"), "{report}");
    }

    #[test]
    fn a_key_of_the_seed_that_is_no_key_says_why() {
        let report = actor("MBCFOPNG6DDWUTJYEQVP5A7PV7Y4MFSH5I2I2R4", &apps(), &BTreeMap::new()).unwrap_err();
        assert!(report.what.starts_with("actor not found: MBCF"), "{report}");
        assert!(report.got.is_some(), "{report}");
    }
}
