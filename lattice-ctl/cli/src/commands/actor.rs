//! `trellis actor`: what persistent actors there are, what they have done, what their state was at any
//! moment that is kept, and what was set aside.

pub mod copy;
mod delete;
mod erase;
mod moment;

use crate::args::Args;
use crate::client::Client;
use crate::commands::{Outcome, entity};
use crate::output;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Subcommand;
use copy::CopyArgs;
use host_actors::forward::copy::actor::ActorCopy;
use lattice_protocol::entity::{EntityAsk, Moment};
use lattice_protocol::event::rfc3339;
use lattice_protocol::{Address, EntityId, EntityKey, ErrorCode, HostId, KindName, Report};
use moment::moment;
use serde_json::Value as Json;
use std::collections::BTreeSet;

/// Patience for one question, milliseconds. Folding a long history takes its time.
const PATIENCE_MS: u64 = 60_000;

/// What to look at.
#[derive(Debug, Subcommand)]
pub enum ActorCommand {
    /// List persistent actors of one kind, or of every kind that is deployed.
    List {
        /// The kind.
        kind: Option<KindName>,
    },
    /// Show an actor's state, as its component saves it.
    State {
        /// Which: kind/id, or app/kind/id.
        actor: Address,
        /// Where from.
        #[command(flatten)]
        from: CopyArgs,
    },
    /// Show what an actor has done: its commits, with their events and effects.
    Journal {
        /// Which: kind/id, or app/kind/id.
        actor: Address,
        /// The first commit to show.
        #[arg(long, default_value_t = 0, value_name = "SEQ")]
        from: u64,
        /// How many commits to show at most.
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: u32,
        /// Where from.
        #[command(flatten)]
        source: CopyArgs,
    },
    /// Show an actor's state as it was.
    History {
        /// Which: kind/id, or app/kind/id.
        actor: Address,
        /// When: a commit's number, or a time such as 2026-11-28T17:00:00Z.
        #[arg(long, value_name = "SEQ|TIME", value_parser = moment)]
        at: Moment,
        /// Where from.
        #[command(flatten)]
        from: CopyArgs,
    },
    /// Fold an actor's history in every way there is, and compare.
    Verify {
        /// Which: kind/id, or app/kind/id.
        actor: Address,
        /// Where from.
        #[command(flatten)]
        from: CopyArgs,
    },
    /// Show whose journals (durability device) have been forwarded into the lattice, and how far those hosts are.
    Forwarded,
    /// Delete everything that an actor is: state, history, timers, effects that wait. For good: its id is not
    /// used again.
    Delete {
        /// Which: kind/id, or app/kind/id.
        actor: Address,
        /// Do not ask whether it is meant.
        #[arg(long)]
        yes: bool,
    },
    /// Erase what a deleted actor had done from what its host has forwarded into the lattice (durability device), and
    /// what others did in the same messages. Their state stays; their history there has a gap that says so.
    Erase {
        /// Which: kind/id, or app/kind/id.
        actor: Address,
        /// The host whose forwarded journal it is. Without it, each that the actor may have been on.
        #[arg(long, value_name = "HOST")]
        host: Option<HostId>,
        /// Do not ask whether it is meant.
        #[arg(long)]
        yes: bool,
    },
    /// List what was set aside: commands that keep trapping, messages that were refused, dead letters.
    Quarantine {
        /// The kind.
        kind: KindName,
    },
    /// Send again what was set aside: a command, or a message that nobody took.
    Replay {
        /// The kind.
        kind: KindName,
        /// Its id, as `quarantine` shows it.
        id: String,
    },
    /// Forget something that was set aside.
    Discard {
        /// The kind.
        kind: KindName,
        /// Its id, as `quarantine` shows it.
        id: String,
    },
}

/// Runs it.
pub async fn run(args: &Args, command: &ActorCommand) -> Outcome {
    match command {
        ActorCommand::Delete { actor, yes: false } => {
            delete::confirm(actor, "delete it with its history, for good?")?
        }
        ActorCommand::Erase { actor, yes: false, .. } => {
            delete::confirm(
                actor,
                "erase what it had done from what was forwarded, and what others did beside it, for good?",
            )?;
        }
        _ => {}
    }
    let client = Client::connect(args).await?;
    let result = connected(args, &client, command).await;
    client.close().await;
    result
}

