//! `trellis artifact …`: what the lattice's store keeps: components as they were pushed, and code made of them for
//! hosts that compile nothing.
//!
//! Pruning removes what nobody can come to need: neither an application as it is, nor a version of it that can come back, nor the
//! one before a rollout, nor what a host still runs. A deployment may name an artifact that was there when it
//! looked, at the moment when it is pruned: so pruning looks again after each removal and puts it back
//! ([`prune_one`]), and whoever deploys stores it again after its record is written
//! ([`Client::hold`]). Whichever of the two is last sees the other.

use crate::args::Args;
use crate::client::{Client, SeenHost};
use crate::commands::Outcome;
use crate::{artifacts, home, output};
use clap::Subcommand;
use keys::Digest;
use lattice_io::{Blobs, NamedBlob};
use lattice_protocol::desired::{DesiredApp, Placement};
use lattice_protocol::digest::ArtifactDigest;
use lattice_protocol::{AppName, ErrorCode, HostId, Report};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum ArtifactCommand {
    /// List artifacts: how large, since when, and who needs them.
    List,
    /// Remove what no application, no version that can come back and no host needs.
    Prune(PruneArgs),
}

/// What to prune.
#[derive(Debug, clap::Args)]
pub struct PruneArgs {
    /// Only what was stored so many hours ago or earlier: what was pushed by itself may be deployed yet.
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    pub older_than_h: u32,
    /// Say what would be removed, and remove nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Runs it.
pub async fn run(args: &Args, command: &ArtifactCommand) -> Outcome {
    let client = Client::connect(args).await?;
    let result = match command {
        ArtifactCommand::List => list(args, &client).await,
        ArtifactCommand::Prune(options) => prune(args, &client, options).await,
    };
    client.close().await;
    result
}

/// Who needs each artifact, in words, by its digest.
type Needed = BTreeMap<ArtifactDigest, BTreeSet<String>>;

fn needed(
    apps: &BTreeMap<AppName, DesiredApp>,
    placements: &BTreeMap<AppName, Placement>,
    hosts: &BTreeMap<HostId, SeenHost>,
) -> Needed {
    let mut found = Needed::new();
    let mut need = |digest: &ArtifactDigest, who: String| {
        found.entry(digest.clone()).or_default().insert(who);
    };
    for (name, record) in apps {
        for (actor, artifact) in &record.artifacts {
            need(&artifact.digest, actor.to_string());
        }
        for past in &record.history {
            for artifact in past.content.iter().flat_map(|content| content.artifacts.values()) {
                need(&artifact.digest, format!("{name} version {}", past.version));
            }
        }
    }
    let rollouts =
        placements.iter().filter_map(|(name, placement)| Some((name, placement.rollout.as_ref()?)));
    for (name, rollout) in rollouts {
        for artifact in rollout.base.content.artifacts.values() {
            need(&artifact.digest, format!("{name} version {}", rollout.base.version));
        }
    }
    for (host, seen) in hosts {
        for actor in &seen.heartbeat.actors {
            need(&actor.digest, format!("host {host}"));
            if let Some(next) = &actor.next {
                need(&next.digest, format!("host {host}"));
            }
        }
    }
    found
}

/// One thing in the store.
struct Stored {
    what: What,
    size: u64,
    stored_unix_ms: Option<u64>,
    /// None for code: it goes with its component.
    needed_by: BTreeSet<String>,
}

enum What {
    Component(Digest),
    Code(String),
}

impl Stored {
    fn name(&self) -> String {
        match &self.what {
            What::Component(digest) => digest.to_string(),
            What::Code(name) => name.clone(),
        }
    }

    fn record(&self) -> Value {
        let kind = match self.what {
            What::Component(_) => "component",
            What::Code(_) => "code",
        };
        json!({
            "artifact": self.name(), "kind": kind, "bytes": self.size, "storedUnixMs": self.stored_unix_ms,
            "neededBy": self.needed_by,
        })
    }

