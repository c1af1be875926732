//! `trellis secret …`: secrets that manifests name (`password: {secretRef: redis}`). A value is
//! sealed here to the hosts that may open it and stored so in the lattice; it is read from standard
//! input or a file, never from the command line, and never shown again.

use crate::args::Args;
use crate::client::Client;
use crate::commands::Outcome;
use crate::lattice_dir::LatticeDir;
use crate::{home, keyfile, output, signing};
use clap::Subcommand;
use keys::{CurvePublic, Sealed};
use lattice_io::{Kv, KvOptions};
use lattice_protocol::name::is_token;
use lattice_protocol::{ErrorCode, HostId, Report};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Store a secret, read from standard input or a file; providers that use it take it at once.
    Put {
        /// Its name, as manifests refer to it.
        name: String,
        /// Read it from this file.
        #[arg(long, value_name = "FILE")]
        from_file: Option<PathBuf>,
        /// Hosts that may open it. Default: all that are enrolled.
        #[arg(long, value_delimiter = ',', value_name = "ID,…")]
        hosts: Vec<HostId>,
    },
    /// List secrets: names, and who can open them; never what they are.
    List,
    /// Seal secrets to every enrolled host as well: after `trellis lattice enroll`.
    Share {
        /// Which. Default: all.
        names: Vec<String>,
    },
    /// Delete a secret.
    Delete {
        /// Its name.
        name: String,
    },
}

/// A secret as it is stored: hosts read the sealed part only.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    #[serde(flatten)]
    sealed: Sealed,
    /// For people.
    #[serde(default)]
    at_unix_ms: u64,
    /// For people.
    #[serde(default)]
    by: String,
}

/// Runs it.
pub async fn run(args: &Args, command: &SecretCommand) -> Outcome {
    let value = match command {
        SecretCommand::Put { name, from_file, .. } => {
            check_name(name)?;
            Some(read(from_file.as_deref())?)
        }
        _ => None,
    };
    let client = Client::connect(args).await?;
    let result = match (command, value) {
        (SecretCommand::Put { name, hosts, .. }, Some(value)) => {
            put(args, &client, name, (hosts, value)).await
        }
        (SecretCommand::Share { names }, _) => share(args, &client, names).await,
        (SecretCommand::Delete { name }, _) => delete(args, &client, name).await,
        (SecretCommand::List | SecretCommand::Put { .. }, _) => list(args, &client).await,
    };
    client.close().await;
    result
}

fn check_name(name: &str) -> Result<(), Report> {
    if is_token(name) {
        return Ok(());
    }
    // Not shown: it may be the secret itself.
    Err(Report::new(ErrorCode::Name, "secret name: only A-Za-z0-9_-, 1..64")
        .hint("the secret itself is read from standard input or --from-file"))
}

fn read(file: Option<&Path>) -> Result<Zeroizing<Vec<u8>>, Report> {
    let limit = keys::seal::MAX_SECRET_BYTES;
    let mut value = Zeroizing::new(Vec::new());
    match file {
        Some(path) => {
            let limit = u64::try_from(limit).unwrap_or(u64::MAX);
            value = Zeroizing::new(signing::read_file(path, limit, "read the secret")?);
        }
        None => {
            let input = std::io::stdin();
            if input.is_terminal() {
                output::note("type the secret, then Enter and Ctrl-D");
            }
            let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(2);
            input
                .take(most)
                .read_to_end(&mut value)
                .map_err(|error| output::io_report("read standard input", &error))?;
        }
    }
    // Editors and `echo` end in a newline that nobody means.
    if value.last() == Some(&b'\n') {
        value.pop();
    }
    if value.is_empty() || value.len() > limit {
        return Err(Report::new(ErrorCode::Usage, "no secret of a possible size")
            .at(file.map_or_else(|| "standard input".to_owned(), |path| path.display().to_string()))
            .got(format!("{} bytes", value.len()))
            .limit(format!("1..{limit} bytes"))
            .hint("give it on standard input, or name a file: --from-file"));
    }
    Ok(value)
}

fn dir(client: &Client) -> Result<&LatticeDir, Report> {
    client.context.dir.as_ref().ok_or_else(|| {
        Report::new(ErrorCode::Config, "secrets are sealed with the keys in the lattice's directory")
            .hint("run it where ./trellis-lattice is, or save a context with it: trellis config set <name> --dir <it>")
    })
}

async fn bucket(client: &Client) -> Result<Arc<dyn Kv>, Report> {
    Ok(client.lattice.kv.open(&client.subjects.secrets_bucket(), KvOptions::default()).await?)
}

async fn find(bucket: &dyn Kv, name: &str) -> Result<Record, Report> {
    let entry = bucket.get_latest(name).await?.ok_or_else(|| {
        Report::new(ErrorCode::SecretNotFound, format!("secret not found: {name}"))
            .hint("see: trellis secret list")
    })?;
    serde_json::from_slice(&entry.value)
        .map_err(|error| Report::new(ErrorCode::Damaged, format!("secret not readable: {error}")).at(name))
}

