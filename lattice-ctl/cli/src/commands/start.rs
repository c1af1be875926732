//! `trellis start actor|provider`: edits of what is desired, so that they survive the host.

use crate::app_files::{Source, artifact_of, source_of};
use crate::args::Args;
use crate::client::{Applied, Client};
use crate::commands::{Outcome, app};
use crate::component::claims_report;
use crate::{artifacts, home, native, output, reference};
use bytes::Bytes;
use clap::Subcommand;
use lattice_ctl_planner::edit::{Change, StartActor, StartProvider};
use lattice_protocol::manifest;
use lattice_protocol::name::ProviderName;
use lattice_protocol::{ActorId, ActorName, AppName, ErrorCode, HostId, LinkName, Report};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// What to start.
#[derive(Debug, Subcommand)]
pub enum StartCommand {
    /// Start an actor: a signed component, or the name that it was signed under.
    Actor(StartActorArgs),
    /// Start a provider: one of the built-in kinds, or an image that one stands in for.
    Provider(StartProviderArgs),
}

/// Which actor, and where.
#[derive(Debug, clap::Args)]
pub struct StartActorArgs {
    /// A file, `sha256:…`, `oci://…`, or a name (app/name, or a bare one).
    pub actor: String,
    /// Its name, when a file is given. Default: the name in its claims.
    #[arg(long)]
    pub name: Option<ActorName>,
    /// Hosts it is confined to.
    #[arg(long, value_delimiter = ',', value_name = "ID,…")]
    pub hosts: Vec<HostId>,
    /// One on each of these hosts.
    #[arg(long)]
    pub spread: bool,
    /// How many.
    #[arg(long, value_name = "N")]
    pub max: Option<u32>,
    /// Link name that later links to it take.
    #[arg(long, value_name = "NAME")]
    pub link_name: Option<LinkName>,
    /// Wait until it runs, at most this many seconds.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "30")]
    pub wait: Option<u64>,
}

/// Which provider.
#[derive(Debug, clap::Args)]
pub struct StartProviderArgs {
    /// Kind, or image.
    pub provider: String,
    /// Its name. Default: its kind.
    #[arg(long)]
    pub name: Option<ProviderName>,
    /// Its application. Default: the one of imperative commands.
    #[arg(long, value_name = "APP")]
    pub app: Option<AppName>,
    /// Hosts: must be known. A provider runs wherever an actor linked to it runs.
    #[arg(long, value_delimiter = ',', value_name = "ID,…")]
    pub hosts: Vec<HostId>,
    /// Link name that later links to it take.
    #[arg(long, value_name = "NAME")]
    pub link_name: Option<LinkName>,
    /// A value of its configuration; may be repeated.
    #[arg(long = "config", value_name = "KEY=VALUE", value_parser = crate::commands::host::label)]
    pub config: Vec<(String, String)>,
}

/// Runs it.
pub async fn run(args: &Args, command: &StartCommand) -> Outcome {
    let client = Client::connect(args).await?;
    let result = match command {
        StartCommand::Actor(start) => actor(args, &client, start).await,
        StartCommand::Provider(start) => provider(args, &client, start).await,
    };
    client.close().await;
    result
}

/// Prints what an imperative edit did.
pub fn accepted(args: &Args, what: &str, applied: &Applied) {
    let app = &applied.record.application.name;
    output::say(args, format!("{what}: accepted, application {app} version {}", applied.record.version));
    for note in &applied.notes {
        output::say(args, format!("  {note}"));
    }
    if args.output == output::Format::Json {
        output::json(
            &json!({ "done": what, "app": app, "version": applied.record.version, "notes": applied.notes }),
        );
    }
}

/// The component that is meant, and how it was named: none for a name under which nothing was signed here.
async fn component(args: &Args, client: &Client, text: &str) -> Result<Option<(String, Bytes)>, Report> {
    let is_path = text.ends_with(".wasm") || text.contains("://") || text.starts_with("sha256:");
    let source = match (is_path, home::signed_file(text.rsplit('/').next().unwrap_or(text))) {
        (false, Some(path)) => Source::File(path),
        (false, None) => return Ok(None),
        (true, _) => source_of(text, Path::new(""))?,
    };
    let file = artifacts::of_source(args, client, &source).await.map_err(|report| match source {
        Source::Registry(_) => report.during("actor start failed"),
        _ => report,
    })?;
    let name = match source {
        Source::File(path) => path.display().to_string(),
        _ => text.to_owned(),
    };
    Ok(Some((name, file)))
}

