//! A lattice of this machine: made once, then started as it was left.

use super::{ANNOUNCED, READY, UpArgs, say_ready};
use crate::args::Args;
use crate::commands::{Outcome, controller};
use crate::compose;
use crate::connect::Login;
use crate::lattice_dir::{LatticeDir, LatticeFile};
use crate::nats_server::{self, Place, Server};
use crate::output::{self, file_report};
use crate::up_state::{Note, Process, UpDir};
use lattice_ctl_planner::observed::Profile;
use lattice_io::TaskScope;
use lattice_io::nats::NatsLattice;
use lattice_io::task::CancellationToken;
use lattice_protocol::{ErrorCode, HostId, LatticeName, Report};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// When silence counts for the controller.
const PROFILE: Profile = Profile::WAN;

/// The server's usual port.
const PORT: u16 = 4_222;
/// Subjects that actors of a lattice made here may be linked to.
const SUBJECTS: [&str; 3] = ["edge.>", "cloud.>", "app.>"];

/// Runs it.
pub async fn run(args: &Args, up: &UpArgs, place: &UpDir) -> Outcome {
    let program = nats_server::find(up.nats_server.as_deref()).await?;
    end_stray(place).await;
    let dir = LatticeDir::at(absolute(&up.dir)?);
    let (host, port) = prepare(args, up, &dir)?;
    let mut config = up.flags.config(&host, &dir)?;
    if up.flags.heartbeat_ms.is_none() {
        config.heartbeat = Duration::from_millis(PROFILE.interval_ms);
    }
    let mut server = start_server(place, &dir, (program, port))?;
    let me = Process::of(std::process::id())
        .ok_or_else(|| Report::new(ErrorCode::Io, "could not read this process's entry in /proc"))?;
    let mut note = Note {
        up: me,
        nats: server.id().and_then(Process::of),
        lattice: config.lattice.clone(),
        host: host.clone(),
        nats_url: dir.file()?.nats_url,
        ready: false,
    };
    place.write(&note)?;
    let nats = connected(&dir, &mut server, place).await?;
    let scope = TaskScope::new("trellis");
    let stop = CancellationToken::new();
    let restarted = {
        let (place, note) = (place.clone(), Note { ready: true, ..note.clone() });
        move |pid| {
            let note = Note { nats: Process::of(pid), ..note.clone() };
            if let Err(error) = place.write(&note) {
                tracing::warn!(%error, "new nats-server not noted");
            }
        }
    };
    let mut supervised = std::pin::pin!(server.supervise(stop.clone(), restarted));
    let signer = dir.controller_key()?;
    let told = (PROFILE, up.api);
    let controller = controller::start(note.lattice.clone(), signer, told, nats.lattice(), &scope).await?;
    if let Some(address) = controller.api() {
        output::say(args, format!("API: http://{address}/v1"));
    }
    let user = Login::of_dir(&dir, host.as_str())?.connect(true).await?;
    let processes = compose::processes(&dir, &note.nats_url, up.flags.provider_dir.clone())?;
    let running = compose::host(config, user.lattice(), Some(processes), &scope).await?;
    running.announced(ANNOUNCED).await;
    note.ready = true;
    place.write(&note)?;
    say_ready(args, &note, None);
    let failure = tokio::select! {
        () = running.leaving() => None,
        () = compose::asked_to_end() => None,
        given_up = &mut supervised => given_up.err(),
    };
    output::say(args, format!("lattice {} is going down", note.lattice));
    let ended = running.shutdown().await;
    scope.shutdown(Duration::from_secs(5)).await;
    user.close().await;
    nats.close().await;
    if let Some(failure) = failure {
        return Err(failure);
    }
    stop.cancel();
    supervised.await.and(ended)
}

fn absolute(path: &Path) -> Result<PathBuf, Report> {
    std::path::absolute(path).map_err(|error| file_report("find", path, &error))
}

