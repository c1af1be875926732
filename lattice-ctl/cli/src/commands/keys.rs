//! `trellis keys …`: makes, lists and shows keys. A seed is only ever in its file; what is shown is
//! the public key.

use crate::args::Args;
use crate::commands::Outcome;
use crate::{home, keyfile, output};
use clap::Subcommand;
use keys::{KeyKind, PublicKey};
use lattice_protocol::name::is_token;
use lattice_protocol::{ErrorCode, Report};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const HEADER: &[&str] = &["kind", "public key", "file"];

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key: operator, account, user, module, provider, host or cluster.
    #[command(visible_alias = "generate")]
    Gen {
        /// Its kind.
        #[arg(value_parser = kind)]
        kind: KeyKind,
        /// Its name in $TRELLIS_HOME/keys. Default: its kind and the end of its public key.
        #[arg(long, conflicts_with = "to")]
        name: Option<String>,
        /// Write it to this file.
        #[arg(long = "to", value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// List the keys in $TRELLIS_HOME/keys, or in a directory.
    List {
        /// The directory.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Show the public key of a file, or check a public key.
    Inspect {
        /// A file of a seed, or a public key.
        key: String,
    },
}

fn kind(text: &str) -> Result<KeyKind, String> {
    let known = || KeyKind::ALL.map(KeyKind::as_str).join(", ");
    KeyKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| format!("want one of {}", known()))
}

/// Runs it.
pub fn run(args: &Args, command: &KeysCommand) -> Outcome {
    match command {
        KeysCommand::Gen { kind, name, to } => {
            let key = keyfile::generate(*kind)?;
            let path = match (to, name) {
                (Some(path), _) => path.clone(),
                (None, Some(name)) if is_token(name) => home::keys_dir()?.join(format!("{name}.nk")),
                (None, Some(name)) => {
                    return Err(Report::new(ErrorCode::Name, "key name: only A-Za-z0-9_-, 1..64").got(name));
                }
                (None, None) => {
                    let public = key.public().to_string();
                    let tail: String = public.chars().skip(public.len().saturating_sub(8)).collect();
                    home::keys_dir()?.join(format!("{kind}_{tail}.nk"))
                }
            };
            keyfile::write(&path, &key)
                .map_err(|report| report.hint("name another file: an existing key is never overwritten"))?;
            show_one(args, &path, key.public());
            Ok(())
        }
        KeysCommand::List { dir } => {
            let dir = match dir {
                Some(dir) => dir.clone(),
                None => home::keys_dir()?,
            };
            show(args, &list(&dir)?);
            Ok(())
        }
        KeysCommand::Inspect { key } => inspect(args, key),
    }
}

fn inspect(args: &Args, text: &str) -> Outcome {
    let path = Path::new(text);
    if path.exists() {
        show_one(args, path, public_of(path)?);
        return Ok(());
    }
    if text.starts_with('S') {
        return Err(Report::new(
            ErrorCode::Usage,
            "that looks like a seed: it is a secret, and belongs in a file only",
        )
        .hint("make another key if it was a real one"));
    }
    let key: PublicKey = text
        .parse()
        .map_err(|error: keys::KeyError| Report::new(ErrorCode::Name, error.to_string()).at("public key"))?;
    let record = json!({ "kind": key.kind(), "public": key });
    output::table(
        args,
        &record,
        &["kind", "public key"],
        vec![vec![key.kind().to_string(), key.to_string()]],
    );
    Ok(())
}

/// Reads a seed of any kind.
fn public_of(path: &Path) -> Result<PublicKey, Report> {
    // The first refusal other than "wrong kind" (or the last of these) is what is wrong with it.
    let mut last = None;
    for kind in KeyKind::ALL {
        match keyfile::read(path, kind) {
            Ok(key) => return Ok(key.public()),
            Err(report) if report.what == "wrong kind of key" => last = Some(report),
            Err(report) => return Err(report),
        }
    }
    Err(last.unwrap_or_else(|| Report::new(ErrorCode::Name, "not a key").at(path.display())))
}

type Listed = (PathBuf, Result<PublicKey, Report>);

fn list(dir: &Path) -> Result<Vec<Listed>, Report> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(output::file_report("list", dir, &error)),
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "nk"))
        .collect();
    paths.sort();
    Ok(paths.into_iter().map(|path| (path.clone(), public_of(&path))).collect())
}

/// Files in a directory of keys that others can read.
pub fn exposed(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let open = |path: &PathBuf| {
        let mode = std::fs::metadata(path).map(|data| data.permissions().mode()).unwrap_or_default();
        path.extension().is_some_and(|extension| extension == "nk" || extension == "creds")
            && mode & 0o077 != 0
    };
    let mut found: Vec<PathBuf> =
        entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(open).collect();
    found.sort();
    found
}

fn show(args: &Args, keys: &[Listed]) {
    let records: Vec<_> = keys
        .iter()
        .map(|(path, key)| match key {
            Ok(key) => json!({ "kind": key.kind(), "public": key, "file": path }),
            Err(report) => json!({ "file": path, "error": report }),
        })
        .collect();
    let rows = keys
        .iter()
        .map(|(path, key)| match key {
            Ok(key) => vec![key.kind().to_string(), key.to_string(), path.display().to_string()],
            Err(report) => vec!["unreadable".to_owned(), report.what.clone(), path.display().to_string()],
        })
        .collect();
    output::table(args, &records, HEADER, rows);
}

fn show_one(args: &Args, path: &Path, key: PublicKey) {
    let row = vec![key.kind().to_string(), key.to_string(), path.display().to_string()];
    let record = json!({ "kind": key.kind(), "public": key, "file": path });
    output::table(args, &record, HEADER, vec![row]);
}
