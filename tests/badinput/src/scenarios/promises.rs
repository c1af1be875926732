//! Promises in small: nothing is permitted that no link grants (P12), no changed byte passes (P13),
//! no secret is ever shown (P16).

use super::{Played, words};
use crate::command::trellis;
use crate::desk::{self, Desk, now};
use crate::judge::Outcome;
use crate::make::good;
use crate::wire;
use crate::world::World;
use anyhow::{Context, Result, bail, ensure};
use keys::{TrustAnchors, VerifyPolicy};
use lattice_io::Lattice;
use lattice_protocol::subject::Subjects;
use std::collections::BTreeMap;
use tests_harness::sizes;

/// Every interface that a link can grant, and the name by which its refusal is known.
const CAPABILITIES: [(&str, &str); 7] = [
    ("wasi:keyvalue/store", "wasmcloud:keyvalue"),
    ("wasi:keyvalue/atomics", "wasmcloud:keyvalue"),
    ("wasi:keyvalue/batch", "wasmcloud:keyvalue"),
    ("wasmcloud:messaging/consumer", "wasmcloud:messaging"),
    ("wasi:http/outgoing-handler", "wasmcloud:httpclient"),
    ("wasi:blobstore/blobstore", "wasmcloud:blobstore"),
    ("wasmcloud:secrets/store", "wasmcloud:secrets/store"),
];

/// Every capability, reached for by an actor without links, and by one with a link to a sister of
/// it. Each refusal is in the answer by its code, and in the host's log by its name.
pub async fn zero_permission(world: &World) -> Played {
    let mut outcomes = Vec::new();
    for (interface, contract) in CAPABILITIES {
        // `reach` has links to the store and to blobs, so these two it may.
        let granted = matches!(interface, "wasi:keyvalue/store" | "wasi:blobstore/blobstore");
        for actor in ["bare", "reach"] {
            let mark = world.lattice.host_log()?.len();
            let line = format!("GET /{interface}");
            let mut outcome = wire::ask(world.lattice.address, actor, &line, b"").await?;
            if actor == "reach" && granted {
                ensure!(outcome.status == Some(200), "{interface}: {}", outcome.said);
                continue;
            }
            let log = world.lattice.host_log()?;
            let denied = format!("capability denied: {contract}");
            let said = log.get(mark..).unwrap_or_default().lines().find(|line| line.contains(&denied));
            outcome.aside =
                said.with_context(|| format!("{interface}: the log lacks {denied:?}"))?.to_owned();
            outcomes.push((format!("{actor} {interface}"), outcome));
        }
    }
    Ok(outcomes)
}

/// One byte changed anywhere in a signed file, by the very function that a host verifies with.
pub fn no_changed_byte() -> Played {
    let file = desk::signed(&good(), "a")?;
    let anchors = TrustAnchors::new([desk::issuer().public()].into(), BTreeMap::new())?;
    let accepts = |file: &[u8]| keys::verify(file, &anchors, now(), &VerifyPolicy::ACTOR).is_ok();
    ensure!(accepts(&file), "the unchanged file must pass");
    let mut changes = 0u32;
    let wanted = sizes::pick(1_000, 10_000);
    // Each place with another bit each round, until there are enough.
    for round in 1..=u8::MAX {
        for place in 0..file.len() {
            let mut changed = file.clone();
            if let Some(byte) = changed.get_mut(place) {
                *byte ^= round;
            }
            if accepts(&changed) {
                bail!("byte {place} may be changed by {round:#04x}");
            }
            changes += 1;
        }
        if changes >= wanted {
            break;
        }
    }
    Ok(vec![(String::new(), words(0, format!("refused {}", changes >= wanted)))])
}

/// Searches what all cases have left behind: logs, every key-value bucket, and the words of
/// commands that were given a secret.
pub async fn no_secret(world: &World) -> Played {
    let mut outcomes = Vec::new();
    for (name, text) in world.logs() {
        outcomes.push((format!("log of {name}"), Outcome { aside: text, ..words(0, "searched") }));
    }
    let client = world.lattice.connect("admin").await?;
    let stored = stored(&client.lattice()).await?;
    ensure!(stored.contains("edge"), "nothing was found where the application is stored");
    client.close().await;
    outcomes.push(("buckets".to_owned(), Outcome { aside: stored, ..words(0, "searched") }));
    let given = tokio::task::spawn_blocking(|| {
        let desk = Desk::new()?;
        let env = [("TRELLIS_OCI_USER", "me"), ("TRELLIS_OCI_PASSWORD", desk::CANARY)];
        let pulled = trellis(desk.path(), "-v -v pull oci://127.0.0.1:1/a/b:1", &env)?;
        let url = format!("nats://me:{}@127.0.0.1:1", desk::CANARY);
        let asked = trellis(desk.path(), &format!("-v -v get hosts --nats-url {url}"), &[])?;
        anyhow::Ok([pulled, asked])
    });
    for outcome in given.await?? {
        let all = format!("{}\n{}", outcome.said, outcome.aside);
        outcomes.push((
            "a command that has a password".to_owned(),
            Outcome { aside: all, ..words(0, "searched") },
        ));
    }
    Ok(outcomes)
}

async fn stored(lattice: &Lattice) -> Result<String> {
    let subjects = Subjects::new("test".parse()?);
    let guests = ["edge-data", "own", "received", "default"].map(|bucket| {
        let app = "lab".parse().map(|app| subjects.guest_bucket(&app, bucket));
        app.unwrap_or_default()
    });
    let ours = [
        subjects.desired_bucket(),
        subjects.placement_bucket(),
        subjects.spec_bucket(),
        subjects.observed_bucket(),
    ];
    let mut text = String::new();
    for bucket in ours.into_iter().chain(guests) {
        let Some(kv) = lattice.kv.lookup(&bucket).await? else { continue };
        for key in kv.keys().await? {
            let value = kv.get_latest(&key).await?.map(|entry| entry.value).unwrap_or_default();
            text.push_str(&format!("{bucket} {key} {}\n", String::from_utf8_lossy(&value)));
        }
    }
    Ok(text)
}
