//! Compiled components on disk. What is loaded from here is executed as native code, and the
//! engine believes it: a flipped bit would run. So each entry carries a keyed BLAKE3 code under the
//! host's own key, checked over the very bytes that are then loaded.
//!
//! ```text
//! <fingerprint of engine and settings, and digest of the component>.cwasm
//!   8 bytes magic · 32 bytes code over (file name, native code) · native code
//! ```
//! Invariants: an entry that fails its check is never handed to the engine, and is removed;
//! another engine version or setting gives another file name; losing the cache costs time only (on a host that
//! compiles nothing, also a lattice to fetch from), so no failure here fails a start, and what a loaded component was
//! made of is not evicted.

use keys::Digest;
use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;
use wasmtime::Engine;
use wasmtime::component::Component;

const MAGIC: &[u8; 8] = b"TRELLIS1";
const HEADER: usize = 8 + blake3::OUT_LEN;
const SUFFIX: &str = "cwasm";

/// A directory of compiled components.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    directory: PathBuf,
    key: [u8; 32],
    max_bytes: u64,
    /// Entries that stay, by name.
    used: Arc<Mutex<HashMap<String, Weak<Used>>>>,
}

/// While it lives, an entry is not evicted.
#[derive(Debug)]
pub(crate) struct Used;

impl Cache {
    /// Over this directory, made if need be.
    pub(crate) fn open(directory: &Path, key: [u8; 32], max_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        Ok(Self { directory: directory.to_owned(), key, max_bytes, used: Arc::default() })
    }

    /// Keeps the compiled form of a component, whether it is here yet or not, from being evicted.
    pub(crate) fn keep(&self, fingerprint: &[u8; 32], digest: &Digest) -> Arc<Used> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, entry| entry.strong_count() > 0);
        let entry = used.entry(entry_name(fingerprint, digest)).or_default();
        entry.upgrade().unwrap_or_else(|| {
            let kept = Arc::new(Used);
            *entry = Arc::downgrade(&kept);
            kept
        })
    }

    fn is_used(&self, name: &str) -> bool {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.get(name).is_some_and(|entry| entry.strong_count() > 0)
    }

    /// The compiled form of a component, if there is one and it is ours.
    pub(crate) fn load(&self, engine: &Engine, fingerprint: &[u8; 32], digest: &Digest) -> Option<Component> {
        let name = entry_name(fingerprint, digest);
        let path = self.directory.join(&name);
        let file = fs::read(&path).ok()?;
        let Some(native) = self.authenticated(&name, &file) else {
            tracing::warn!(entry = %name, "cache entry rejected (MAC)");
            remove(&path);
            return None;
        };
        #[allow(unsafe_code, reason = "the bytes carry this host's own code, checked a line above")]
        // SAFETY: `native` was made by `Component::serialize` of this host: nobody without the
        // host's key can have written a code that holds, and these are the bytes it was checked over.
        let loaded = unsafe { Component::deserialize(engine, native) };
        match loaded {
            Ok(component) => {
                // Its time of use, for eviction; when it cannot be set, it is evicted early.
                let _ = fs::File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
                Some(component)
            }
            Err(error) => {
                tracing::warn!(entry = %name, error = %format!("{error:#}"), "cache entry does not load");
                remove(&path);
                None
            }
        }
    }

    /// Keeps the compiled form of a component.
    pub(crate) fn store(&self, native: &[u8], fingerprint: &[u8; 32], digest: &Digest) {
        let name = entry_name(fingerprint, digest);
        if let Err(error) = self.write(&name, native) {
            tracing::warn!(entry = %name, %error, "compiled component not kept");
        }
        self.evict(&name);
    }

    fn authenticated<'file>(&self, name: &str, file: &'file [u8]) -> Option<&'file [u8]> {
        let (header, native) = file.split_at_checked(HEADER)?;
        let code: [u8; 32] = header.strip_prefix(MAGIC)?.try_into().ok()?;
        // `blake3::Hash` compares in constant time.
        (self.code(name, native) == blake3::Hash::from_bytes(code)).then_some(native)
    }

    fn code(&self, name: &str, native: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(name.as_bytes());
        hasher.update(native);
        hasher.finalize()
    }

    fn write(&self, name: &str, native: &[u8]) -> io::Result<()> {
        // The name is a digest, the process makes it unique: two hosts never share a directory.
        let temporary = self.directory.join(format!("{name}.{}.tmp", std::process::id()));
        let mut file = fs::File::create(&temporary)?;
        file.write_all(MAGIC)?;
        file.write_all(self.code(name, native).as_bytes())?;
        file.write_all(native)?;
        fs::rename(&temporary, self.directory.join(name))
    }

    /// Removes the entries unused for longest until the rest fits, but never `keep`, and none that is kept.
    fn evict(&self, keep: &str) {
        let Ok(listing) = fs::read_dir(&self.directory) else { return };
        let mut entries: Vec<(SystemTime, u64, PathBuf)> = listing
            .filter_map(Result::ok)
            .filter(|entry| Path::new(&entry.file_name()).extension().is_some_and(|end| end == SUFFIX))
            .filter_map(|entry| {
                let about = entry.metadata().ok()?;
                Some((about.modified().ok()?, about.len(), entry.path()))
            })
            .collect();
        let mut total: u64 = entries.iter().map(|(_, size, _)| size).sum();
        entries.sort();
        for (_, size, path) in entries {
            if total <= self.max_bytes {
                break;
            }
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name != keep && !self.is_used(name) {
                remove(&path);
                total = total.saturating_sub(size);
            }
        }
    }
}

fn entry_name(fingerprint: &[u8; 32], digest: &Digest) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(fingerprint);
    hasher.update(digest.as_bytes());
    format!("{}.{SUFFIX}", hasher.finalize().to_hex())
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::debug!(path = %path.display(), %error, "cache entry not removed");
    }
}

#[cfg(test)]
mod tests;
