//! `trellis stop actor|provider|host`.

use crate::args::Args;
use crate::client::Client;
use crate::commands::{Outcome, start::accepted};
use crate::{output, reference};
use clap::Subcommand;
use lattice_ctl_planner::edit::Change;
use lattice_protocol::{AppName, HostId};
use serde_json::json;

/// What to stop.
#[derive(Debug, Subcommand)]
pub enum StopCommand {
    /// Stop an actor, everywhere or on one host. Its definition and links stay.
    Actor {
        /// Which: app/name, a bare name, or its module key.
        actor: String,
        /// Only on this host; it is then confined to the others it runs on.
        #[arg(long, value_name = "ID")]
        host_id: Option<HostId>,
    },
    /// Remove a provider that nothing is linked to.
    Provider {
        /// Its name, kind or image.
        provider: String,
        /// Its application. Default: the one of imperative commands.
        #[arg(long, value_name = "APP")]
        app: Option<AppName>,
    },
    /// Ask a host to leave: it finishes its calls and ends.
    Host {
        /// Which.
        host: HostId,
    },
}

/// Runs it.
pub async fn run(args: &Args, command: &StopCommand) -> Outcome {
    let client = Client::connect(args).await?;
    let result = match command {
        StopCommand::Actor { actor, host_id } => self::actor(args, &client, actor, host_id.clone()).await,
        StopCommand::Provider { provider, app } => {
            let (app, name) = match (app, provider.split_once('/')) {
                (Some(app), _) => (app.clone(), provider.as_str()),
                // An image has slashes as well, but its first part is no name of an application.
                (None, Some((app, name))) if AppName::new(app).is_ok() && !name.contains('/') => {
                    (AppName::new(app)?, name)
                }
                (None, _) => (AppName::imperative(), provider.as_str()),
            };
            let name = reference::provider(name, client.apps().await?.get(&app))?;
            match client.change(&app, &Change::StopProvider { reference: name.clone() }).await {
                Ok(applied) => {
                    accepted(args, &format!("stop provider {app}/{name}"), &applied);
                    Ok(())
                }
                Err(report) => Err(report),
            }
        }
        StopCommand::Host { host } => self::host(args, &client, host).await,
    };
    client.close().await;
    result
}

async fn actor(args: &Args, client: &Client, text: &str, host: Option<HostId>) -> Outcome {
    let id = reference::find_actor(client, text).await?;
    let change = Change::StopActor { name: id.name.clone(), host };
    let applied = client.change(&id.app, &change).await?;
    accepted(args, &format!("stop actor {id}"), &applied);
    Ok(())
}

async fn host(args: &Args, client: &Client, host: &HostId) -> Outcome {
    client.stop_host(host).await?;
    output::say(args, format!("host {host} is leaving"));
    if args.output == output::Format::Json {
        output::json(&json!({ "host": host, "leaving": true }));
    }
    Ok(())
}
