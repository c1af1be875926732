//! `trellis config …`: saved contexts, so that commands need no flags.

use crate::args::Args;
use crate::commands::Outcome;
use crate::context::{self, Context, ContextFile};
use crate::lattice_dir::LatticeDir;
use crate::output;
use clap::Subcommand;
use lattice_protocol::{ErrorCode, Report};
use serde_json::json;
use std::path::{Path, PathBuf};

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show where commands would connect, or one saved context.
    Get {
        /// Its name.
        name: Option<String>,
    },
    /// Save a context, from --dir or from --nats-url, --nats-creds and --lattice; it is selected if
    /// it is the first.
    Set {
        /// Its name.
        name: String,
        /// The lattice's directory.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
        /// Which user of that directory.
        #[arg(long)]
        user: Option<String>,
    },
    /// Select a saved context.
    Use {
        /// Its name.
        name: String,
    },
    /// List saved contexts.
    List,
}

fn absolute(path: &Path) -> Result<PathBuf, Report> {
    std::path::absolute(path).map_err(|error| output::file_report("find", path, &error))
}

/// Runs it.
pub fn run(args: &Args, command: &ConfigCommand) -> Outcome {
    match command {
        ConfigCommand::Get { name: Some(name) } => {
            output::json(&context::read(name)?);
            Ok(())
        }
        ConfigCommand::Get { name: None } => {
            let now = Context::resolve(args)?;
            let creds = now.login.creds.as_ref().map(|path| path.display().to_string());
            let record = json!({
                "from": now.origin, "lattice": now.lattice, "natsUrl": now.login.url, "creds": creds,
                "dir": now.dir.as_ref().map(LatticeDir::path),
            });
            let row = |name: &str, value: String| vec![name.to_owned(), value];
            let rows = vec![
                row("from", now.origin),
                row("lattice", now.lattice.to_string()),
                row("nats", now.login.url),
                row("credentials", creds.unwrap_or_else(|| "none".to_owned())),
            ];
            output::table(args, &record, &["setting", "value"], rows);
            Ok(())
        }
        ConfigCommand::Set { name, dir, user } => set(args, name, dir.as_deref(), user.clone()),
        ConfigCommand::Use { name } => {
            context::select(name)?;
            output::say(args, format!("commands now use context {name}"));
            Ok(())
        }
        ConfigCommand::List => list(args),
    }
}

fn set(args: &Args, name: &str, dir: Option<&Path>, user: Option<String>) -> Outcome {
    if let Some(dir) = dir {
        // Refused now rather than at its first use.
        LatticeDir::at(dir).file()?;
    }
    let file = ContextFile {
        lattice: args.lattice.clone(),
        nats_url: args.nats_url.clone(),
        nats_domain: args.nats_domain.clone(),
        creds: args.nats_creds.as_deref().map(absolute).transpose()?,
        dir: dir.map(absolute).transpose()?,
        user,
    };
    if file == ContextFile::default() {
        return Err(Report::new(ErrorCode::Usage, "nothing to save")
            .hint("say where the lattice is: --dir, or --nats-url, --nats-creds and --lattice"));
    }
    context::write(name, &file)?;
    output::say(args, format!("context {name} is saved"));
    if context::current()?.is_none() {
        context::select(name)?;
        output::say(args, format!("commands now use context {name}"));
    }
    Ok(())
}

fn list(args: &Args) -> Outcome {
    let current = context::current()?;
    let dir = context::home()?.join("contexts");
    let mut names: Vec<String> = std::fs::read_dir(&dir)
        .map(|entries| {
            entries
                .filter_map(|entry| {
                    entry.ok()?.file_name().to_str()?.strip_suffix(".json").map(str::to_owned)
                })
                .collect()
        })
        .unwrap_or_default();
    names.sort();
    let (mut rows, mut records) = (Vec::new(), Vec::new());
    for name in names {
        let file = context::read(&name)?;
        let selected = current.as_deref() == Some(name.as_str());
        let place = file.dir.as_ref().map(|dir| dir.display().to_string()).or_else(|| file.nats_url.clone());
        rows.push(vec![
            if selected { "*".to_owned() } else { String::new() },
            name.clone(),
            file.lattice.as_ref().map(ToString::to_string).unwrap_or_default(),
            place.unwrap_or_default(),
        ]);
        records.push(json!({ "name": name, "selected": selected, "context": file }));
    }
    output::table(args, &records, &["", "context", "lattice", "where"], rows);
    Ok(())
}
