//! `trellis scale actor`: how many, and where.

use crate::args::Args;
use crate::client::Client;
use crate::commands::{Outcome, app, start::accepted};
use crate::reference;
use clap::Subcommand;
use lattice_ctl_planner::edit::{self, ScaleActor};
use lattice_protocol::manifest::Scale;
use lattice_protocol::{ErrorCode, HostId, Report};
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
    let known = client.known_hosts().await?;
    let applied = client
        .apply(&id.app, |record| {
            let have = record.application.actor(&id.name).map(|actor| actor.scale);
            let max = match (max, have) {
                (Some(max), _) => max,
                (None, Some(Scale::Replicas(have))) => have,
                (None, _) => {
                    return Err(Report::new(ErrorCode::Usage, "it runs on every host")
                        .at(&id)
                        .hint("say how many: --max N"));
                }
            };
            edit::scale_actor(
                record,
                &ScaleActor { name: id.name.clone(), hosts: hosts.to_vec(), max },
                &known,
            )
        })
        .await?;
    if let Some(seconds) = wait {
        app::wait_until_running(args, client, &applied.record, Duration::from_secs(seconds)).await?;
    }
    accepted(args, &format!("scale actor {id}"), &applied);
    Ok(())
}