/// The name in its claims; refuses what no host would run.
fn claimed_name(reference: &str, file: &[u8]) -> Result<String, Report> {
    let invalid = |error: keys::ClaimsError| {
        claims_report(&error).during("actor start failed: invalid claim").at(reference)
    };
    let split = keys::split(file, keys::section::MAX_COMPONENT_BYTES)
        .map_err(|error| claims_report(&error).at(reference))?;
    let token = split.token.ok_or(keys::ClaimsError::Unsigned).map_err(invalid)?;
    let claims = keys::token::parse(token).map_err(invalid)?.claims;
    claims.check_time(home::now_unix(), keys::VerifyPolicy::ACTOR.clock_skew_seconds).map_err(invalid)?;
    Ok(claims.name)
}

async fn actor(args: &Args, client: &Client, start: &StartActorArgs) -> Outcome {
    let component = component(args, client, &start.actor).await?;
    let is_reference = component.as_ref().is_some_and(|(reference, _)| *reference == start.actor);
    let (mut artifact, mut pushed_file) = (None, None);
    let mut name = start.name.clone();
    if let Some((reference, file)) = component {
        let claimed = claimed_name(&reference, &file)?;
        if is_reference && name.is_none() {
            name = Some(ActorName::new(&claimed).map_err(|error| {
                Report::new(ErrorCode::Name, error.to_string())
                    .at("name in its claims")
                    .hint("give another: --name <name>")
            })?);
        }
        let pushed = artifact_of(&file);
        let (digest, hosts) = futures::try_join!(client.push(file.clone()), client.hosts())?;
        native::for_hosts(args, client, &hosts, [(reference, &file)].into_iter()).await?;
        // Desired state never names a file of this machine.
        artifact = Some((digest.to_string(), pushed));
        pushed_file = Some(file);
    }
    let id: ActorId = match name {
        Some(name) => ActorId::new(AppName::imperative(), name),
        None => start.actor.parse().map_err(|error: lattice_protocol::name::NameError| {
            Report::new(ErrorCode::Name, error.to_string())
        })?,
    };
    let command = StartActor {
        name: id.name.clone(),
        artifact,
        hosts: start.hosts.clone(),
        spread: start.spread,
        max: start.max,
        link_name: start.link_name.clone(),
    };
    let applied = client.change(&id.app, &Change::StartActor(command)).await?;
    if let Some(file) = pushed_file {
        client.hold(&file).await?;
    }
    if let Some(seconds) = start.wait {
        app::wait_until_running(args, client, &applied.record, Duration::from_secs(seconds)).await?;
    }
    accepted(args, &format!("start actor {id}"), &applied);
    Ok(())
}

async fn provider(args: &Args, client: &Client, start: &StartProviderArgs) -> Outcome {
    let command = StartProvider {
        reference: start.provider.clone(),
        name: start.name.clone(),
        hosts: start.hosts.clone(),
        link_name: start.link_name.clone(),
        config: start.config.iter().cloned().collect(),
    };
    let app = start.app.clone().unwrap_or_else(AppName::imperative);
    let mut applied = client.change(&app, &Change::StartProvider(command)).await?;
    // The edit names it as it was told, or by its kind.
    let kind = manifest::kind_of_image(&start.provider).unwrap_or(&start.provider);
    let name = start.name.as_ref().map_or(kind, ProviderName::as_str);
    let providers = &applied.record.application.providers;
    if let Some(provider) = providers.iter().find(|provider| provider.name.as_str() == name) {
        let id = reference::provider_id(&app, &provider.name);
        applied.notes.insert(0, format!("provider {app}/{}, id {id}", provider.name));
    }
    accepted(args, &format!("start provider {}", start.provider), &applied);
    Ok(())
}
