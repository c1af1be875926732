//! Code for hosts that compile nothing: what they say they need, made here, signed with the lattice's compiler key,
//! and left in the lattice's store, where they look for it by a name that both sides derive.

use crate::args::Args;
use crate::client::{Client, SeenHost};
use crate::output;
use bytes::Bytes;
use host_runtime::native::{self, Target};
use keys::KeyPair;
use lattice_protocol::{ErrorCode, HostId, Report};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What hosts need code for, and which hosts.
pub type Targets = BTreeMap<Target, BTreeSet<HostId>>;

/// Code of one component for one target.
#[derive(Debug)]
pub struct Left {
    /// Its name in the lattice's store.
    pub name: String,
    /// Bytes, sealed; none when it was there already.
    pub bytes: Option<usize>,
}

/// What the hosts of a lattice need, as they say themselves.
pub fn needed(hosts: &BTreeMap<HostId, SeenHost>) -> Targets {
    let mut targets = Targets::new();
    for (host, seen) in hosts {
        let Some(text) = &seen.heartbeat.code_for else { continue };
        match text.parse::<Target>() {
            Ok(target) => drop(targets.entry(target).or_default().insert(host.clone())),
            Err(report) => output::warn(format!("host {host}: {report}")),
        }
    }
    targets
}

/// Compiles a component, called so here, for a target and leaves it in the lattice, unless it is there already and not
/// to be made `again`. Shows meanwhile what it does.
///
/// # Errors
/// What is wrong with the component, or with the store.
pub async fn leave(
    args: &Args,
    (client, key): (&Client, &Arc<KeyPair>),
    (label, file): (&str, &Bytes),
    target: &Target,
    again: bool,
) -> Result<Left, Report> {
    let bar = output::spinner(args, format!("compiling {label} for {target}"));
    let left = leave_quietly(client, key, (file, target), again).await;
    bar.finish_and_clear();
    left.map_err(|report| report.during(&format!("compile {label} for {target}")))
}

async fn leave_quietly(
    client: &Client,
    key: &Arc<KeyPair>,
    (file, target): (&Bytes, &Target),
    again: bool,
) -> Result<Left, Report> {
    let store = client.artifacts().await?;
    let name = native::name_for(file, target)?;
    if !again && store.contains_named(&name).await? {
        return Ok(Left { name, bytes: None });
    }
    let (file, target, key) = (file.clone(), target.clone(), Arc::clone(key));
    let about = target.to_string();
    let made = tokio::task::spawn_blocking(move || native::compile(&file, &target, &key))
        .await
        .map_err(|error| Report::new(ErrorCode::Internal, format!("the compiler failed: {error}")))??;
    let bytes = made.sealed.len();
    store.put_named(&name, made.sealed).await?;
    client.audit("admin.compile", &name, json!({ "target": about, "bytes": bytes })).await;
    Ok(Left { name, bytes: Some(bytes) })
}

/// Leaves code of these components for every host that compiles nothing, before it is told to run them. Where this
/// machine has no compiler key, says who has to do it.
///
/// # Errors
/// As [`leave`].
pub async fn for_hosts<'a>(
    args: &Args,
    client: &Client,
    hosts: &BTreeMap<HostId, SeenHost>,
    components: impl Iterator<Item = (String, &'a Bytes)>,
) -> Result<(), Report> {
    let targets = needed(hosts);
    if targets.is_empty() {
        return Ok(());
    }
    let Some(key) = key(client)? else {
        let who: Vec<String> = targets.values().flatten().map(ToString::to_string).collect();
        output::warn(format!(
            "{} compile nothing, and the compiler key is not here: run `trellis compile` where the lattice's \
             directory is",
            who.join(", ")
        ));
        return Ok(());
    };
    for (label, file) in components {
        for target in targets.keys() {
            let left = leave(args, (client, &key), (&label, file), target, false).await?;
            if let Some(bytes) = left.bytes {
                output::say(args, format!("compiled {label} for {target} ({} KiB)", bytes >> 10));
            }
        }
    }
    Ok(())
}

/// The lattice's compiler key, where its directory is here and has one.
///
/// # Errors
/// It is there and cannot be read.
pub fn key(client: &Client) -> Result<Option<Arc<KeyPair>>, Report> {
    let Some(dir) = &client.context.dir else { return Ok(None) };
    Ok(dir.compiler_key()?.map(Arc::new))
}