/// A server of ours that outlived its `up` (which was killed) is ended: it has our port and store.
async fn end_stray(place: &UpDir) {
    let Some(stray) = place.note().and_then(|note| note.nats).filter(|nats| nats.runs()) else { return };
    tracing::warn!(pid = stray.pid, "ending the nats-server of an earlier trellis up");
    nats_server::signal(stray.pid, Signal::TERM);
    let end = Instant::now() + Duration::from_secs(10);
    while stray.runs() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Makes the lattice at the first time; gives the host's id and the server's port.
fn prepare(args: &Args, up: &UpArgs, dir: &LatticeDir) -> Result<(HostId, u16), Report> {
    if !dir.exists() {
        let host = match &up.host_id {
            Some(host) => host.clone(),
            None => HostId::new("local")?,
        };
        let port = match up.port {
            Some(port) => port,
            None => free_port()?,
        };
        let name = match &args.lattice {
            Some(name) => name.clone(),
            None => LatticeName::new("dev")?,
        };
        dir.init(&LatticeFile {
            lattice: name.clone(),
            nats_url: format!("nats://127.0.0.1:{port}"),
            domain: None,
            site_domains: BTreeMap::new(),
            subjects: SUBJECTS.map(str::to_owned).to_vec(),
            hosts: [host.clone()].into(),
            account: None,
            incarnation: None,
            revoked_users: BTreeMap::new(),
        })?;
        output::say(args, format!("made the lattice {name} in {}", up.dir.display()));
        return Ok((host, port));
    }
    let file = dir.file()?;
    let port = local_port(&file.nats_url).ok_or_else(|| {
        Report::new(ErrorCode::Config, "the server of this lattice is not on this machine")
            .at(up.dir.display())
            .got(&file.nats_url)
            .limit("nats://127.0.0.1:<port>")
            .hint(format!("join it: trellis up --nats-host {}", file.nats_url))
    })?;
    if up.port.is_some_and(|wanted| wanted != port) {
        return Err(Report::new(ErrorCode::Conflict, "the lattice was made with another port")
            .at("--port")
            .got(up.port.unwrap_or_default())
            .limit(port));
    }
    let host = host_of(up, &file)?;
    if !file.hosts.contains(&host) {
        dir.enroll(&host, &[])?;
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| {
        Report::new(ErrorCode::Io, format!("port {port} is not free: {error}"))
            .at(&file.nats_url)
            .hint("end what listens there, or join it: trellis up --nats-host <URL>")
    })?;
    Ok((host, port))
}

/// The host that is meant: named, or the only one.
pub(super) fn host_of(up: &UpArgs, file: &LatticeFile) -> Result<HostId, Report> {
    let mut enrolled = file.hosts.iter();
    match (&up.host_id, enrolled.next(), enrolled.next()) {
        (Some(host), _, _) => Ok(host.clone()),
        (None, Some(only), None) => Ok(only.clone()),
        (None, None, _) => Ok(HostId::new("local")?),
        (None, Some(_), Some(_)) => {
            let all: Vec<&str> = file.hosts.iter().map(HostId::as_str).collect();
            Err(Report::new(ErrorCode::Usage, "several hosts are enrolled")
                .got(all.join(", "))
                .hint("say which: --host-id <id>"))
        }
    }
}

fn local_port(url: &str) -> Option<u16> {
    let address = url.strip_prefix("nats://")?;
    let (host, port) = address.rsplit_once(':')?;
    matches!(host, "127.0.0.1" | "localhost").then(|| port.trim_end_matches('/').parse().ok())?
}

/// The usual port when nobody has it, else any.
fn free_port() -> Result<u16, Report> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let listener = bind(PORT).or_else(|_| bind(0));
    let address = listener.and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(|error| output::io_report("find a free port", &error))
}

fn start_server(place: &UpDir, dir: &LatticeDir, (program, port): (PathBuf, u16)) -> Result<Server, Report> {
    let config = absolute(&place.join("nats.conf"))?;
    let store = absolute(&place.join("jetstream"))?;
    let auth = dir.server_auth();
    let auth = std::fs::read_to_string(&auth).map_err(|error| file_report("read", &auth, &error))?;
    let text = nats_server::configuration(port, &store, &auth);
    std::fs::write(&config, text).map_err(|error| file_report("write", &config, &error))?;
    Server::start(Place { program, config, log: place.join("nats.log") })
}

/// Waits until the server lets the controller in.
async fn connected(dir: &LatticeDir, server: &mut Server, place: &UpDir) -> Result<Arc<NatsLattice>, Report> {
    let login = Login::of_dir(dir, "controller")?;
    let end = Instant::now() + READY;
    loop {
        let failure = match login.connect(false).await {
            Ok(nats) => return Ok(nats),
            Err(report) => report,
        };
        let log = place.join("nats.log");
        if server.has_ended() {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let last = text.lines().last().unwrap_or("nothing in its log").to_owned();
            return Err(Report::new(ErrorCode::Io, "nats-server did not start").at(log.display()).got(last));
        }
        if Instant::now() >= end {
            return Err(failure.hint(format!("see {}", log.display())));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_of_this_machine_is_ours_to_start() {
        assert_eq!(local_port("nats://127.0.0.1:4222"), Some(4222));
        assert_eq!(local_port("nats://localhost:4222/"), Some(4222));
        for other in ["nats://cloud-nats:4222", "tls://127.0.0.1:4222", "nats://127.0.0.1"] {
            assert_eq!(local_port(other), None, "{other}");
        }
    }
}
