//! `trellis scale actor`: how many, and where.

use crate::args::Args;
use crate::client::Client;
use crate::commands::{Outcome, app, start::accepted};
use crate::reference;
use clap::Subcommand;
use lattice_ctl_planner::edit::{Change, ScaleActor};
use lattice_protocol::HostId;
use std::time::Duration;

/// What to scale.
#[derive(Debug, Subcommand)]
pub enum ScaleCommand {
    /// Change how many replicas of an actor run, or where they may run, or both.
    Actor {
        /// Which: app/name, a bare name, or its module key.
        actor: String,
        /// Hosts it is confined to from now on.
        #[arg(long, value_delimiter = ',', value_name = "ID,…")]
        hosts: Vec<HostId>,
        /// How many. Default: as many as before.
        #[arg(long, value_name = "N", required_unless_present = "hosts")]
        max: Option<u32>,
        /// Wait until all run, at most this many seconds.
        #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "30")]
        wait: Option<u64>,
    },
}

/// Runs it.
pub async fn run(args: &Args, command: &ScaleCommand) -> Outcome {
    let ScaleCommand::Actor { actor, hosts, max, wait } = command;
    let client = Client::connect(args).await?;
    let result = scale(args, &client, (actor, hosts, *max, *wait)).await;
    client.close().await;
    result
}

async fn scale(
    args: &Args,
    client: &Client,
    (actor, hosts, max, wait): (&str, &[HostId], Option<u32>, Option<u64>),
) -> Outcome {
    let id = reference::find_actor(client, actor).await?;
    let change = Change::ScaleActor(ScaleActor { name: id.name.clone(), hosts: hosts.to_vec(), max });
    let applied = client.change(&id.app, &change).await?;
    if let Some(seconds) = wait {
        app::wait_until_running(args, client, &applied.record, Duration::from_secs(seconds)).await?;
    }
    accepted(args, &format!("scale actor {id}"), &applied);
    Ok(())
}
