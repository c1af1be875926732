//! `trellis new NAME`: a project that builds, signs and runs as it is, wherever it lies. It carries a copy of
//! the guest SDK, so that it needs neither a checkout of this repository nor one on the network.

mod sdk;

use crate::args::Args;
use crate::commands::Outcome;
use crate::output::{self, file_report};
use clap::ValueEnum;
use lattice_protocol::{ActorName, ErrorCode, Report};
use serde_json::json;
use std::path::PathBuf;

/// What to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Template {
    /// Answers HTTP requests.
    HttpHello,
    /// Counts in a key-value store.
    KvCounter,
    /// Answers messages.
    MessagingEcho,
    /// A persistent actor for each account, and HTTP in front of them.
    Persistent,
}

impl Template {
    fn source(self) -> &'static str {
        match self {
            Self::HttpHello => include_str!("new/http-hello.rs.txt"),
            Self::KvCounter => include_str!("new/kv-counter.rs.txt"),
            Self::MessagingEcho => include_str!("new/messaging-echo.rs.txt"),
            Self::Persistent => include_str!("new/persistent.rs.txt"),
        }
    }
    fn manifest(self) -> &'static str {
        match self {
            Self::HttpHello => include_str!("new/http-hello.yaml.txt"),
            Self::KvCounter => include_str!("new/kv-counter.yaml.txt"),
            Self::MessagingEcho => include_str!("new/messaging-echo.yaml.txt"),
            Self::Persistent => include_str!("new/persistent.yaml.txt"),
        }
    }
    /// The crate beside the first one, if there is one: its folder, what it depends on, and what it is.
    fn second(self) -> Option<Second> {
        (self == Self::Persistent).then_some(Second {
            folder: "front",
            cargo: include_str!("new/front.toml.txt"),
            source: include_str!("new/front.rs.txt"),
        })
    }
    /// What to try when it serves.
    fn trial(self) -> Option<&'static str> {
        match self {
            Self::Persistent => Some("curl http://127.0.0.1:8080/a-1/deposit -d '{\"amount\":5}'"),
            _ => None,
        }
    }
}

/// A component of a project that is not its first.
struct Second {
    folder: &'static str,
    cargo: &'static str,
    source: &'static str,
}

/// Its arguments.
#[derive(Debug, clap::Args)]
pub struct NewArgs {
    /// Name of the project, the application and the actor.
    pub name: ActorName,
    /// What to begin with.
    #[arg(long, short, value_enum, default_value_t = Template::HttpHello)]
    pub template: Template,
    /// Where. Default: a directory of that name.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Use the guest SDK of this directory in place of a copy: for who works on the SDK itself.
    #[arg(long, env = "TRELLIS_SDK", value_name = "DIR")]
    pub sdk: Option<PathBuf>,
}

/// The dependency on the SDK, as the Cargo.toml has it that is this far below the project (`../`).
fn dependency(new: &NewArgs, up: &str) -> Result<String, Report> {
    let path = match &new.sdk {
        None => format!("{up}{}/{}", sdk::FOLDER, sdk::CRATE),
        Some(dir) if dir.join("Cargo.toml").exists() => {
            std::path::absolute(dir).map_err(|error| file_report("find", dir, &error))?.display().to_string()
        }
        Some(dir) => return Err(Report::new(ErrorCode::NotFound, "no guest SDK there").at(dir.display())),
    };
    Ok(format!("{{ path = {} }}", json!(path)))
}

/// Every file of the project but the SDK's, by its path there.
fn files(new: &NewArgs) -> Result<Vec<(String, String)>, Report> {
    let crate_name = new.name.as_str().to_lowercase();
    let file_name = crate_name.replace('-', "_");
    let fill = |text: &str| {
        text.replace("@NAME@", new.name.as_str())
            .replace("@FILE@", &file_name)
            .replace("@CRATE@", &crate_name)
    };
    let mut cargo = fill(include_str!("new/Cargo.toml.txt")).replace("@SDK@", &dependency(new, "")?);
    let mut files = vec![
        (".cargo/config.toml".to_owned(), include_str!("new/config.toml.txt").to_owned()),
        (".gitignore".to_owned(), "/target\n*.nk\n".to_owned()),
        ("src/lib.rs".to_owned(), fill(new.template.source())),
        ("app.yaml".to_owned(), fill(new.template.manifest())),
    ];
    if let Some(Second { folder, cargo: its_cargo, source }) = new.template.second() {
        let all = format!("members = [{folder:?}]\ndefault-members = [\".\", {folder:?}]\n");
        cargo.push_str(&all);
        let its_cargo = fill(its_cargo).replace("@SDK@", &dependency(new, "../")?);
        files.push((format!("{folder}/Cargo.toml"), its_cargo));
        files.push((format!("{folder}/src/lib.rs"), fill(source)));
    }
    files.push(("Cargo.toml".to_owned(), cargo));
    Ok(files)
}

/// Runs it.
pub fn run(args: &Args, new: &NewArgs) -> Outcome {
    let dir = new.dir.clone().unwrap_or_else(|| PathBuf::from(new.name.as_str()));
    if dir.exists() && std::fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Report::new(ErrorCode::Conflict, "directory is not empty")
            .at(dir.display())
            .hint("choose another --dir"));
    }
    for (path, text) in files(new)? {
        let path = dir.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .map_err(|error| file_report("make the directory", parent, &error))?;
        }
        std::fs::write(&path, text).map_err(|error| file_report("write", &path, &error))?;
    }
    if new.sdk.is_none() {
        sdk::copy_into(&dir)?;
    }
    output::say(args, format!("made {}", dir.display()));
    output::say(
        args,
        format!("  cd {} && trellis dev      build, sign, run, and again on every change", dir.display()),
    );
    if let Some(trial) = new.template.trial() {
        output::say(args, format!("  {trial}      in another terminal"));
    }
    output::say(args, "  trellis build && trellis app deploy app.yaml --sign      on a lattice");
    if args.output == output::Format::Json {
        output::json(&json!({ "dir": dir, "name": new.name }));
    }
    Ok(())
}