async fn connected(args: &Args, client: &Client, command: &ActorCommand) -> Outcome {
    match command {
        ActorCommand::List { kind } => list(args, client, kind.as_ref()).await,
        ActorCommand::State { actor, from } => state(args, client, (actor, from), Moment::Last).await,
        ActorCommand::History { actor, at, from } => state(args, client, (actor, from), *at).await,
        ActorCommand::Journal { actor, from, limit, source } => {
            journal(args, client, (actor, source), (*from, *limit)).await
        }
        ActorCommand::Forwarded => copy::list(args, client).await,
        ActorCommand::Verify { actor, from } => {
            let ask = EntityAsk::Verify { key: actor.key.clone() };
            let found = match answer(client, (actor, from), ask).await? {
                Answer::Host(found) => found,
                Answer::Copy(found) => return copy::verify(args, &found),
            };
            let ways = field(&found, "ways").as_array().into_iter().flatten();
            let ways: Vec<String> = ways.map(text).collect();
            let state = text(field(&found, "state"));
            let folded = format!("folded {}, twice each", ways.join(", "));
            output::say(args, format!("{}: {folded}: always the same state, {state}", actor.key));
            if args.output == output::Format::Json {
                output::json(&found);
            }
            Ok(())
        }
        ActorCommand::Delete { actor, .. } => delete::run(args, client, actor).await,
        ActorCommand::Erase { actor, host, .. } => erase::run(args, client, (actor, host.as_ref())).await,
        ActorCommand::Quarantine { kind } => quarantine(args, client, kind).await,
        ActorCommand::Replay { kind, id } => {
            everywhere(client, kind, &EntityAsk::Replay { id: id.clone() }).await?;
            client.audit("admin.actor-replay", id, serde_json::json!({ "kind": kind })).await;
            output::say(args, format!("{id} was sent again, and is set aside no more"));
            Ok(())
        }
        ActorCommand::Discard { kind, id } => {
            let found = everywhere(client, kind, &EntityAsk::Discard { id: id.clone() }).await?;
            if !found.contains(&Json::Bool(true)) {
                return Err(Report::new(ErrorCode::NotFound, "nothing of this id is set aside").got(id));
            }
            client.audit("admin.actor-discard", id, serde_json::json!({ "kind": kind })).await;
            output::say(args, format!("{id} is forgotten"));
            Ok(())
        }
    }
}

/// For what is asked of a kind rather than of an actor.
fn of_kind(kind: &KindName) -> Result<Address, Report> {
    Ok(Address { app: None, key: EntityKey::new(kind.clone(), EntityId::new("-")?) })
}

/// What each host says that runs the kind: of what it owns.
async fn everywhere(client: &Client, kind: &KindName, ask: &EntityAsk) -> Result<Vec<Json>, Report> {
    let mut answers = Vec::new();
    let hosts = client.hosts().await?;
    for host in hosts.iter().filter(|(_, seen)| seen.answered).map(|(host, _)| host) {
        match entity::ask_host(client, (kind, host), ask.clone()).await {
            Ok(answer) => answers.push(answer),
            // It does not run the kind, or has not what is asked for.
            Err(report) if matches!(report.code, ErrorCode::Connection | ErrorCode::NotFound) => {}
            Err(report) => return Err(report),
        }
    }
    if answers.is_empty() {
        // Why nobody answers.
        answers.push(asked(client, &of_kind(kind)?, ask.clone()).await?);
    }
    Ok(answers)
}

async fn asked(client: &Client, address: &Address, ask: EntityAsk) -> Result<Json, Report> {
    let (_, reply) = entity::ask(client, address, ask, (&[], PATIENCE_MS)).await?;
    serde_json::from_slice(&reply)
        .map_err(|error| Report::new(ErrorCode::Malformed, format!("answer of the host: {error}")))
}

/// Whose answer it is.
enum Answer {
    /// Of the host that has the actor.
    Host(Json),
    /// What was forwarded of it.
    Copy(Box<ActorCopy>),
}

/// The host's answer; when no host gives one, or it is asked for, what was forwarded of the actor.
async fn answer(
    client: &Client,
    (actor, from): (&Address, &CopyArgs),
    ask: EntityAsk,
) -> Result<Answer, Report> {
    if from.is_wanted() {
        return copy::find(client, &actor.key, from).await.map(|found| Answer::Copy(Box::new(found)));
    }
    match asked(client, actor, ask).await {
        Ok(found) => Ok(Answer::Host(found)),
        Err(report) if matches!(report.code, ErrorCode::Connection | ErrorCode::Timeout) => {
            match copy::find(client, &actor.key, from).await {
                Ok(found) => Ok(Answer::Copy(Box::new(found))),
                Err(other) if copy::is_absent(&other) || other.code == ErrorCode::Usage => Err(report),
                Err(other) => Err(other),
            }
        }
        Err(report) => Err(report),
    }
}

fn field<'v>(value: &'v Json, name: &str) -> &'v Json {
    value.get(name).unwrap_or(&Json::Null)
}