/// The hosts that are meant, and their keys.
fn recipients(dir: &LatticeDir, hosts: &[HostId]) -> Result<BTreeMap<HostId, CurvePublic>, Report> {
    let mut enrolled = dir.recipients()?;
    if let Some(unknown) = hosts.iter().find(|host| !enrolled.contains_key(*host)) {
        return Err(Report::new(ErrorCode::HostNotFound, format!("host not found: {unknown}"))
            .at(dir.path().display())
            .hint(format!("enrol it: trellis lattice enroll {unknown}")));
    }
    if !hosts.is_empty() {
        enrolled.retain(|host, _| hosts.contains(host));
    }
    Ok(enrolled)
}

async fn store(
    client: &Client,
    (name, value): (&str, &[u8]),
    to: impl IntoIterator<Item = CurvePublic>,
) -> Outcome {
    let to: BTreeSet<CurvePublic> = to.into_iter().chain([dir(client)?.seal_key()?.public()]).collect();
    let entropy = [*keyfile::entropy()?, *keyfile::entropy()?];
    let sealed = Sealed::seal(name, value, to, entropy)
        .map_err(|error| Report::new(ErrorCode::Usage, error.to_string()).at(name))?;
    let record = Record { sealed, at_unix_ms: home::now_unix_ms(), by: home::who() };
    let text =
        serde_json::to_vec(&record).map_err(|error| Report::new(ErrorCode::Internal, error.to_string()))?;
    bucket(client).await?.put(name, text.into()).await?;
    Ok(())
}

async fn put(
    args: &Args,
    client: &Client,
    name: &str,
    (hosts, value): (&[HostId], Zeroizing<Vec<u8>>),
) -> Outcome {
    let to = recipients(dir(client)?, hosts)?;
    store(client, (name, &value), to.values().copied()).await?;
    let hosts: Vec<&HostId> = to.keys().collect();
    client.audit("admin.secret-put", name, json!({ "hosts": hosts })).await;
    let names: Vec<&str> = to.keys().map(HostId::as_str).collect();
    output::say(args, format!("secret {name} is stored; it opens on {}", listed(&names)));
    if args.output == output::Format::Json {
        output::json(&json!({ "secret": name, "hosts": hosts }));
    }
    Ok(())
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "no host: none is enrolled".to_owned() } else { names.join(", ") }
}

async fn share(args: &Args, client: &Client, names: &[String]) -> Outcome {
    let (dir, bucket) = (dir(client)?, bucket(client).await?);
    let (key, to) = (dir.seal_key()?, recipients(dir, &[])?);
    let names = if names.is_empty() { bucket.keys().await? } else { names.to_vec() };
    let bar = output::spinner(args, "sealing");
    for name in &names {
        check_name(name)?;
        bar.set_message(format!("sealing {name}"));
        let record = find(&*bucket, name).await?;
        let value = record.sealed.open(name, &key).map_err(|error| {
            Report::new(ErrorCode::SecretSealed, error.to_string())
                .at(name)
                .hint(format!("another directory sealed it; put it again: trellis secret put {name}"))
        })?;
        // Who could open it before still can.
        let all = record.sealed.recipients().copied().chain(to.values().copied()).collect::<Vec<_>>();
        store(client, (name, &value), all).await?;
        client.audit("admin.secret-share", name, json!({ "hosts": to.keys().collect::<Vec<_>>() })).await;
    }
    bar.finish_and_clear();
    output::say(args, format!("{} secrets open on every enrolled host", names.len()));
    if args.output == output::Format::Json {
        output::json(&json!({ "secrets": names, "hosts": to.keys().collect::<Vec<_>>() }));
    }
    Ok(())
}

async fn delete(args: &Args, client: &Client, name: &str) -> Outcome {
    check_name(name)?;
    let bucket = bucket(client).await?;
    find(&*bucket, name).await?;
    bucket.purge(name).await?;
    client.audit("admin.secret-delete", name, json!({})).await;
    output::say(args, format!("secret {name} is deleted; what runs keeps it until it starts again"));
    if args.output == output::Format::Json {
        output::json(&json!({ "secret": name, "deleted": true }));
    }
    Ok(())
}

async fn list(args: &Args, client: &Client) -> Outcome {
    let bucket = bucket(client).await?;
    let known: BTreeMap<CurvePublic, String> = match &client.context.dir {
        Some(dir) => {
            let hosts = dir.recipients()?.into_iter().map(|(host, key)| (key, host.to_string()));
            hosts.chain([(dir.seal_key()?.public(), String::new())]).collect()
        }
        None => BTreeMap::new(),
    };
    let (mut rows, mut records) = (Vec::new(), Vec::new());
    for name in bucket.keys().await? {
        let record = find(&*bucket, &name).await?;
        let mut hosts: Vec<String> = record
            .sealed
            .recipients()
            .map(|key| known.get(key).cloned().unwrap_or_else(|| key.to_string()))
            .filter(|host| !host.is_empty())
            .collect();
        hosts.sort();
        let changed = keys::format_utc(i64::try_from(record.at_unix_ms / 1_000).unwrap_or(0));
        rows.push(vec![name.clone(), hosts.join(" "), changed, record.by.clone()]);
        records.push(json!({
            "secret": name, "hosts": hosts, "atUnixMs": record.at_unix_ms, "by": record.by,
        }));
    }
    output::table(args, &records, &["secret", "opens on", "changed", "by"], rows);
    Ok(())
}
