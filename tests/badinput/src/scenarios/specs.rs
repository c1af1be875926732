//! Host specs that a host must not obey: signed by a stranger, older than its own, for another
//! host. They are put where its controller puts them, by somebody who may.

use super::{Played, words};
use crate::case::Case;
use crate::desk;
use crate::world::{SOON, World};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use keys::{KeyPair, Signed};
use lattice_protocol::spec::HOST_SPEC_KIND;
use lattice_protocol::subject::Subjects;
use std::sync::Arc;
use tests_harness::eventually;

/// The host that is told.
const HOST: &str = "H1";

/// `with`: what is wrong with the spec. What is said is the host's log of refusing it.
pub async fn spec(world: &World, case: &Case) -> Played {
    let client = world.lattice.connect("admin").await?;
    let bucket = Subjects::new("test".parse()?).spec_bucket();
    let kv = client.lattice().kv.assume(&bucket)?;
    let good = kv.get_latest(HOST).await?.context("the controller has told the host something")?.value;
    let signed: Signed = serde_json::from_slice(&good)?;
    let told = match case.with.as_str() {
        "a stranger's" => told_by(&desk::stranger(), signed.payload)?,
        "for another host" => {
            let seed = std::fs::read_to_string(world.lattice.dir().join("keys/controller.nk"))?;
            let mut payload: serde_json::Value = serde_json::from_slice(&signed.payload)?;
            payload["host"] = "H2".into();
            told_by(&KeyPair::from_seed(seed.trim())?, payload.to_string().into_bytes())?
        }
        "without signature" => signed.payload.to_vec(),
        "changed" => String::from_utf8(good.to_vec())?.replacen('1', "2", 1).into_bytes(),
        "no JSON" => b"\xff{".to_vec(),
        "an older one" => older(world, &good).await?,
        other => bail!("no spec is {other:?}"),
    };
    let newest = kv.get_latest(HOST).await?.context("it is still there")?.value;
    let before = world.lattice.host_log()?.len();
    kv.put(HOST, Bytes::from(told)).await?;
    let lab = Arc::clone(&world.lattice);
    let refused = eventually(SOON, "the host to refuse it", || async {
        let log = lab.host_log()?;
        let line = log.get(before..).unwrap_or_default().lines().find(|line| line.contains("refused"));
        Ok(line.context("nothing said yet")?.to_owned())
    })
    .await?;
    // What the controller said last is said again: the next case begins with a good one.
    kv.put(HOST, newest).await?;
    client.close().await;
    let answer = crate::wire::ask(world.lattice.address, "edge", "GET /stats", b"").await?;
    let outcome = crate::judge::Outcome { aside: answer.said, ..words(answer.status.unwrap_or(0), refused) };
    Ok(vec![(String::new(), outcome)])
}

fn told_by(signer: &KeyPair, payload: Vec<u8>) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(&keys::sign_document(HOST_SPEC_KIND, payload, signer)?)?)
}

/// The spec of now, once the host has a newer one.
async fn older(world: &World, now: &Bytes) -> Result<Vec<u8>> {
    let lab = &world.lattice;
    let before = lab.host_log()?.matches("host spec accepted").count();
    lab.lattice.trellis(&["scale", "actor", "lab/bare", "--max", "2"])?;
    eventually(SOON, "the host to have a newer one", || async {
        let accepted = lab.host_log()?.matches("host spec accepted").count();
        anyhow::ensure!(accepted > before, "{accepted} so far");
        Ok(())
    })
    .await?;
    Ok(now.to_vec())
}
