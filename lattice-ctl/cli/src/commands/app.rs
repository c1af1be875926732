//! `trellis app …`: applications as a whole, from their manifests.

mod deploy;
mod plan;
mod rollout;
mod show;

use crate::args::Args;
use crate::client::Client;
use crate::commands::Outcome;
use crate::{app_files, output};
use clap::Subcommand;
use lattice_ctl_planner::edit::Change;
use lattice_protocol::{AppName, manifest};
use serde_json::json;
use std::path::PathBuf;

pub use deploy::{DeployArgs, wait_until_running};
pub use plan::{WhyArgs, why};
pub use show::{ACTOR_HEADER, actor_rows, list as run_list, state_word};

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum AppCommand {
    /// Check a manifest: every problem, with its line. Needs no lattice.
    Validate {
        /// The manifest.
        manifest: PathBuf,
    },
    /// Store an application without running it.
    Put(DeployArgs),
    /// Store an application (or take a stored one) and run it.
    Deploy(DeployArgs),
    /// Show what deploying would start, stop and move, and why; change nothing.
    Plan {
        /// A manifest, or the name of a stored application.
        #[arg(value_name = "MANIFEST|APP")]
        what: String,
    },
    /// List applications.
    List,
    /// Print an application's manifest as it is stored.
    Get {
        /// Its name.
        app: AppName,
    },
    /// Show how an application runs.
    Status {
        /// Its name.
        app: AppName,
    },
    /// List its versions, and which of them can come back.
    History {
        /// Its name.
        app: AppName,
    },
    /// Go back to an earlier version: by its own rollout rule, or at once if it was never final.
    Rollback {
        /// Its name.
        app: AppName,
        /// Which version; otherwise the last that was different.
        #[arg(id = "to", value_name = "VERSION")]
        version: Option<u64>,
    },
    /// Stop a rollout where it is; a version that fails is taken back all the same.
    Pause {
        /// Its name.
        app: AppName,
    },
    /// Go on with a rollout, or try again what was rolled back.
    Resume {
        /// Its name.
        app: AppName,
    },
    /// Say that a complete rollout is final: hosts refuse the version before from now on.
    Finalise {
        /// Its name.
        app: AppName,
    },
    /// Stop an application; it stays stored.
    Undeploy {
        /// Its name.
        app: AppName,
    },
    /// Stop and forget an application.
    Delete {
        /// Its name.
        app: AppName,
    },
    /// Print the JSON Schema of manifests, for editors.
    Schema,
}

/// Runs it.
pub async fn run(args: &Args, command: &AppCommand) -> Outcome {
    match command {
        AppCommand::Validate { manifest } => validate(args, manifest),
        AppCommand::Schema => {
            output::raw(manifest::schema());
            Ok(())
        }
        AppCommand::Put(put) => deploy::run(args, put, false).await,
        AppCommand::Deploy(put) => deploy::run(args, put, true).await,
        AppCommand::Plan { what } => plan::dry_run(args, what).await,
        _ => {
            let client = Client::connect(args).await?;
            let result = connected(args, &client, command).await;
            client.close().await;
            result
        }
    }
}

async fn connected(args: &Args, client: &Client, command: &AppCommand) -> Outcome {
    match command {
        AppCommand::List => show::list(args, client).await,
        AppCommand::Get { app } => {
            let record = client.app(app).await?;
            match args.output {
                output::Format::Table => output::raw(&manifest::render(&record.application)),
                output::Format::Json => output::json(&record),
            }
            Ok(())
        }
        AppCommand::Status { app } => show::status(args, client, app).await,
        AppCommand::History { app } => show::history(args, client, app).await,
        AppCommand::Rollback { app, version } => rollout::rollback(args, client, app, *version).await,
        AppCommand::Pause { app } => rollout::order(args, client, app, rollout::Order::Pause).await,
        AppCommand::Resume { app } => rollout::order(args, client, app, rollout::Order::Resume).await,
        AppCommand::Finalise { app } => rollout::order(args, client, app, rollout::Order::Finalise).await,
        AppCommand::Undeploy { app } => {
            let record = client.change(app, &Change::Undeploy {}).await?.record;
            done(args, app, &format!("application {app} is undeployed"), record.version);
            Ok(())
        }
        AppCommand::Delete { app } => {
            client.delete_app(app).await?;
            done(args, app, &format!("application {app} is deleted"), 0);
            Ok(())
        }
        // Handled before there was a connection.
        AppCommand::Validate { .. }
        | AppCommand::Put(_)
        | AppCommand::Deploy(_)
        | AppCommand::Plan { .. }
        | AppCommand::Schema => Ok(()),
    }
}

fn done(args: &Args, app: &AppName, text: &str, version: u64) {
    output::say(args, text);
    if args.output == output::Format::Json {
        output::json(&json!({ "app": app, "done": text, "version": version }));
    }
}

fn validate(args: &Args, path: &std::path::Path) -> Outcome {
    let application = app_files::parse(path)?;
    let text = format!(
        "{}: valid: application {} with {} actors, {} providers, {} links",
        path.display(),
        application.name,
        application.actors.len(),
        application.providers.len(),
        application.actors.iter().map(|actor| actor.links.len()).sum::<usize>()
    );
    output::say(args, text);
    if args.output == output::Format::Json {
        output::json(&json!({ "valid": true, "application": application }));
    }
    Ok(())
}
