//! Requests to the controllers' API over HTTP, as somebody who may, may not, or only says so.
//!
//! `with`: WHO METHOD TARGET, and the media type of the body if it has one; the body is the case's file.

use super::Played;
use crate::case::Case;
use crate::judge::Outcome;
use crate::make;
use crate::wire;
use crate::world::World;
use anyhow::{Context, Result, bail};
use keys::{KeyKind, KeyPair, RequestParts, sign_request};
use lattice_io::{Clock, SystemClock};
use std::sync::atomic::{AtomicU64, Ordering};

/// How long a token of ours is good, seconds.
const LIFE: i64 = 30;
/// The lattice of the tests.
const LATTICE: &str = "test";

/// One request.
struct Request<'a> {
    method: &'a str,
    target: &'a str,
    media: Option<&'a str>,
    body: &'a [u8],
}

/// Sends it, once for each variant of the case's file.
pub async fn api(world: &World, case: &Case) -> Played {
    let words: Vec<&str> = case.with.split(' ').collect();
    let (who, method, target, media) = match words.as_slice() {
        [who, method, target] => (*who, *method, *target, None),
        [who, method, target, media] => (*who, *method, *target, Some(*media)),
        _ => bail!("with: WHO METHOD TARGET [MEDIA]"),
    };
    let bodies = match case.make.is_none() && case.text.is_none() {
        true => vec![(String::new(), Vec::new())],
        false => make::inputs(case)?,
    };
    let mut outcomes = Vec::new();
    for (variant, body) in bodies {
        let request = Request { method, target, media, body: &body };
        outcomes.push((variant, send(world, who, &request).await?));
    }
    Ok(outcomes)
}

async fn send(world: &World, who: &str, request: &Request<'_>) -> Result<Outcome> {
    let authorization = authorization(world, who, request)?;
    let mut head =
        format!("{} {} HTTP/1.1\r\nhost: api\r\nconnection: close\r\n", request.method, request.target);
    for line in authorization {
        head.push_str(&format!("authorization: {line}\r\n"));
    }
    if let Some(media) = request.media {
        head.push_str(&format!("content-type: {media}\r\n"));
    }
    // What says that it is too large must be refused unread: nothing is sent of it.
    let says_more = who == "a-boaster";
    let length = if says_more { 99_999_999_999 } else { request.body.len() };
    head.push_str(&format!("content-length: {length}\r\n\r\n"));
    let body = if says_more { &[][..] } else { request.body };
    let bytes = [head.as_bytes(), body].concat();
    let outcome = wire::send(world.lattice.api, &bytes).await?;
    if who != "a-repeater" {
        return Ok(outcome);
    }
    // The very same bytes once more: the first time it was somebody who may.
    wire::send(world.lattice.api, &bytes).await
}

/// The lines that say who asks.
fn authorization(world: &World, who: &str, request: &Request<'_>) -> Result<Vec<String>> {
    let now = i64::try_from(SystemClock::new().unix_ms() / 1_000)?;
    let parts =
        RequestParts { lattice: LATTICE, method: request.method, target: request.target, body: request.body };
    let good = (now, now + LIFE);
    let bearer = |key: &KeyPair, parts: &RequestParts<'_>, life| -> Result<Vec<String>> {
        Ok(vec![format!("Bearer {}", sign_request(key, parts, life, &nonce())?)])
    };
    let admin = || user(world, "admin-api");
    Ok(match who {
        "nobody" => Vec::new(),
        "a-password" => vec!["Basic YWRtaW46YWRtaW4=".to_owned()],
        "a-word" => vec!["Bearer".to_owned()],
        "nonsense" => vec!["Bearer a.b.c".to_owned()],
        "a-long-token" => vec![format!("Bearer {}", "x".repeat(5_000))],
        "two" => [bearer(&admin()?, &parts, good)?, bearer(&admin()?, &parts, good)?].concat(),
        "a-stranger" => bearer(&KeyPair::from_entropy(KeyKind::User, [9; 32]), &parts, good)?,
        "a-latecomer" => bearer(&admin()?, &parts, (now - 3_600, now - 3_600 + LIFE))?,
        "a-prophet" => bearer(&admin()?, &parts, (now + 3_600, now + 3_600 + LIFE))?,
        "another-path" => bearer(&admin()?, &RequestParts { target: "/v1/apps", ..parts }, good)?,
        "another-method" => bearer(&admin()?, &RequestParts { method: "GET", ..parts }, good)?,
        "another-body" => bearer(&admin()?, &RequestParts { body: b"{}", ..parts }, good)?,
        "another-lattice" => bearer(&admin()?, &RequestParts { lattice: "other", ..parts }, good)?,
        "a-host" => bearer(&user(world, "H1")?, &parts, good)?,
        "a-repeater" | "a-boaster" | "admin" => bearer(&admin()?, &parts, good)?,
        "deployer" | "viewer" => bearer(&user(world, &format!("{who}-api"))?, &parts, good)?,
        other => bail!("who is {other:?}?"),
    })
}

/// The key of one of the lattice's users.
fn user(world: &World, name: &str) -> Result<KeyPair> {
    let path = world.lattice.dir().join("users").join(format!("{name}.creds"));
    let creds = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let seed = creds.lines().map(str::trim).find(|line| line.starts_with("SU")).context("no seed")?;
    Ok(KeyPair::from_seed(seed)?)
}

/// Never the same twice.
fn nonce() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("badinput-{:016x}", COUNT.fetch_add(1, Ordering::Relaxed))
}
