//! The files. Everything here blocks.
//!
//! Every path is made of the data directory and encoded names, and files are opened without
//! following a link in the last place; directories that are links are no containers.

use crate::name::{NameError, decode, encode};
use crate::usage::{OverLimit, Usage};
use providers_sdk::blob::ObjectInfo;
use providers_sdk::{ProviderError, ProviderErrorKind};
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// A name that cannot be stored.
    #[error("{0}")]
    Name(String),
    /// Over a limit.
    #[error("{0}")]
    Limit(String),
    /// No such container or object.
    #[error("blob store: no such {0}")]
    NotFound(&'static str),
    /// The disk says no.
    #[error("blob store: {what}: {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl From<NameError> for DiskError {
    fn from(error: NameError) -> Self {
        Self::Name(error.to_string())
    }
}

impl From<OverLimit> for DiskError {
    fn from(error: OverLimit) -> Self {
        Self::Limit(error.to_string())
    }
}

impl From<DiskError> for ProviderError {
    fn from(error: DiskError) -> Self {
        let kind = match &error {
            DiskError::Name(_) => ProviderErrorKind::Invalid,
            DiskError::Limit(_) => ProviderErrorKind::Limit,
            DiskError::NotFound(_) => ProviderErrorKind::NotFound,
            DiskError::Io { source, .. } if source.kind() == ErrorKind::StorageFull => {
                ProviderErrorKind::Limit
            }
            DiskError::Io { .. } => ProviderErrorKind::Failed,
        };
        Self::new(kind, error.to_string())
    }
}

fn at<'path>(what: &'static str, path: &'path Path) -> impl FnOnce(io::Error) -> DiskError + 'path {
    move |source| DiskError::Io { what, path: path.to_owned(), source }
}

/// A missing file is what an absent object looks like.
fn absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The store's directory and what is in it.
pub(crate) struct Disk {
    containers: PathBuf,
    scratch: PathBuf,
    usage: Usage,
    next_scratch: u64,
}