fn text(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// What was encoded, as text where it is text.
fn readable(value: &Json) -> String {
    let encoded = value.as_str().unwrap_or_default();
    match BASE64.decode(encoded).map(String::from_utf8) {
        Ok(Ok(text)) if !text.chars().any(|c| c.is_control() && c != '\n') => text,
        _ => format!("base64:{encoded}"),
    }
}

fn when(value: &Json) -> String {
    value.as_u64().map_or_else(|| "-".to_owned(), rfc3339)
}

fn rows<'v>(value: &'v Json, row: impl Fn(&'v Json) -> Vec<String>) -> Vec<Vec<String>> {
    value.as_array().map(|items| items.iter().map(row).collect()).unwrap_or_default()
}

/// The kinds of everything that is deployed.
async fn kinds(client: &Client) -> Result<BTreeSet<KindName>, Report> {
    let apps = client.apps().await?;
    let actors = apps.values().flat_map(|record| &record.application.actors);
    Ok(actors.filter_map(|actor| Some(actor.persistent.as_ref()?.kind_of(&actor.name))).collect())
}

async fn list(args: &Args, client: &Client, kind: Option<&KindName>) -> Outcome {
    let kinds = match kind {
        Some(kind) => BTreeSet::from([kind.clone()]),
        None => kinds(client).await?,
    };
    let mut found = Vec::new();
    for kind in &kinds {
        match everywhere(client, kind, &EntityAsk::List).await {
            Ok(listings) => {
                let waiting = listings.iter().filter_map(|listing| field(listing, "outbox").as_u64());
                let waiting: u64 = waiting.sum();
                if waiting > 0 {
                    output::say(args, format!("{kind}: effects that wait to be carried out: {waiting}"));
                }
                let actors = listings.iter().filter_map(|listing| field(listing, "actors").as_array());
                found.extend(actors.flatten().cloned());
            }
            Err(report) if kinds.len() > 1 => output::warn(report.to_string()),
            Err(report) => return Err(report),
        }
    }
    found.sort_by_cached_key(|line| text(field(line, "key")));
    let found = Json::Array(found);
    let row = |line: &Json| {
        let state = if field(line, "active") == true { "active" } else { "passive" };
        let state =
            field(line, "failing").as_str().map_or_else(|| state.to_owned(), |why| format!("failing: {why}"));
        vec![text(field(line, "key")), state, text(field(line, "seq")), text(field(line, "timers"))]
    };
    let rows = rows(&found, row);
    output::table(args, &found, &["ACTOR", "STATE", "COMMIT", "TIMERS"], rows);
    Ok(())
}

async fn state(args: &Args, client: &Client, (actor, from): (&Address, &CopyArgs), at: Moment) -> Outcome {
    let ask = EntityAsk::State { key: actor.key.clone(), at };
    let found = match answer(client, (actor, from), ask).await? {
        Answer::Host(found) => found,
        Answer::Copy(found) => {
            copy::say(args, &found.label());
            let state = copy::state(client, &found, at).await?;
            copy::labelled(serde_json::json!(state), &found.label())
        }
    };
    if args.output == output::Format::Json {
        output::json(&found);
        return Ok(());
    }
    output::say(
        args,
        format!("{} after commit {}, {}", actor.key, field(&found, "seq"), when(field(&found, "atMs"))),
    );
    output::raw(&readable(field(&found, "state")));
    Ok(())
}

async fn journal(
    args: &Args,
    client: &Client,
    (actor, source): (&Address, &CopyArgs),
    (from, most): (u64, u32),
) -> Outcome {
    let ask = EntityAsk::Journal { key: actor.key.clone(), from, most };
    let found = match answer(client, (actor, source), ask).await? {
        Answer::Host(found) => found,
        Answer::Copy(found) => {
            copy::say(args, &found.label());
            let commits = found.journal(from, usize::try_from(most).unwrap_or(usize::MAX))?;
            let commits =
                commits.iter().map(|commit| copy::labelled(serde_json::json!(commit), &found.label()));
            Json::Array(commits.collect())
        }
    };
    let row = |commit: &Json| {
        let events = rows(field(commit, "events"), |event| {
            vec![format!(
                "{} v{} {}",
                text(field(event, "name")),
                field(event, "version"),
                readable(field(event, "payload"))
            )]
        });
        let effects = rows(field(commit, "effects"), |effect| vec![format!("→ {}", text(effect))]);
        let did: Vec<String> = events.into_iter().chain(effects).flatten().collect();
        vec![
            text(field(commit, "seq")),
            when(field(commit, "atMs")),
            text(field(commit, "command")),
            did.join("\n"),
        ]
    };
    let rows = rows(&found, row);
    output::table(args, &found, &["COMMIT", "TIME", "COMMAND", "EVENTS AND EFFECTS"], rows);
    Ok(())
}

async fn quarantine(args: &Args, client: &Client, kind: &KindName) -> Outcome {
    let found = everywhere(client, kind, &EntityAsk::SetAside).await?;
    let all = found.iter().filter_map(Json::as_array).flatten().cloned();
    let found = Json::Array(all.collect());
    let row = |aside: &Json| {
        let said = field(field(aside, "report"), "what");
        let command = format!("{} {}", text(field(aside, "name")), readable(field(aside, "body")));
        vec![
            text(field(aside, "id")),
            when(field(aside, "atMs")),
            text(field(aside, "actor")),
            text(field(aside, "why")),
            command,
            text(said),
        ]
    };
    let rows = rows(&found, row);
    output::table(args, &found, &["ID", "SINCE", "ACTOR", "WHY", "COMMAND", "SAID"], rows);
    Ok(())
}
