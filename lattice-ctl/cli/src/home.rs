//! What `trellis` keeps for one person: `$TRELLIS_HOME`, by default `~/.trellis`.
//!
//! ```text
//! contexts/<name>.json    where a lattice is, and as whom (no secrets: paths of them)
//! current                 the name of the selected context
//! keys/<name>.nk          seeds, mode 0600
//! signed/<name>           path of the file that was last signed under this name
//! ```

use crate::output::file_report;
use lattice_io::{Clock, SystemClock};
use lattice_protocol::name::is_token;
use lattice_protocol::{ErrorCode, Report};
use std::path::{Path, PathBuf};

/// The directory; it need not exist yet.
pub fn dir() -> Result<PathBuf, Report> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("TRELLIS_HOME").or_else(|| set("HOME").map(|home| home.join(".trellis"))).ok_or_else(|| {
        Report::new(ErrorCode::Config, "no home directory").hint("set TRELLIS_HOME to a directory of yours")
    })
}

/// Where keys are.
pub fn keys_dir() -> Result<PathBuf, Report> {
    Ok(dir()?.join("keys"))
}

/// Unix milliseconds.
pub fn now_unix_ms() -> u64 {
    SystemClock::new().unix_ms()
}

/// Unix seconds.
pub fn now_unix() -> i64 {
    i64::try_from(now_unix_ms() / 1_000).unwrap_or(i64::MAX)
}

/// Who makes a change, for people to read: the login name on this machine.
pub fn who() -> String {
    let name = ["TRELLIS_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "trellis".to_owned())
}

/// Remembers which file was signed under a name, so that `start actor <name>` finds it.
pub fn remember_signed(name: &str, file: &Path) -> Result<(), Report> {
    if !is_token(name) {
        return Ok(());
    }
    let dir = dir()?.join("signed");
    let at = std::path::absolute(file).map_err(|error| file_report("find", file, &error))?;
    std::fs::create_dir_all(&dir).map_err(|error| file_report("make the directory", &dir, &error))?;
    let note = dir.join(name);
    std::fs::write(&note, at.as_os_str().as_encoded_bytes())
        .map_err(|error| file_report("write", &note, &error))
}

/// The file that was last signed under this name, if it is still there.
pub fn signed_file(name: &str) -> Option<PathBuf> {
    if !is_token(name) {
        return None;
    }
    let text = std::fs::read_to_string(dir().ok()?.join("signed").join(name)).ok()?;
    Some(PathBuf::from(text)).filter(|path| path.exists())
}
