//! A host of a lattice whose server is elsewhere, as seed 004 starts its edge nodes:
//! `up --nats-host … --nats-nseed … --label k=v`. Whom it trusts comes from the lattice's directory
//! (or this host's bundle of it), or from the command line; a host that trusts nobody does not start.

use super::local::host_of;
use super::{ANNOUNCED, UpArgs, say_ready};
use crate::args::Args;
use crate::commands::Outcome;
use crate::compose;
use crate::connect::Login;
use crate::lattice_dir::LatticeDir;
use crate::output;
use crate::up_state::{Note, Process, UpDir};
use host_daemon::HostConfig;
use keys::{KeyKind, PublicKey, TrustAnchors};
use lattice_io::TaskScope;
use lattice_protocol::name::is_token;
use lattice_protocol::{ErrorCode, HostId, LatticeName, Report};
use std::collections::BTreeSet;
use std::time::Duration;

/// Runs it.
pub async fn run(args: &Args, up: &UpArgs, (place, server): (&UpDir, &str)) -> Outcome {
    let dir = LatticeDir::at(&up.dir);
    let config = config(args, up, &dir)?;
    let mut login = login(up, (&dir, &config.host), &url(server))?;
    if dir.exists() {
        login.domain = dir.file()?.domain;
    }
    login.domain = args.nats_domain.clone().or(login.domain);
    let me = Process::of(std::process::id())
        .ok_or_else(|| Report::new(ErrorCode::Io, "could not read this process's entry in /proc"))?;
    let mut note = Note {
        up: me,
        nats: None,
        lattice: config.lattice.clone(),
        host: config.host.clone(),
        nats_url: login.url.clone(),
        ready: false,
    };
    place.write(&note)?;
    // A person waits here: a server that is not there is said now. Once it runs, it may go and come.
    login.connect(false).await?.close().await;
    let nats = login.connect(true).await?;
    let scope = TaskScope::new("trellis");
    // Without the lattice's directory there is nothing to make users for processes with.
    let processes = match dir.exists() {
        true => Some(compose::processes(&dir, &login.url, up.flags.provider_dir.clone())?),
        false => None,
    };
    let running = compose::host(config, nats.lattice(), processes, &scope).await?;
    running.announced(ANNOUNCED).await;
    note.ready = true;
    place.write(&note)?;
    say_ready(args, &note, None);
    let ended = compose::until_gone(args, &note.host, running).await;
    scope.shutdown(Duration::from_secs(5)).await;
    nats.close().await;
    ended
}

/// `host:port` as people write it.
fn url(server: &str) -> String {
    if server.contains("://") { server.to_owned() } else { format!("nats://{server}") }
}

fn config(args: &Args, up: &UpArgs, dir: &LatticeDir) -> Result<HostConfig, Report> {
    let mut config = if dir.exists() {
        let host = host_of(up, &dir.file()?)?;
        up.flags.config(&host, dir)?
    } else {
        let host = match &up.host_id {
            Some(host) => host.clone(),
            None => this_machine()?,
        };
        let name = match &args.lattice {
            Some(name) => name.clone(),
            None => LatticeName::new("default")?,
        };
        let data_dir = up.dir.join("data").join(host.as_str());
        up.flags.config_of(name, &host, data_dir)
    };
    if let Some(name) = &args.lattice {
        config.lattice = name.clone();
    }
    if !up.issuers.is_empty() {
        let issuers = keys_of(&up.issuers, "--trust-issuer")?;
        config.trust = TrustAnchors::new(issuers, Default::default())
            .map_err(|error| Report::new(ErrorCode::Config, error.to_string()).at("--trust-issuer"))?;
    }
    if !up.controllers.is_empty() {
        config.controllers = keys_of(&up.controllers, "--trust-controller")?;
    }
    if config.trust.issuers().is_empty() || config.controllers.is_empty() {
        return Err(Report::new(ErrorCode::Config, "this host would trust nobody, so nothing could run")
            .at(up.dir.display())
            .hint(
                "copy the host's bundle there (trellis lattice enroll <id> --bundle <dir>), or name the keys: \
                 --trust-issuer A… --trust-controller A…",
            ));
    }
    Ok(config)
}

fn keys_of(texts: &[String], flag: &str) -> Result<BTreeSet<PublicKey>, Report> {
    let read = |text: &String| {
        let key = text.parse::<PublicKey>().and_then(|key| key.expect_kind(KeyKind::Account));
        key.map_err(|error| Report::new(ErrorCode::Name, error.to_string()).at(flag))
    };
    texts.iter().map(read).collect()
}

/// The machine's name, as far as it can be a host's id.
fn this_machine() -> Result<HostId, Report> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let first = name.split('.').next().unwrap_or_default();
    HostId::new(first).map_err(|error| {
        Report::new(ErrorCode::Name, error.to_string()).hint("say this host's id: --host-id <id>")
    })
}

/// As whom: the file that was named, else the host's own credentials in the directory.
fn login(up: &UpArgs, (dir, host): (&LatticeDir, &HostId), url: &str) -> Result<Login, Report> {
    let mut login = Login {
        url: url.to_owned(),
        creds: None,
        nkey: None,
        inbox_prefix: None,
        domain: None,
        name: host.to_string(),
    };
    let named = up.nats_nseed.clone();
    let own = Some(dir.creds(host.as_str())).filter(|path| path.exists());
    let Some(path) = named.or(own) else { return Ok(login) };
    let text = std::fs::read_to_string(&path)
        .map_err(|error| output::file_report("read the NATS user", &path, &error))?;
    if text.contains("-----BEGIN NATS USER JWT-----") {
        // A user of ours may only listen to answers under its own name.
        let user = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| is_token(stem));
        login.inbox_prefix = user.map(|user| format!("_INBOX_{user}"));
        login.creds = Some(path);
    } else {
        // Read now: that it is no user's seed is better said than "authorization violation".
        crate::keyfile::read(&path, KeyKind::User)?;
        login.nkey = Some(path);
    }
    Ok(login)
}
