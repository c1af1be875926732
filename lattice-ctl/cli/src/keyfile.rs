//! Seeds in files of mode 0600: read, made, written. A seed never appears in an error or a log.

use crate::output::{file_report, io_report};
use host_daemon::SnapshotKey;
use keys::{CurveKey, KeyKind, KeyPair};
use lattice_protocol::{ErrorCode, Report};
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use zeroize::Zeroizing;

/// A new key of this kind, from the system's entropy.
pub fn generate(kind: KeyKind) -> Result<KeyPair, Report> {
    Ok(KeyPair::from_entropy(kind, *entropy()?))
}

/// Reads a seed, and checks its kind and that only its owner can read the file.
pub fn read(path: &Path, kind: KeyKind) -> Result<KeyPair, Report> {
    let text = read_private(path).map_err(|report| match report.code {
        ErrorCode::NotFound => report.hint(format!("make it: trellis keys gen {}", kind.as_str())),
        _ => report,
    })?;
    let key = KeyPair::from_seed(text.trim())
        .map_err(|error| Report::new(ErrorCode::Name, error.to_string()).at(path.display()))?;
    if key.kind() != kind {
        return Err(Report::new(ErrorCode::Name, "wrong kind of key")
            .at(path.display())
            .got(key.kind().as_str())
            .limit(kind.as_str()));
    }
    Ok(key)
}

/// Reads a curve key's seed.
pub fn read_curve(path: &Path) -> Result<CurveKey, Report> {
    CurveKey::from_seed(&read_private(path)?)
        .map_err(|error| Report::new(ErrorCode::Name, error.to_string()).at(path.display()))
}

/// Reads a curve key, or makes one if the file is not there.
pub fn read_or_make_curve(path: &Path) -> Result<CurveKey, Report> {
    if path.exists() {
        return read_curve(path);
    }
    let key = CurveKey::from_entropy(*entropy()?);
    write_secret(path, format!("{}\n", *key.seed()).as_bytes())?;
    Ok(key)
}

/// Reads the key that snapshots are encrypted with.
pub fn read_snapshot_key(path: &Path) -> Result<SnapshotKey, Report> {
    let text = read_private(path).map_err(|report| match report.code {
        ErrorCode::NotFound => report.hint("make it: openssl rand -hex 32 > FILE; chmod 600 FILE"),
        _ => report,
    })?;
    SnapshotKey::from_hex(&text).ok_or_else(|| {
        Report::new(ErrorCode::Malformed, "no snapshot key").at(path.display()).limit("64 hexadecimal digits")
    })
}

/// 32 bytes from the system.
pub fn entropy() -> Result<Zeroizing<[u8; 32]>, Report> {
    let mut entropy = Zeroizing::new([0u8; 32]);
    getrandom::fill(&mut *entropy)
        .map_err(|error| Report::new(ErrorCode::Io, format!("no entropy: {error}")))?;
    Ok(entropy)
}

/// The text of a file that only its owner can read.
fn read_private(path: &Path) -> Result<Zeroizing<String>, Report> {
    let mut file = std::fs::File::open(path).map_err(|error| file_report("read the key", path, &error))?;
    let mode =
        file.metadata().map_err(|error| file_report("read the key", path, &error))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Report::new(ErrorCode::Denied, "key file is readable by others")
            .at(path.display())
            .got(format!("mode {:04o}", mode & 0o777))
            .limit("0600")
            .hint(format!("chmod 600 {}", path.display())));
    }
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(|error| file_report("read the key", path, &error))?;
    Ok(text)
}

/// Writes a seed to a new file of mode 0600; never over an existing one.
pub fn write(path: &Path, key: &KeyPair) -> Result<(), Report> {
    write_secret(path, format!("{}\n", *key.seed()).as_bytes())
}

/// Writes a secret to a new file of mode 0600, making its directory with mode 0700.
pub fn write_secret(path: &Path, content: &[u8]) -> Result<(), Report> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|error| file_report("make the directory", parent, &error))?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| file_report("write", path, &error))?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(|error| io_report("write", &error).at(path.display()))
}

/// Reads a seed, or makes one if the file is not there; `true` when it was made.
pub fn read_or_make(path: &Path, kind: KeyKind) -> Result<(KeyPair, bool), Report> {
    if path.exists() {
        return Ok((read(path, kind)?, false));
    }
    let key = generate(kind)?;
    write(path, &key)?;
    Ok((key, true))
}