impl Disk {
    /// Opens or makes a directory, removes what a crash left over, counts what is there.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn open(directory: &Path, max_bytes: u64) -> Result<Self, DiskError> {
        let (containers, scratch) = (directory.join("containers"), directory.join("scratch"));
        if let Err(error) = fs::remove_dir_all(&scratch)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(at("clean up", &scratch)(error));
        }
        for path in [&containers, &scratch] {
            DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at("make directory", path))?;
        }
        let mut disk = Self { containers, scratch, usage: Usage::new(max_bytes), next_scratch: 0 };
        disk.count()?;
        Ok(disk)
    }

    fn count(&mut self) -> Result<(), DiskError> {
        let mut usage = std::mem::take(&mut self.usage);
        for (container, metadata) in entries(&self.containers)? {
            if !metadata.is_dir() {
                continue;
            }
            usage.add_container(&container);
            for (object, metadata) in entries(&self.containers.join(&container))? {
                if metadata.is_file() {
                    usage.add(&container, &object, metadata.len());
                }
            }
        }
        self.usage = usage;
        Ok(())
    }

    /// The encoded name and the path of a container that exists.
    fn container(&self, name: &str) -> Result<(String, PathBuf), DiskError> {
        let container = encode(name)?;
        if !self.usage.has(&container) {
            return Err(DiskError::NotFound("container"));
        }
        let path = self.containers.join(&container);
        Ok((container, path))
    }

    fn scratch(&mut self) -> PathBuf {
        self.next_scratch += 1;
        self.scratch.join(self.next_scratch.to_string())
    }

    pub(crate) fn create_container(&mut self, name: &str) -> Result<(), DiskError> {
        let container = encode(name)?;
        if self.usage.has(&container) {
            return Ok(());
        }
        self.usage.check_container()?;
        let path = self.containers.join(&container);
        DirBuilder::new().mode(0o700).create(&path).map_err(at("make container", &path))?;
        sync(&self.containers)?;
        self.usage.add_container(&container);
        Ok(())
    }

    pub(crate) fn container_exists(&self, name: &str) -> Result<bool, DiskError> {
        Ok(self.usage.has(&encode(name)?))
    }

    /// An absent container is not an error.
    pub(crate) fn delete_container(&mut self, name: &str) -> Result<(), DiskError> {
        let container = encode(name)?;
        if !self.usage.has(&container) {
            return Ok(());
        }
        let (path, scratch) = (self.containers.join(&container), self.scratch());
        // Gone at once and as a whole; its objects go after it.
        fs::rename(&path, &scratch).map_err(at("delete container", &path))?;
        self.usage.remove_container(&container);
        sync(&self.containers)?;
        fs::remove_dir_all(&scratch).map_err(at("delete container", &scratch))
    }

    pub(crate) fn list(&self, name: &str) -> Result<Vec<ObjectInfo>, DiskError> {
        let (_, path) = self.container(name)?;
        let files = entries(&path)?.into_iter().filter(|(_, metadata)| metadata.is_file());
        Ok(files.filter_map(|(file, metadata)| Some(about(decode(&file)?, &metadata))).collect())
    }

    pub(crate) fn info(&self, container: &str, object: &str) -> Result<Option<ObjectInfo>, DiskError> {
        let path = self.container(container)?.1.join(encode(object)?);
        let metadata = absent(fs::symlink_metadata(&path)).map_err(at("look at object", &path))?;
        Ok(metadata.filter(Metadata::is_file).map(|metadata| about(object.to_owned(), &metadata)))
    }

    /// Opens an object for reading; the caller reads without holding the store.
    pub(crate) fn open_object(&self, container: &str, object: &str) -> Result<File, DiskError> {
        let path = self.container(container)?.1.join(encode(object)?);
        let opened = OpenOptions::new().read(true).custom_flags(nofollow()).open(&path);
        absent(opened).map_err(at("open object", &path))?.ok_or(DiskError::NotFound("object"))
    }

    pub(crate) fn write(&mut self, container: &str, object: &str, data: &[u8]) -> Result<(), DiskError> {
        let (container, directory) = self.container(container)?;
        let object = encode(object)?;
        self.usage.check(&container, &object, data.len() as u64)?;
        let (scratch, path) = (self.scratch(), directory.join(&object));
        let written = write_synced(&scratch, data).and_then(|()| fs::rename(&scratch, &path));
        if let Err(error) = written {
            // Half a file is of no use to anyone; a failure to remove it changes nothing.
            let _ = fs::remove_file(&scratch);
            return Err(at("write object", &path)(error));
        }
        self.usage.add(&container, &object, data.len() as u64);
        sync(&directory)
    }

    pub(crate) fn delete(&mut self, container: &str, objects: &[String]) -> Result<(), DiskError> {
        let (container, directory) = self.container(container)?;
        for object in objects {
            let object = encode(object)?;
            let path = directory.join(&object);
            absent(fs::remove_file(&path)).map_err(at("delete object", &path))?;
            self.usage.remove(&container, &object);
        }
        sync(&directory)
    }
}

/// Names that are text, with what they are (a link is a link), in order.
fn entries(directory: &Path) -> Result<Vec<(String, Metadata)>, DiskError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(at("list directory", directory))? {
        let entry = entry.map_err(at("list directory", directory))?;
        let metadata = entry.metadata().map_err(at("list directory", directory))?;
        if let Ok(name) = entry.file_name().into_string() {
            found.push((name, metadata));
        }
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(found)
}

fn about(name: String, metadata: &Metadata) -> ObjectInfo {
    let written = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    ObjectInfo { name, size: metadata.len(), created_at: written.map_or(0, |time| time.as_secs()) }
}

fn nofollow() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()
}

fn write_synced(path: &Path, data: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(data)?;
    file.sync_all()
}

/// Makes names in a directory durable.
fn sync(directory: &Path) -> Result<(), DiskError> {
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(at("sync", directory))
}

/// Bytes `start..=end` of a file, as far as there are any.
pub(crate) fn read_range(file: &File, start: u64, end: u64) -> io::Result<Vec<u8>> {
    let size = file.metadata()?.len();
    let end = end.saturating_add(1).min(size);
    let length = usize::try_from(end.saturating_sub(start)).map_err(io::Error::other)?;
    let mut data = vec![0; length];
    file.read_exact_at(&mut data, start)?;
    Ok(data)
}
