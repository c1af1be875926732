//! A real OCI registry for a test (Debian's `docker-registry`): a free port on loopback, its own
//! directory, with a password if asked for; killed on drop.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::process::{LogMark, Process, ProcessSpec};
use crate::tools;

const START_DEADLINE: Duration = Duration::from_secs(30);
/// What it says before its address.
const LISTENS: &str = "listening on ";

/// The only user of a registry with passwords, and the password.
pub const USER: (&str, &str) = ("alice", "opensesame");
/// The same as the registry's own file has it: bcrypt, of least cost.
const PASSWORD_FILE: &str = "alice:$2b$04$YyzTgC/bEOYGukyjnyUjoOP24Pg9/FEmhxeWHfhFNuWfgjPg0lcPK\n";

/// A running (or killed) registry. Killed on drop.
#[derive(Debug)]
pub struct OciRegistry {
    process: Process,
    address: String,
    dir: TempDir,
}

impl OciRegistry {
    /// Starts one that anybody may use.
    ///
    /// # Errors
    /// No docker-registry to be had, or it does not start (its log is shown).
    pub async fn start() -> Result<Self> {
        Self::launch("").await
    }

    /// Starts one that only [`USER`] may use.
    ///
    /// # Errors
    /// As [`OciRegistry::start`].
    pub async fn start_with_password() -> Result<Self> {
        Self::launch("auth: { htpasswd: { realm: test, path: DIR/htpasswd } }\n").await
    }

    async fn launch(auth: &str) -> Result<Self> {
        let binary = tools::ensure_docker_registry()?;
        let dir = tempfile::Builder::new().prefix("registry-").tempdir()?;
        let config = format!(
            "version: 0.1\nlog: {{ level: info }}\n\
             storage: {{ filesystem: {{ rootdirectory: DIR/data }} }}\n\
             http: {{ addr: \"127.0.0.1:0\", secret: test }}\n{auth}"
        );
        let path = dir.path().display().to_string();
        fs::write(dir.path().join("config.yml"), config.replace("DIR", &path))?;
        fs::write(dir.path().join("htpasswd"), PASSWORD_FILE)?;
        let (process, address) = spawn(&binary, dir.path()).await?;
        Ok(Self { process, address, dir })
    }

    /// `127.0.0.1:<port>`: the registry's part of a reference.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// SIGKILL. What was pushed stays on its disk.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill().map(drop)
    }

    /// Where it keeps a blob: for a test that damages it.
    pub fn blob_path(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let two: String = hex.chars().take(2).collect();
        let blobs = self.dir.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(two).join(hex).join("data")
    }
}

async fn spawn(binary: &Path, dir: &Path) -> Result<(Process, String)> {
    let log = dir.join("registry.log");
    let since = LogMark::end_of(&log);
    let mut process =
        ProcessSpec::new("docker-registry", binary, log).arg("serve").arg(dir.join("config.yml")).spawn()?;
    let line = process.wait_for_line_since(since, LISTENS, START_DEADLINE).await?;
    let (_, after) = line.split_once(LISTENS).context("no address in the line")?;
    let address = after.split(['"', ' ']).next().unwrap_or_default().to_owned();
    Ok((process, address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;

    #[tokio::test]
    async fn it_answers_and_one_with_passwords_asks_for_them() {
        let open = OciRegistry::start().await.unwrap();
        let closed = OciRegistry::start_with_password().await.unwrap();
        let asked = |address: &str| http::get(address.parse().unwrap(), "/v2/");
        asked(open.address()).await.unwrap();
        let refusal = asked(closed.address()).await.unwrap_err().to_string();
        assert!(refusal.contains("401"), "{refusal}");
    }
}
