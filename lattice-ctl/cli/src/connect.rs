//! Connecting to the lattice as one of its users.

use crate::args::Args;
use crate::lattice_dir::LatticeDir;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keys::KeyPair;
use lattice_io::nats::{NatsAuth, NatsLattice, NatsOptions, connect};
use lattice_protocol::permission::PersonRole;
use lattice_protocol::subject::Subjects;
use lattice_protocol::{DomainName, ErrorCode, Report};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The server that is used when nothing at all is said.
pub const DEFAULT_URL: &str = "nats://127.0.0.1:4222";

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
    /// JetStream domain of the lattice; none: that of the server.
    pub domain: Option<DomainName>,
    /// Name, in the server's monitoring.
    pub name: String,
}

/// In which role, and under which name, controllers are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// What the user may do.
    pub role: PersonRole,
    /// The user's name.
    pub user: String,
}

/// As its token says: a user that may ask in one role only is that. `None` for one that is not held to
/// any, which is an administrator.
fn identity_of(creds: &str, subjects: &Subjects) -> Option<Identity> {
    let token = creds.lines().find(|line| line.starts_with("eyJ"))?;
    let payload = URL_SAFE_NO_PAD.decode(token.trim().split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    let allowed = claims.pointer("/nats/pub/allow")?.as_array()?;
    allowed.iter().find_map(|pattern| {
        let subject = format!("{}any", pattern.as_str()?.strip_suffix('*')?);
        let (role, user, _) = subjects.parse_api(&subject)?;
        Some(Identity { role: PersonRole::parse(&role)?, user })
    })
}

impl Login {
    /// As whom controllers are asked.
    pub fn identity(&self, subjects: &Subjects) -> Result<Identity, Report> {
        let held = match &self.creds {
            Some(path) => identity_of(&read(path)?, subjects),
            None => None,
        };
        Ok(held.unwrap_or_else(|| Identity { role: PersonRole::Admin, user: self.name.clone() }))
    }

    /// The user's own key.
    ///
    /// # Errors
    /// No credentials, or none with a seed.
    pub fn user_key(&self) -> Result<KeyPair, Report> {
        let missing = || {
            Report::new(ErrorCode::Config, "no credentials of a user")
                .hint("name them: --nats-creds <file>; an administrator makes them: trellis user add <name>")
        };
        if let Some(path) = &self.nkey {
            return crate::keyfile::read(path, keys::KeyKind::User);
        }
        let path = self.creds.as_ref().ok_or_else(missing)?;
        let creds = Zeroizing::new(read(path)?);
        let seed = creds.lines().map(str::trim).find(|line| line.starts_with("SU")).ok_or_else(missing)?;
        KeyPair::from_seed(seed)
            .map_err(|error| Report::new(ErrorCode::Name, error.to_string()).at(path.display()))
    }

    /// As a user of a lattice's directory or bundle.
    pub fn of_dir(dir: &LatticeDir, user: &str) -> Result<Self, Report> {
        let file = dir.file()?;
        Ok(Self {
            url: file.nats_url,
            domain: file.domain,
            creds: Some(dir.creds(user)),
            nkey: None,
            inbox_prefix: Some(format!("_INBOX_{user}")),
            name: user.to_owned(),
        })
    }

    /// At another server, or in another domain, if the command line says so.
    pub fn told(mut self, args: &Args) -> Self {
        if let Some(url) = &args.nats_url {
            self.url.clone_from(url);
        }
        if args.nats_domain.is_some() {
            self.domain.clone_from(&args.nats_domain);
        }
        self
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
            domain: self.domain.clone(),
            background,
            ..NatsOptions::new(&self.url)
        };
        connect(options).await.map_err(|error| {
            let report = Report::from(error);
            let is_nobody = self.creds.is_none() && self.nkey.is_none();
            match report.code {
                ErrorCode::Denied if is_nobody => report.hint(NO_LATTICE),
                ErrorCode::Connection if is_nobody && self.url == DEFAULT_URL => report.hint(NO_LATTICE),
                _ => report,
            }
        })
    }
}

/// For who has named no lattice, on purpose or not.
const NO_LATTICE: &str = if cfg!(feature = "operator") {
    "no lattice is named here: begin one (trellis up -d), run this in the folder that has its trellis-lattice, or name \
        it once: trellis config set <name> --dir <its trellis-lattice>"
} else {
    "no lattice is named here: give its server (--nats-url) and the credentials that this host was enrolled with (--nats-creds)"
};

fn read(path: &Path) -> Result<String, Report> {
    std::fs::read_to_string(path)
        .map_err(|error| crate::output::file_report("read the credentials", path, &error))
}
