//! What hosts have forwarded of the journals of their pinned actors: read, checked and folded here, because the
//! host may be away.

use crate::args::Args;
use crate::client::Client;
use crate::commands::Outcome;
use crate::{home, keyfile, output};
use host_actors::forward::copy;
use host_actors::forward::copy::actor::{ActorCopy, CopyLabel, CopyVerified};
use host_actors::shard::StateView;
use host_runtime::wiring::Wiring;
use host_runtime::{KindOptions, PersistentKind, Runtime, RuntimeConfig};
use keys::{Digest, VerifyPolicy};
use lattice_protocol::entity::Moment;
use lattice_protocol::forwarding::{ForwardedCheckpoint, Forwarding};
use lattice_protocol::{ActorId, EntityKey, ErrorCode, HostId, Report};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// Hosts whose journals are looked through when nothing says whose it is.
const MOST_HOSTS: usize = 16;

/// Where from.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct CopyArgs {
    /// Read what was forwarded into the lattice, whatever the host says. Without it, only when no host answers.
    #[arg(long)]
    pub copy: bool,
    /// The host whose forwarded journal is read (durability device); implies --copy.
    #[arg(long, value_name = "HOST")]
    pub host: Option<HostId>,
    /// What that host encrypts snapshots with, if it does: for a state whose older commits are not in the lattice any
    /// more.
    #[arg(long, value_name = "FILE")]
    pub snapshot_key: Option<PathBuf>,
}

impl CopyArgs {
    /// Is the copy asked for?
    pub fn is_wanted(&self) -> bool {
        self.copy || self.host.is_some()
    }
}

/// Finds what has arrived of an actor: of the host that is named, or of those that its kind is placed on, or of
/// all when they are few.
///
/// # Errors
/// `E_NOT_FOUND`, `E_ACTOR_NOT_FOUND`; `E_USAGE` when a host has to be named; what is wrong with a copy.
pub async fn find(client: &Client, key: &EntityKey, from: &CopyArgs) -> Result<ActorCopy, Report> {
    let mut reason = Report::new(ErrorCode::NotFound, "nothing of this actor has been forwarded").at(key);
    let snapshot_key = from.snapshot_key.as_deref().map(keyfile::read_snapshot_key).transpose()?;
    for host in candidates(client, key, from).await? {
        let wanted = copy::actor::Wanted { host: &host, key, snapshot_key: snapshot_key.clone() };
        match copy::actor::read(&client.lattice.lanes, &client.subjects, wanted).await {
            Ok(found) => return Ok(found),
            Err(report) if is_absent(&report) => reason = report,
            Err(report) => return Err(report),
        }
    }
    Err(reason)
}

/// Is there just nothing?
pub fn is_absent(report: &Report) -> bool {
    matches!(report.code, ErrorCode::NotFound | ErrorCode::ActorNotFound)
}

/// Hosts that may have something of an actor: the one that is named, those that its kind is placed on, or all.
///
/// # Errors
/// `E_USAGE`: one has to be named.
pub async fn candidates(client: &Client, key: &EntityKey, from: &CopyArgs) -> Result<Vec<HostId>, Report> {
    if let Some(host) = &from.host {
        return Ok(vec![host.clone()]);
    }
    let all = copy::hosts(&*client.lattice.lanes, &client.subjects).await?;
    let all: Vec<HostId> = all.into_iter().map(|(host, _)| host).collect();
    let mut placed = BTreeSet::new();
    if let Some((actor, _)) = component(client, key).await? {
        let placements = client.placements().await?;
        let places = placements.get(&actor.app).and_then(|placement| placement.actors.get(&actor));
        placed.extend(places.into_iter().flat_map(|places| places.keys().cloned()));
    }
    if all.len() > MOST_HOSTS && !all.iter().any(|host| placed.contains(host)) {
        return Err(Report::new(ErrorCode::Usage, "many hosts have forwarded their journals")
            .at(key)
            .got(format!("{} hosts", all.len()))
            .hint("name the one that the actor was on: --host; see: trellis actor forwarded"));
    }
    let (mut first, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|host| placed.contains(host));
    if first.is_empty() || others.len() <= MOST_HOSTS {
        first.extend(others);
    }
    Ok(first)
}

