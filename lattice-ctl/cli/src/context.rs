//! Where the lattice is, and as whom: flags, then the environment (clap reads it), then the saved
//! context that is selected, then `./trellis-lattice` if it is there, then an open server on this
//! machine.

use crate::args::Args;
use crate::connect::{DEFAULT_URL, Login};
use crate::home;
use crate::lattice_dir::LatticeDir;
use crate::output::file_report;
use keys::TrustAnchors;
use lattice_protocol::name::is_token;
use lattice_protocol::{DomainName, ErrorCode, LatticeName, Report};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The directory that is used when nothing else is said and it is there.
const DEFAULT_DIR: &str = "trellis-lattice";
/// The user of a lattice's directory that commands are.
const ADMIN: &str = "admin";

/// What `trellis` keeps for one person.
pub use home::dir as home;

/// A saved context. Secrets stay in the files that it names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContextFile {
    /// Name of the lattice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lattice: Option<LatticeName>,
    /// Its NATS server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats_url: Option<String>,
    /// Its JetStream domain, where that server is of another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats_domain: Option<DomainName>,
    /// Credentials of a NATS user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creds: Option<PathBuf>,
    /// The lattice's directory, for the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// Which user of that directory; `admin` if none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// Where the lattice is, and as whom.
#[derive(Debug)]
pub struct Context {
    /// Name of the lattice.
    pub lattice: LatticeName,
    /// How to connect.
    pub login: Login,
    /// Its directory, when there is one here.
    pub dir: Option<LatticeDir>,
    /// In words, for `doctor`: what decided.
    pub origin: String,
}

/// Where a saved context is.
pub fn path_of(name: &str) -> Result<PathBuf, Report> {
    if !is_token(name) {
        return Err(Report::new(ErrorCode::Name, "context name: only A-Za-z0-9_-, 1..64").got(name));
    }
    Ok(home()?.join("contexts").join(format!("{name}.json")))
}

/// The selected context's name, if one is selected.
pub fn current() -> Result<Option<String>, Report> {
    let path = home()?.join("current");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|name| !name.is_empty())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_report("read the selected context", &path, &error)),
    }
}

/// Reads a saved context.
pub fn read(name: &str) -> Result<ContextFile, Report> {
    let path = path_of(name)?;
    let text = std::fs::read(&path).map_err(|error| {
        file_report("read the context", &path, &error)
            .hint("see: trellis config get; make it: trellis config set")
    })?;
    serde_json::from_slice(&text)
        .map_err(|error| Report::new(ErrorCode::Config, error.to_string()).at(path.display()))
}

/// Saves a context.
pub fn write(name: &str, file: &ContextFile) -> Result<(), Report> {
    let text = serde_json::to_vec_pretty(file)
        .map_err(|error| Report::new(ErrorCode::Internal, error.to_string()))?;
    replace(&path_of(name)?, &text)
}

/// Selects a context.
pub fn select(name: &str) -> Result<(), Report> {
    read(name)?;
    replace(&home()?.join("current"), format!("{name}\n").as_bytes())
}

fn replace(path: &Path, content: &[u8]) -> Result<(), Report> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|error| file_report("make the directory", parent, &error))?;
    }
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, content).map_err(|error| file_report("write", &fresh, &error))?;
    std::fs::rename(&fresh, path).map_err(|error| file_report("write", path, &error))
}

impl Context {
    /// Decides.
    ///
    /// # Errors
    /// A context that was asked for by name and cannot be read, or a broken directory.
    pub fn resolve(args: &Args) -> Result<Self, Report> {
        let (file, origin) = Self::base(args)?;
        let dir = file.dir.as_ref().map(LatticeDir::at);
        let user = file.user.as_deref().unwrap_or(ADMIN);
        let mut login = match &dir {
            Some(dir) => Login::of_dir(dir, user)?,
            None => Login {
                url: DEFAULT_URL.to_owned(),
                creds: None,
                nkey: None,
                inbox_prefix: None,
                domain: None,
                name: "trellis".to_owned(),
            },
        };
        let saved = match &dir {
            Some(dir) => Some(dir.file()?.lattice),
            None => None,
        };
        if let Some(url) = args.nats_url.as_ref().or(file.nats_url.as_ref()) {
            login.url.clone_from(url);
        }
        if let Some(domain) = args.nats_domain.as_ref().or(file.nats_domain.as_ref()) {
            login.domain = Some(domain.clone());
        }
        if let Some(creds) = args.nats_creds.as_ref().or(file.creds.as_ref()) {
            login.creds = Some(creds.clone());
            // A user of ours may only listen to answers under its own name.
            let stem = creds.file_stem().and_then(|stem| stem.to_str()).filter(|stem| is_token(stem));
            login.inbox_prefix = stem.map(|stem| format!("_INBOX_{stem}"));
        }
        let lattice = match args.lattice.clone().or(file.lattice).or(saved) {
            Some(lattice) => lattice,
            None => LatticeName::new("default")?,
        };
        Ok(Self { lattice, login, dir, origin })
    }

    fn base(args: &Args) -> Result<(ContextFile, String), Report> {
        let named = match &args.context {
            Some(name) => Some(name.clone()),
            None => current()?,
        };
        if let Some(name) = named {
            return Ok((read(&name)?, format!("context {name}")));
        }
        if LatticeDir::at(DEFAULT_DIR).exists() {
            let file = ContextFile { dir: Some(DEFAULT_DIR.into()), ..ContextFile::default() };
            return Ok((file, format!("./{DEFAULT_DIR}")));
        }
        // The name by which wasmCloud's documents and seed 004 know the server.
        let nats_url = std::env::var("CLUSTER_URI").ok().filter(|url| !url.is_empty());
        let origin = if nats_url.is_some() { "CLUSTER_URI" } else { "defaults" };
        Ok((ContextFile { nats_url, ..ContextFile::default() }, origin.to_owned()))
    }

    /// Whose claims count here, as far as this machine knows.
    pub fn trust(&self) -> Result<Option<TrustAnchors>, Report> {
        match &self.dir {
            Some(dir) => crate::compose::anchors(&dir.trust()?).map(Some),
            None => Ok(None),
        }
    }
}
