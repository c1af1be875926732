//! Secrets by reference. Desired state, specs, heartbeats and logs name a secret (`secret:redis`);
//! its value is fetched here when a provider is built, a link is bound, or a guest asks.
//!
//! Two places, in this order:
//! 1. a file of this host, `<secrets directory>/<name>`, mode 0600: for what only this machine knows;
//! 2. the lattice's bucket of sealed secrets, opened with this host's curve key. The sealed form is
//!    kept on disk as it was fetched last, so that a host without the lattice starts all the same.
//!
//! [`Secrets::watch`] tells the control loop when a secret that was asked for has changed: rotation
//! needs no restart. Values are in no environment, no log and no error; what a provider says while
//! it is being built passes [`Resolved::redact`].

use futures::FutureExt;
use futures::future::BoxFuture;
use host_runtime::wiring::SecretSource;
use host_store::SealedStore;
use keys::{CurveKey, Digest, SealError, Sealed};
use lattice_io::{Kv, KvEvent, Lattice, WatchKeys};
use lattice_protocol::manifest::secret_ref;
use lattice_protocol::{ErrorCode, HostId, Report};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

/// Longest wait for the lattice before what is on disk is used.
const PATIENCE: Duration = Duration::from_secs(3);
/// Time between two looks at the host's own files.
const LOOK: Duration = Duration::from_secs(2);
/// Shorter texts would be found everywhere.
const REDACTED_FROM: usize = 4;

/// Where this host's secrets come from.
#[derive(Debug, Clone, Default)]
pub struct SecretsConfig {
    /// What sealed secrets are opened with.
    pub key: Option<CurveKey>,
    /// A directory of files, each a secret by its name.
    pub dir: Option<PathBuf>,
}

/// The secrets of this host.
pub struct Secrets {
    host: HostId,
    config: SecretsConfig,
    lattice: Lattice,
    bucket: String,
    kept: SealedStore,
    /// What was read last under each name that was asked for: its fingerprint, none when there was
    /// nothing. The lock is never held across an await.
    seen: Mutex<BTreeMap<String, Option<Digest>>>,
}

/// A configuration with its secrets in it. Neither shown nor kept.
pub struct Resolved {
    /// The values.
    pub values: BTreeMap<String, String>,
    secrets: Vec<Zeroizing<String>>,
}

impl Resolved {
    /// The text without any of the secrets.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let long = self.secrets.iter().filter(|secret| secret.len() >= REDACTED_FROM);
        long.fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "[secret]"))
    }

    /// The report without any of them.
    #[must_use]
    pub fn redact_report(&self, report: Report) -> Report {
        let clean = |text: Option<String>| text.map(|text| self.redact(&text));
        Report {
            code: report.code,
            what: self.redact(&report.what),
            place: clean(report.place),
            got: clean(report.got),
            limit: clean(report.limit),
            hint: clean(report.hint),
        }
    }
}

impl Secrets {
    /// Of this host; nothing is read yet.
    #[must_use]
    pub fn new(
        host: HostId,
        config: SecretsConfig,
        (lattice, bucket): (Lattice, String),
        kept: SealedStore,
    ) -> Self {
        Self { host, config, lattice, bucket, kept, seen: Mutex::default() }
    }

    /// A configuration in which every reference is replaced by what it refers to.
    ///
    /// # Errors
    /// As [`SecretSource::reveal`], for the first secret that is not to be had.
    pub async fn resolve(&self, config: &BTreeMap<String, String>) -> Result<Resolved, Report> {
        let mut resolved = Resolved { values: config.clone(), secrets: Vec::new() };
        for (key, value) in config {
            let Some(name) = secret_ref(value) else { continue };
            let secret = self.text(name).await?;
            resolved.values.insert(key.clone(), secret.as_str().to_owned());
            resolved.secrets.push(secret);
        }
        Ok(resolved)
    }

