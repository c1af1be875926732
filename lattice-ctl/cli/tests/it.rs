//! The `trellis` command as people run it: the binary itself, its output, its exit status, the files
//! it leaves. What needs a lattice runs on a real nats-server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop where it is"
)]

#[path = "it/claims.rs"]
mod claims;
#[path = "it/lattice.rs"]
mod lattice;
#[path = "it/manifests.rs"]
mod manifests;
#[path = "it/projects.rs"]
mod projects;
#[path = "it/registry.rs"]
mod registry;
#[path = "it/secrets.rs"]
mod secrets;
#[path = "it/seed.rs"]
mod seed;
#[path = "it/up.rs"]
mod up;
#[path = "it/usage.rs"]
mod usage;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One run of the command.
pub struct Ran {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!("not one JSON document ({error}):\n{}\n{}", self.stdout, self.stderr)
        })
    }
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 0, "{}\n{}", self.stdout, self.stderr);
        self
    }
    /// Failed with this exit status and code; gives the line.
    #[track_caller]
    pub fn failed(self, status: i32, code: &str) -> String {
        assert_eq!(self.status, status, "{}\n{}", self.stdout, self.stderr);
        let last = self.stderr.lines().last().unwrap_or_default().to_owned();
        assert!(last.starts_with(&format!("{code}: ")), "want {code}: {}", self.stderr);
        last
    }
}

/// A person with a home and a working directory of their own.
pub struct Person {
    dir: tempfile::TempDir,
    /// Given to every command.
    pub env: Vec<(String, String)>,
}

impl Person {
    #[allow(clippy::new_without_default, reason = "a directory on disk is no default")]
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), env: Vec::new() }
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }
    pub fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, "")
    }
    /// With this on its standard input.
    pub fn run_with(&self, args: &[&str], input: &str) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trellis"));
        command.args(args).current_dir(self.dir.path()).stdin(std::process::Stdio::piped());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        for name in [
            "RUST_LOG",
            "CLUSTER_URI",
            "TRELLIS_NATS_URL",
            "TRELLIS_NATS_CREDS",
            "TRELLIS_LATTICE",
            "TRELLIS_CONTEXT",
            "TRELLIS_NATS_SERVER",
            "TRELLIS_OCI_USER",
            "TRELLIS_OCI_PASSWORD",
            "TRELLIS_SDK",
        ] {
            command.env_remove(name);
        }
        command.env("TRELLIS_HOME", self.path("home")).envs(self.env.iter().cloned());
        let mut child = command.spawn().unwrap();
        // A command that reads nothing may have closed it.
        let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Ran {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A guest that was built before, or by this test.
pub fn guest(name: &str) -> Vec<u8> {
    let path = tests_harness::fixtures::guest(name).unwrap();
    std::fs::read(path).unwrap()
}

pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
