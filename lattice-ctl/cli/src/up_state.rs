//! What a running `trellis up` leaves for `trellis down` and for the next `up`: a lock that is held
//! for as long as it runs, and a note of its processes. The lock decides; the note only says whom to
//! tell. A process is known by its id *and* the time it started, so that an id that was given to
//! somebody else is never signalled.

use crate::output::file_report;
use lattice_protocol::{ErrorCode, HostId, LatticeName, Report};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// When it started, clock ticks after the machine did.
    pub started: u64,
}

impl Process {
    /// The process that has this id now.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything; fields are counted behind it.
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        if fields.first() == Some(&"Z") {
            return None;
        }
        Some(Self { pid, started: fields.get(19)?.parse().ok()? })
    }

    /// Does this very process still run?
    pub fn runs(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// `trellis up` itself.
    pub up: Process,
    /// Its nats-server, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats: Option<Process>,
    /// The lattice.
    pub lattice: LatticeName,
    /// The host.
    pub host: HostId,
    /// The server.
    pub nats_url: String,
    /// Does it serve already?
    pub ready: bool,
}

/// The directory of one `up`.
#[derive(Debug, Clone)]
pub struct UpDir {
    path: PathBuf,
}

/// Held for as long as `up` runs; the kernel lets go of it when the process ends.
pub struct Held {
    _file: File,
}

impl UpDir {
    /// Beside the lattice's files.
    pub fn of(lattice_dir: &Path) -> Self {
        Self { path: lattice_dir.join("up") }
    }

    /// A file or directory in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn lock_file(&self) -> Result<File, Report> {
        std::fs::create_dir_all(&self.path)
            .map_err(|error| file_report("make the directory", &self.path, &error))?;
        let path = self.join("lock");
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| file_report("open", &path, &error))
    }

    /// Takes the lock.
    ///
    /// # Errors
    /// `E_CONFLICT` while another `up` runs here.
    pub fn hold(&self) -> Result<Held, Report> {
        let file = self.lock_file()?;
        match file.try_lock() {
            Ok(()) => Ok(Held { _file: file }),
            Err(TryLockError::WouldBlock) => {
                let who = self.note().map_or_else(String::new, |note| format!("process {}", note.up.pid));
                Err(Report::new(ErrorCode::Conflict, "trellis up runs here already")
                    .at(self.path.display())
                    .got(who)
                    .hint("end it: trellis down"))
            }
            Err(TryLockError::Error(error)) => Err(file_report("lock", &self.join("lock"), &error)),
        }
    }

    /// Does an `up` run here?
    pub fn is_held(&self) -> bool {
        self.path.is_dir() && self.hold().is_err_and(|report| report.code == ErrorCode::Conflict)
    }

    /// What it has noted.
    pub fn note(&self) -> Option<Note> {
        serde_json::from_slice(&std::fs::read(self.join("up.json")).ok()?).ok()
    }

    /// Notes it, whole.
    ///
    /// # Errors
    /// The disk.
    pub fn write(&self, note: &Note) -> Result<(), Report> {
        let text = serde_json::to_vec_pretty(note)
            .map_err(|error| Report::new(ErrorCode::Internal, error.to_string()))?;
        let (path, fresh) = (self.join("up.json"), self.join("up.json.new"));
        std::fs::write(&fresh, text).map_err(|error| file_report("write", &fresh, &error))?;
        std::fs::rename(&fresh, &path).map_err(|error| file_report("write", &path, &error))
    }

    /// Forgets it.
    pub fn clear(&self) {
        // Not there is what is wanted.
        let _ = std::fs::remove_file(self.join("up.json"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_its_id_and_its_start_and_the_lock_decides() {
        let me = Process::of(std::process::id()).unwrap();
        assert!(me.runs());
        assert!(!Process { started: me.started + 1, ..me }.runs(), "an id that was given again");
        let dir = tempfile::tempdir().unwrap();
        let up = UpDir::of(dir.path());
        assert!(!up.is_held());
        let held = up.hold().unwrap();
        assert!(up.is_held());
        assert_eq!(up.hold().err().unwrap().code, ErrorCode::Conflict);
        drop(held);
        assert!(!up.is_held());
    }
}
