//! Connecting to the lattice as one of its users.

use crate::lattice_dir::LatticeDir;
use lattice_io::nats::{NatsAuth, NatsLattice, NatsOptions, connect};
use lattice_protocol::Report;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// As whom, and where.
#[derive(Debug, Clone)]
pub struct Login {
    /// Server.
    pub url: String,
    /// Credentials file; none on an open server.
    pub creds: Option<PathBuf>,
    /// NATS user seed file, for servers that know plain nkeys.
    pub nkey: Option<PathBuf>,
    /// First token of answer subjects: the user's own.
    pub inbox_prefix: Option<String>,
    /// Name, in the server's monitoring.
    pub name: String,
}

impl Login {
    /// As a user of a lattice's directory or bundle.
    pub fn of_dir(dir: &LatticeDir, user: &str) -> Result<Self, Report> {
        Ok(Self {
            url: dir.file()?.nats_url,
            creds: Some(dir.creds(user)),
            nkey: None,
            inbox_prefix: Some(format!("_INBOX_{user}")),
            name: user.to_owned(),
        })
    }

    /// Connects; `background` keeps trying instead of failing, for hosts that start offline.
    pub async fn connect(&self, background: bool) -> Result<Arc<NatsLattice>, Report> {
        let auth = match (&self.creds, &self.nkey) {
            (Some(path), _) => NatsAuth::Creds(read(path)?),
            (None, Some(path)) => {
                NatsAuth::Nkey { seed: crate::keyfile::read(path, keys::KeyKind::User)?.seed().to_string() }
            }
            (None, None) => NatsAuth::Anonymous,
        };
        let options = NatsOptions {
            name: self.name.clone(),
            auth,
            inbox_prefix: self.inbox_prefix.clone(),
            background,
            ..NatsOptions::new(&self.url)
        };
        connect(options).await.map_err(Report::from)
    }
}

fn read(path: &Path) -> Result<String, Report> {
    std::fs::read_to_string(path)
        .map_err(|error| crate::output::file_report("read the credentials", path, &error))
}