    fn row(&self) -> Vec<String> {
        let time = self.stored_unix_ms.map(|ms| keys::format_utc(i64::try_from(ms / 1_000).unwrap_or(0)));
        let needed_by = match &self.what {
            // Who asks whether something is needed has seen an actor, not each of its versions.
            What::Component(_) => shortened(&self.needed_by),
            What::Code(_) => "hosts that compile nothing".to_owned(),
        };
        vec![self.name(), format!("{} KiB", self.size.div_ceil(1024)), time.unwrap_or_default(), needed_by]
    }
}

/// The first few.
fn shortened(all: &BTreeSet<String>) -> String {
    const SHOWN: usize = 3;
    let mut text = all.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if all.len() > SHOWN {
        text.push_str(&format!(", {} more", all.len() - SHOWN));
    }
    text
}

/// All that there is, what is needed first.
async fn all(client: &Client, store: &dyn Blobs) -> Result<Vec<Stored>, Report> {
    if !client.is_admin() {
        // The server gives others single artifacts only, and says nothing when they ask for the list.
        return Err(Report::new(ErrorCode::Denied, "what the store keeps is for administrators to see")
            .hint("run it where the lattice's directory is, or as a user with --role admin"));
    }
    let (apps, placements, hosts) = futures::try_join!(client.apps(), client.placements(), client.hosts())?;
    let needed = needed(&apps, &placements, &hosts);
    let mut all = Vec::new();
    for blob in store.list().await? {
        let needed_by = needed.get(blob.digest.to_string().as_str()).cloned().unwrap_or_default();
        let (size, stored_unix_ms) = (blob.size, blob.stored_unix_ms);
        all.push(Stored { what: What::Component(blob.digest), size, stored_unix_ms, needed_by });
    }
    all.sort_by(|a, b| (a.needed_by.is_empty(), &a.needed_by).cmp(&(b.needed_by.is_empty(), &b.needed_by)));
    for NamedBlob { name, size, stored_unix_ms } in store.list_named().await? {
        // What others put here under other names is not ours.
        if host_runtime::native::component_of(&name).is_some() {
            all.push(Stored { what: What::Code(name), size, stored_unix_ms, needed_by: BTreeSet::new() });
        }
    }
    Ok(all)
}

async fn list(args: &Args, client: &Client) -> Outcome {
    let store = client.artifacts().await?;
    let all = all(client, &*store).await?;
    let records: Vec<Value> = all.iter().map(Stored::record).collect();
    let rows = all.iter().map(Stored::row).collect();
    output::table(args, &records, &["artifact", "size", "stored", "needed by"], rows);
    Ok(())
}

async fn prune(args: &Args, client: &Client, options: &PruneArgs) -> Outcome {
    let store = client.artifacts().await?;
    let all = all(client, &*store).await?;
    let mut removed = Vec::new();
    let result = prune_all(client, &*store, options, (all, &mut removed)).await;
    // What went before something failed has gone.
    report(args, client, options, &removed).await;
    result
}

/// Components first: code goes with them, and stays with those that stay after all.
async fn prune_all(
    client: &Client,
    store: &dyn Blobs,
    options: &PruneArgs,
    (all, removed): (Vec<Stored>, &mut Vec<Stored>),
) -> Outcome {
    let end = home::now_unix_ms().saturating_sub(u64::from(options.older_than_h) * 3_600_000);
    let is_old = |one: &Stored| one.stored_unix_ms.is_some_and(|at| at <= end);
    let (mut kept, mut code) = (Vec::new(), Vec::new());
    for one in all {
        match &one.what {
            What::Code(_) if is_old(&one) => code.push(one),
            What::Code(_) => {}
            What::Component(digest) if one.needed_by.is_empty() && is_old(&one) => {
                if options.dry_run || prune_one(client, store, *digest).await? {
                    removed.push(one);
                } else {
                    output::warn(format!("{digest} has just been deployed: it stays"));
                    kept.push(*digest);
                }
            }
            What::Component(digest) => kept.push(*digest),
        }
    }
    if code.is_empty() {
        return Ok(());
    }
    let components = components_in(client, &kept).await?;
    for one in code {
        let name = one.name();
        let component = host_runtime::native::component_of(&name);
        if component.is_some_and(|component| components.contains(&component)) {
            continue;
        }
        if !options.dry_run {
            store.delete_named(&name).await?;
        }
        removed.push(one);
    }
    Ok(())
}

/// The components in these signed files, by their own digests: code is named by those.
async fn components_in(client: &Client, files: &[Digest]) -> Result<BTreeSet<Digest>, Report> {
    let mut components = BTreeSet::new();
    for digest in files {
        let file = artifacts::of_digest(client, *digest).await?;
        // What is no component has no code.
        let parts = keys::split(&file, keys::section::MAX_COMPONENT_BYTES);
        components.extend(parts.map(|parts| Digest::of(parts.body)));
    }
    Ok(components)
}

/// Removes one, unless somebody has come to need it meanwhile, or that cannot be told. Is it gone?
async fn prune_one(client: &Client, store: &dyn Blobs, digest: Digest) -> Result<bool, Report> {
    let file = match artifacts::of_digest(client, digest).await {
        Ok(file) => file,
        // Somebody else was quicker.
        Err(report) if report.code == ErrorCode::ArtifactNotFound => return Ok(true),
        // Nobody can use it; whoever deploys it stores a good one.
        Err(report) if report.code == ErrorCode::Damaged => {
            return store.delete(digest).await.map(|()| true).map_err(Report::from);
        }
        Err(report) => return Err(report),
    };
    store.delete(digest).await?;
    let is_needed = futures::try_join!(client.apps(), client.placements()).map(|(apps, placements)| {
        needed(&apps, &placements, &BTreeMap::new()).contains_key(digest.to_string().as_str())
    });
    match is_needed {
        Ok(false) => Ok(true),
        Ok(true) => store.put(digest, file).await.map(|()| false).map_err(Report::from),
        Err(report) => {
            store.put(digest, file).await?;
            Err(report)
        }
    }
}

async fn report(args: &Args, client: &Client, options: &PruneArgs, removed: &[Stored]) {
    let bytes: u64 = removed.iter().map(|one| one.size).sum();
    if !options.dry_run && !removed.is_empty() {
        let names: Vec<String> = removed.iter().map(Stored::name).collect();
        client.audit("admin.artifact-prune", "artifacts", json!({ "removed": names, "bytes": bytes })).await;
    }
    let records: Vec<Value> = removed.iter().map(Stored::record).collect();
    if !removed.is_empty() || args.output == output::Format::Json {
        let rows = removed.iter().map(Stored::row).map(|row| row.into_iter().take(3).collect()).collect();
        output::table(args, &records, &["artifact", "size", "stored"], rows);
    }
    let verb = if options.dry_run { "would be removed" } else { "removed" };
    output::say(args, format!("{} artifacts {verb}, {} KiB", removed.len(), bytes.div_ceil(1024)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use lattice_protocol::manifest::Application;
    use lattice_protocol::rollout::Content;
    use lattice_protocol::spec::Artifact;

    fn artifact(name: &str) -> Artifact {
        serde_json::from_value(json!({ "digest": name, "size": 1 })).unwrap()
    }

    #[test]
    fn what_is_needed_is_what_runs_what_can_come_back_and_what_a_rollout_left() {
        let name: AppName = "shop".parse().unwrap();
        let mut record = DesiredApp::empty(name.clone());
        let actor = "shop/a".parse().unwrap();
        for version in ["one", "two", "three"] {
            record.artifacts.insert("shop/a".parse().unwrap(), artifact(version));
            record.stamp("me", 0, "put");
        }
        record.history.last_mut().unwrap().content = None;
        let apps = BTreeMap::from([(name.clone(), record.clone())]);
        let found = needed(&apps, &BTreeMap::new(), &BTreeMap::new());
        assert_eq!(found.keys().map(ArtifactDigest::as_str).collect::<Vec<_>>(), ["three", "two"]);
        let who: Vec<&str> = found["three"].iter().map(String::as_str).collect();
        assert_eq!(who, ["shop version 3", "shop/a"]);
        // A rollout that goes back to what no history has any longer.
        let mut placement = Placement::empty(name.clone(), 3);
        let content = Content {
            application: Application::empty(name.clone()),
            artifacts: BTreeMap::from([(actor, artifact("one"))]),
        };
        let rollout = json!({
            "base": { "version": 1, "content": content }, "phase": { "is": "advancing" }, "actors": {},
        });
        placement.rollout = Some(serde_json::from_value(rollout).unwrap());
        let found = needed(&apps, &BTreeMap::from([(name, placement)]), &BTreeMap::new());
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn few_names_are_shown() {
        let all = |n: u32| (0..n).map(|n| n.to_string()).collect();
        assert_eq!(shortened(&all(0)), "");
        assert_eq!(shortened(&all(3)), "0, 1, 2");
        assert_eq!(shortened(&all(5)), "0, 1, 2, 2 more");
    }
}
