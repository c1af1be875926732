//! One at a time, across processes: a lock file under the tools folder. The kernel releases the
//! lock when its holder dies, so a killed test leaves nothing to clean up.

use std::fs::{self, File};

use anyhow::{Context, Result};

use crate::workspace;

/// Runs `work` while holding the lock called `name`.
pub(crate) fn with_lock<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let dir = workspace::tools_dir();
    fs::create_dir_all(&dir).with_context(|| format!("folder {}", dir.display()))?;
    let path = dir.join(format!("{name}.lock"));
    let file = File::create(&path).with_context(|| format!("lock file {}", path.display()))?;
    file.lock().with_context(|| format!("lock on {}", path.display()))?;
    // The file is closed, and so unlocked, when it goes out of scope, on every way out.
    work()
}
