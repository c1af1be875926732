//! The few things that the journal does to files. On disk by [`DiskFiles`]; tests put faults in
//! between, or keep everything in memory and cut the power.
//!
//! Names are those of one directory, without any path in them.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

/// One open file of fixed size.
pub trait SegmentFile: Send + Debug {
    /// Writes all of it at this offset.
    ///
    /// # Errors
    /// From the system; some of it may be written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Returns when everything written is on disk.
    ///
    /// # Errors
    /// From the system; what was written since the last sync may be lost, whatever a later one says.
    fn sync(&self) -> io::Result<()>;
    /// The whole content.
    ///
    /// # Errors
    /// From the system.
    fn read(&self) -> io::Result<Vec<u8>>;
}

/// The files of one directory.
pub trait Files: Send + Sync + Debug {
    /// All names.
    ///
    /// # Errors
    /// From the system.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes a file of so many zeros; it is on disk, or not there at all.
    ///
    /// # Errors
    /// From the system.
    fn create(&self, name: &str, bytes: u64) -> io::Result<()>;
    /// Replaces a small file as a whole; returns when it is on disk.
    ///
    /// # Errors
    /// From the system; the old content is then as it was.
    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()>;
    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// From the system.
    fn open(&self, name: &str) -> io::Result<Box<dyn SegmentFile>>;
    /// Renames; returns when that is on disk.
    ///
    /// # Errors
    /// From the system.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes; returns when that is on disk.
    ///
    /// # Errors
    /// From the system.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// Zeros are written in pieces of this size, bytes.
const PIECE: usize = 64 << 10;

/// A directory on disk.
#[derive(Debug)]
pub struct DiskFiles {
    directory: PathBuf,
}

impl DiskFiles {
    /// This directory, which must exist and be this process's alone.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    fn write_new(&self, name: &str, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        let temporary = self.directory.join(format!("{name}{}", crate::atomic::TEMPORARY));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let written = options.open(&temporary).and_then(|mut file| {
            fill(&mut file)?;
            file.sync_all()
        });
        let placed = written.and_then(|()| fs::rename(&temporary, self.directory.join(name)));
        if placed.is_err() {
            // What stays is swept at the next start.
            let _ = fs::remove_file(&temporary);
        }
        placed.and_then(|()| self.sync_directory())
    }
}

impl Files for DiskFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.directory)?.map(|entry| {
            let name = entry?.file_name().into_string();
            name.map_err(|name| io::Error::other(format!("a file name that is no text: {}", name.display())))
        });
        names.collect()
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<()> {
        self.write_new(name, |file| {
            let zeros = vec![0; PIECE];
            let mut left = bytes;
            while left > 0 {
                let piece = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
                file.write_all(zeros.get(..piece).unwrap_or(&zeros))?;
                left -= piece as u64;
            }
            file.sync_all()?;
            forget_pages(file);
            Ok(())
        })
    }

    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.write_new(name, |file| file.write_all(content))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NOFOLLOW);
        Ok(Box::new(DiskFile(options.open(self.directory.join(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.directory.join(from), self.directory.join(to))?;
        self.sync_directory()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.directory.join(name))?;
        self.sync_directory()
    }
}

/// ext4 keeps pages of large writes and of read-ahead together; a small write into such a group
/// costs as much as writing all of it. So what was zeroed or read is dropped from memory.
fn forget_pages(file: &File) {
    // A hint: where it is not understood, only bytes written are lost by it.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

#[derive(Debug)]
struct DiskFile(File);

impl SegmentFile for DiskFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn read(&self) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.0.metadata()?.len()).unwrap_or(usize::MAX);
        let mut content = vec![0; length];
        self.0.read_exact_at(&mut content, 0)?;
        forget_pages(&self.0);
        Ok(content)
    }
}
