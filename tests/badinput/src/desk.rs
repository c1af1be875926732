//! A desk: a directory with keys and a lattice's trust, where one case is tried. Keys are the same
//! at every desk, so that a component can be signed before there is one.

use anyhow::Result;
use keys::{ClaimRequest, KeyKind, KeyPair};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// A password that cases and commands are given, and that nothing may show.
pub const CANARY: &str = "canary-7f3e9b1c";

/// The key of this kind and number.
#[must_use]
pub fn key(kind: KeyKind, number: u8) -> KeyPair {
    KeyPair::from_entropy(kind, [number; 32])
}

/// The account that every desk trusts.
#[must_use]
pub fn issuer() -> KeyPair {
    key(KeyKind::Account, 1)
}

/// An account that no desk trusts.
#[must_use]
pub fn stranger() -> KeyPair {
    key(KeyKind::Account, 2)
}

/// An account that was trusted, and is revoked.
#[must_use]
pub fn revoked() -> KeyPair {
    key(KeyKind::Account, 3)
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Claims of a component that may use everything. Each name is a module of its own.
#[must_use]
pub fn request(name: &str) -> ClaimRequest {
    let number = name.bytes().fold(0u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    let mut request = ClaimRequest::new(key(KeyKind::Module, number).public(), name);
    let everything = [
        "wasi:http",
        "wasi:keyvalue",
        "wasmcloud:messaging",
        "wasi:blobstore",
        "wasmcloud:secrets",
        "test:a",
    ];
    request.capabilities = everything.map(str::to_owned).into();
    request
}

/// The component, signed by the trusted issuer.
///
/// # Errors
/// It is no component.
pub fn signed(component: &[u8], name: &str) -> Result<Vec<u8>> {
    Ok(keys::sign_component(component, &request(name), &issuer(), now() - 60)?)
}

/// What must never be seen.
#[must_use]
pub fn secrets() -> Vec<String> {
    let seeds = [issuer(), stranger(), revoked()].map(|key| key.seed().to_string());
    seeds.into_iter().chain([CANARY.to_owned()]).collect()
}

/// One directory.
pub struct Desk {
    dir: TempDir,
}

const MANIFEST: &str = "\
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: bad }
spec:
  actors:
    - { name: a, artifact: app.wasm }
";

impl Desk {
    /// With a lattice's directory that trusts the issuer and has revoked another, and a manifest of
    /// one actor, `app.wasm`.
    ///
    /// # Errors
    /// The disk's.
    pub fn new() -> Result<Self> {
        let desk = Self { dir: TempDir::new()? };
        let trust = serde_json::json!({
            "issuers": [issuer().public(), revoked().public()],
            "controllers": [],
            "revoked": { revoked().public().as_str(): now() - 86_400 },
        });
        let lattice = serde_json::json!({
            "lattice": "desk", "natsUrl": "nats://127.0.0.1:1", "subjects": [], "hosts": [],
        });
        desk.write("trellis-lattice/trust.json", trust.to_string())?;
        desk.write("trellis-lattice/lattice.json", lattice.to_string())?;
        let seed = desk.write("issuer.nk", format!("{}\n", *issuer().seed()))?;
        fs::set_permissions(seed, fs::Permissions::from_mode(0o600))?;
        desk.write("app.yaml", MANIFEST)?;
        Ok(desk)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.dir.path().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, content)?;
        Ok(path)
    }
}

/// The names that commands may use for what is known only here.
#[must_use]
pub fn filled(line: &str) -> String {
    line.replace("$ISSUER", issuer().public().as_str()).replace("$STRANGER", stranger().public().as_str())
}