/// The actor of the manifest that a kind is, and its component.
async fn component(client: &Client, key: &EntityKey) -> Result<Option<(ActorId, Digest)>, Report> {
    for (app, record) in client.apps().await? {
        let mut actors = record.application.actors.iter();
        let found = actors.find(|actor| {
            actor.persistent.as_ref().is_some_and(|persistent| persistent.kind_of(&actor.name) == key.kind)
        });
        if let Some(actor) = found {
            let id = ActorId::new(app, actor.name.clone());
            let digest = record.artifacts.get(&id).and_then(|artifact| artifact.digest.parse().ok());
            return Ok(digest.map(|digest| (id, digest)));
        }
    }
    Ok(None)
}

/// Its state at a moment: folded in this process by the component that is deployed, which reaches nothing.
///
/// # Errors
/// What is missing; what the component says.
pub async fn state(client: &Client, found: &ActorCopy, moment: Moment) -> Result<StateView, Report> {
    let (actor, digest) = component(client, &found.key).await?.ok_or_else(|| {
        Report::new(
            ErrorCode::ActorNotFound,
            format!("no application has an actor of kind {}", found.key.kind),
        )
        .hint("its commits are shown by: trellis actor journal --copy")
    })?;
    let anchors = client.context.trust()?.ok_or_else(|| {
        Report::new(ErrorCode::Untrusted, "this machine does not know whose components count").hint(
            "use the lattice's directory: trellis config set --dir; commits need none: trellis actor journal",
        )
    })?;
    let file = client.artifacts().await?.get(digest).await?;
    let now_s = i64::try_from(home::now_unix_ms() / 1_000).unwrap_or(i64::MAX);
    let claims = keys::verify(&file, &anchors, now_s, &VerifyPolicy::ACTOR)
        .map_err(|error| crate::component::claims_report(&error).at(&actor))?;
    let runtime = Runtime::new(RuntimeConfig::default())?;
    let component = runtime.load(claims, file).await?;
    let options = KindOptions {
        id: actor.clone(),
        lattice: client.context.lattice.clone(),
        host: found.host.clone(),
        limits: lattice_protocol::Limits::default(),
        turn_ms: lattice_protocol::Persistent::default().turn_ms,
        states: 1,
        config: std::collections::BTreeMap::new(),
    };
    let kind = PersistentKind::start(&runtime, component, options, Arc::new(Wiring::default())).await?;
    let state = found.state((actor, Arc::clone(&kind) as _), moment).await;
    kind.stop().await;
    state
}

/// Says where an answer is from.
pub fn say(args: &Args, label: &CopyLabel) {
    if args.output == output::Format::Json {
        return;
    }
    let age_s = home::now_unix_ms().saturating_sub(label.sent_ms) / 1_000;
    let missing = match label.missing {
        0 => String::new(),
        missing => format!(", {missing} records before it are missing"),
    };
    let anew = if label.is_newest { "" } else { "; the host has begun another journal since" };
    output::warn(format!(
        "from what host {} has forwarded: record {}, sent {age_s} s ago{missing}{anew}",
        label.host, label.record
    ));
}

/// A value with its label in it.
pub fn labelled(mut value: Json, label: &CopyLabel) -> Json {
    if let Some(fields) = value.as_object_mut() {
        fields.insert("copy".to_owned(), json!(label));
    }
    value
}

/// `trellis actor verify` of a copy.
///
/// # Errors
/// `E_DAMAGED`.
pub fn verify(args: &Args, found: &ActorCopy) -> Outcome {
    let (verified, label) = (found.verify()?, found.label());
    say(args, &label);
    if args.output == output::Format::Json {
        output::json(&labelled(json!(verified), &label));
        return Ok(());
    }
    output::say(args, format!("{}: {}", verified.key, commits(&verified)));
    if let Some(commit) = verified.snapshot {
        output::say(args, format!("a forwarded snapshot stands for everything up to commit {commit}"));
    }
    let (first, last) = verified.records;
    output::say(
        args,
        format!("journal of {}: records {first} to {last}, each follows from the one before", label.host),
    );
    for (first, last, why) in &verified.gaps {
        output::say(args, format!("missing: records {first} to {last}, {why}"));
    }
    Ok(())
}