    /// A secret that is text.
    ///
    /// # Errors
    /// As [`SecretSource::reveal`]; `E_CONFIG` when it is not UTF-8.
    pub async fn text(&self, name: &str) -> Result<Zeroizing<String>, Report> {
        let bytes = self.bytes(name).await?;
        let text = std::str::from_utf8(&bytes).map_err(|_| {
            self.report(ErrorCode::Config, "secret is not text", name)
                .hint("configuration takes UTF-8; put it as text")
        })?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    async fn bytes(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, Report> {
        if let Some(own) = self.own_file(name)? {
            self.note(name, Some(Digest::of(&own)));
            return Ok(own);
        }
        match tokio::time::timeout(PATIENCE, self.stored(name)).await {
            Ok(Ok(Some(sealed))) => {
                self.note(name, Some(Digest::of(&sealed)));
                let opened = self.open(name, &sealed)?;
                if let Err(error) = self.kept.put(name, &sealed) {
                    tracing::error!(%error, secret = name, "sealed secret not kept: a start offline would miss it");
                }
                Ok(opened)
            }
            Ok(Ok(None)) => {
                self.note(name, None);
                self.forget(name);
                Err(self.missing(name))
            }
            Ok(Err(report)) => self.kept_one(name, &report.to_string()),
            Err(_) => self.kept_one(name, "no answer in time"),
        }
    }

    /// The entry in the lattice; none when there is none.
    async fn stored(&self, name: &str) -> Result<Option<bytes::Bytes>, Report> {
        let Some(bucket) = self.lattice.kv.lookup(&self.bucket).await? else { return Ok(None) };
        Ok(bucket.get_latest(name).await?.map(|entry| entry.value))
    }

    /// What was fetched before, while the lattice cannot be asked.
    fn kept_one(&self, name: &str, why: &str) -> Result<Zeroizing<Vec<u8>>, Report> {
        match self.kept.get(name).map_err(Report::from)? {
            Some(sealed) => {
                self.note(name, Some(Digest::of(&sealed)));
                self.open(name, &sealed)
            }
            None => {
                self.note(name, None);
                Err(self
                    .report(ErrorCode::Connection, "secret not fetched", name)
                    .got(why)
                    .hint("this host never had it; it is tried again when the lattice is there"))
            }
        }
    }

    fn open(&self, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Report> {
        let again = format!("seal it to this host: trellis secret share {name}");
        let key = self.config.key.as_ref().ok_or_else(|| {
            self.report(ErrorCode::SecretSealed, "secret cannot be opened: this host has no curve key", name)
                .hint("enrol the host again, and copy its bundle: trellis lattice enroll")
        })?;
        let sealed: Sealed = serde_json::from_slice(sealed).map_err(|error| {
            self.report(ErrorCode::Damaged, "sealed secret not readable", name).got(error)
        })?;
        sealed.open(name, key).map_err(|error| match error {
            SealError::NotForUs { .. } => {
                self.report(ErrorCode::SecretSealed, "secret is not sealed to this host", name).hint(again)
            }
            other => self.report(ErrorCode::SecretSealed, "secret cannot be opened", name).got(other),
        })
    }

    /// The host's own file of this name.
    fn own_file(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Report> {
        let Some(dir) = &self.config.dir else { return Ok(None) };
        let path = dir.join(name);
        let io = |error: std::io::Error| {
            self.report(ErrorCode::Io, "secret not readable", name)
                .got(format!("{}: {error}", path.display()))
        };
        let mode = match std::fs::metadata(&path) {
            Ok(data) if data.len() > keys::seal::MAX_SECRET_BYTES as u64 => {
                let limit = format!("at most {} bytes", keys::seal::MAX_SECRET_BYTES);
                return Err(self
                    .report(ErrorCode::TooLarge, "secret too large", name)
                    .got(data.len())
                    .limit(limit));
            }
            Ok(data) => data.permissions().mode() & 0o777,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        if mode & 0o077 != 0 {
            return Err(self
                .report(ErrorCode::Denied, "secret file is readable by others", name)
                .got(format!("{}: mode {mode:04o}", path.display()))
                .limit("0600")
                .hint(format!("chmod 600 {}", path.display())));
        }
        let mut content = Zeroizing::new(std::fs::read(&path).map_err(io)?);
        // Editors end a file in a newline that nobody means.
        if content.last() == Some(&b'\n') {
            content.pop();
        }
        Ok(Some(content))
    }

    fn report(&self, code: ErrorCode, what: &str, name: &str) -> Report {
        Report::new(code, format!("{what}: {name}")).at(format!("host {}", self.host))
    }

    fn missing(&self, name: &str) -> Report {
        let report = self.report(ErrorCode::SecretNotFound, "secret not found", name);
        match &self.config.dir {
            None => report.hint(format!("put it: trellis secret put {name}")),
            Some(dir) => report.hint(format!(
                "put it: trellis secret put {name}, or as a file of mode 0600 on the host: {}",
                dir.join(name).display()
            )),
        }
    }

    fn note(&self, name: &str, fingerprint: Option<Digest>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(name.to_owned(), fingerprint);
    }

    fn forget(&self, name: &str) {
        if let Err(error) = self.kept.remove(name) {
            tracing::warn!(%error, secret = name, "kept secret not removed");
        }
    }

    /// Was this asked for, and is it now another?
    fn differs(&self, name: &str, fingerprint: Option<Digest>) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(name).is_some_and(|known| *known != fingerprint)
    }

    /// Tells of every secret that was asked for and has changed, until the host ends.
    pub async fn watch(self: Arc<Self>, bucket: Arc<dyn Kv>, changed: mpsc::Sender<String>) {
        let mut entries = bucket.watch(WatchKeys::All);
        loop {
            let names = match tokio::time::timeout(LOOK, entries.next()).await {
                Ok(Some(KvEvent::Put(entry))) => self.of_entry(&entry.key, Some(Digest::of(&entry.value))),
                Ok(Some(KvEvent::Deleted { key, .. })) => {
                    self.forget(&key);
                    self.of_entry(&key, None)
                }
                Ok(Some(KvEvent::Current)) => Vec::new(),
                Ok(None) => return,
                // Nothing came from the lattice: time to look at our own files.
                Err(_) => self.of_files(),
            };
            for name in names {
                if changed.send(name).await.is_err() {
                    return;
                }
            }
        }
    }

    fn of_entry(&self, name: &str, fingerprint: Option<Digest>) -> Vec<String> {
        let own = self.config.dir.as_ref().is_some_and(|dir| dir.join(name).exists());
        if !own && self.differs(name, fingerprint) { vec![name.to_owned()] } else { Vec::new() }
    }

    fn of_files(&self) -> Vec<String> {
        if self.config.dir.is_none() {
            return Vec::new();
        }
        let names: Vec<String> =
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        let is_new = |name: &String| match self.own_file(name) {
            Ok(Some(content)) => self.differs(name, Some(Digest::of(&content))),
            // Gone, or never there: the lattice's own watch tells of the rest.
            _ => false,
        };
        names.into_iter().filter(is_new).collect()
    }
}

impl SecretSource for Secrets {
    fn reveal<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<bytes::Bytes, Report>> {
        async move { self.bytes(name).await.map(|value| bytes::Bytes::copy_from_slice(&value)) }.boxed()
    }
}

#[cfg(test)]
mod tests;