/// Which of its commits are there, and whether they are all.
fn commits(verified: &CopyVerified) -> String {
    let there = match verified.commits {
        (0, _) => return "none of its commits is there".to_owned(),
        (first, last) if first == last => format!("commit {first} is there"),
        (first, last) => format!("commits {first} to {last} are there"),
    };
    match (&verified.history, verified.missing_commits, verified.commits.0) {
        (Some(history), ..) => format!("{there}; each follows from the one before: history {history}"),
        (None, 0, _) => format!("{there}; what was before is not"),
        (None, missing, 1) => format!("{there}, but for {missing} between them"),
        (None, missing, _) => format!("{there}, but for {missing} between them; what was before is not"),
    }
}

/// `trellis actor forwarded`: whose journals are in the lattice, and how far those hosts are.
pub async fn list(args: &Args, client: &Client) -> Outcome {
    let copies = copy::hosts(&*client.lattice.lanes, &client.subjects).await?;
    let hosts = client.hosts().await?;
    let status =
        |host: &HostId| -> Option<Forwarding> { hosts.get(host)?.heartbeat.forwarding.as_deref().cloned() };
    let known = copies.iter().map(|(host, _)| host.clone());
    let forwarding = hosts.iter().filter(|(_, seen)| seen.heartbeat.forwarding.is_some());
    let all: BTreeSet<HostId> = known.chain(forwarding.map(|(host, _)| host.clone())).collect();
    let messages =
        |host: &HostId| copies.iter().find(|(known, _)| known == host).map_or(0, |(_, count)| *count);
    let records: Vec<Json> = all
        .iter()
        .map(|host| json!({ "host": host, "messages": messages(host), "forwarding": status(host) }))
        .collect();
    let rows = all.iter().map(|host| {
        let status = status(host);
        let text = |of: &dyn Fn(&Forwarding) -> String| status.as_ref().map_or_else(|| "-".to_owned(), of);
        vec![
            host.to_string(),
            messages(host).to_string(),
            text(&|status| status.state.word().to_owned()),
            text(&|status| status.through.to_string()),
            text(&|status| format!("{} ({} KiB)", status.records, status.bytes.div_ceil(1 << 10))),
            text(&|status| format!("{} s", status.oldest_ms / 1_000)),
            text(&|status| status.dropped.to_string()),
            text(&|status| status.checkpoint.as_ref().map_or_else(|| "-".to_owned(), checkpoint)),
            text(&|status| why(status)),
        ]
    });
    let header =
        &["host", "messages", "state", "through", "waiting", "oldest", "let go", "checkpoint", "why"];
    output::table(args, &records, header, rows.collect());
    Ok(())
}

/// How far the checkpoint that is there stands, and how old it is.
fn checkpoint(checkpoint: &ForwardedCheckpoint) -> String {
    match checkpoint.through {
        0 => "none".to_owned(),
        through => format!("{through} ({} s)", checkpoint.age_ms / 1_000),
    }
}

/// Why it does not go on, or no newer checkpoint is there.
fn why(status: &Forwarding) -> String {
    let checkpoint = status.checkpoint.as_ref().and_then(|checkpoint| checkpoint.reason.as_ref());
    status.reason.as_ref().or(checkpoint).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_of_an_actor_is_said_as_it_is() {
        let said = |of: (u64, u64), missing_commits, history: Option<&str>| {
            commits(&CopyVerified {
                key: "account/a-1".parse().unwrap(),
                commits: of,
                missing_commits,
                snapshot: None,
                history: history.map(str::to_owned),
                records: (1, 9),
                gaps: Vec::new(),
                repeated: 0,
            })
        };
        assert_eq!(
            said((1, 4), 0, Some("87db")),
            "commits 1 to 4 are there; each follows from the one before: history 87db"
        );
        assert_eq!(said((0, 0), 0, None), "none of its commits is there");
        assert_eq!(said((7, 7), 0, None), "commit 7 is there; what was before is not");
        assert_eq!(said((1, 9), 3, None), "commits 1 to 9 are there, but for 3 between them");
        assert_eq!(
            said((4, 9), 2, None),
            "commits 4 to 9 are there, but for 2 between them; what was before is not"
        );
    }
}
