//! Files in memory with a disk below a page cache: what is not synced may be lost, sector by sector,
//! when the power goes. Faults are asked for.

use crate::journal::files::{Files, SegmentFile};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

const SECTOR: usize = 512;

/// What shall fail, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A sync: what was written stays in the cache, counted as clean.
    Sync,
    /// A write, after its first half.
    Write,
}

#[derive(Debug, Clone, Default)]
struct File {
    cache: Vec<u8>,
    disk: Vec<u8>,
    /// Sectors that the next sync writes.
    dirty: std::collections::BTreeSet<usize>,
}

impl File {
    fn put(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.cache.len() < end {
            self.cache.resize(end, 0);
        }
        self.cache[offset..end].copy_from_slice(bytes);
        self.dirty.extend(offset / SECTOR..end.div_ceil(SECTOR));
    }
    fn sector_to_disk(&mut self, sector: usize) {
        let (from, to) = (sector * SECTOR, ((sector + 1) * SECTOR).min(self.cache.len()));
        if self.disk.len() < self.cache.len() {
            self.disk.resize(self.cache.len(), 0);
        }
        self.disk[from..to].copy_from_slice(&self.cache[from..to]);
    }
    fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            self.sector_to_disk(sector);
        }
    }
}

#[derive(Debug, Default)]
struct World {
    files: BTreeMap<String, File>,
    fault: Option<Fault>,
    full: bool,
    held: bool,
    operations: usize,
    cut_at: Option<(usize, u64)>,
    image: Option<(BTreeMap<String, File>, u64)>,
    acknowledged: u64,
    writes: usize,
    syncs: usize,
    creations: usize,
}

impl World {
    /// Before every operation: is it here that the power goes?
    fn operation(&mut self) {
        if let Some((at, seed)) = self.cut_at
            && at == self.operations
        {
            self.image = Some((torn(&self.files, seed), self.acknowledged));
        }
        self.operations += 1;
    }
}

/// What the disk has after the power went: of what was not synced, any sectors.
fn torn(files: &BTreeMap<String, File>, seed: u64) -> BTreeMap<String, File> {
    let mut files = files.clone();
    let mut random = seed | 1;
    for file in files.values_mut() {
        for sector in std::mem::take(&mut file.dirty) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if random >> 63 == 1 {
                file.sector_to_disk(sector);
            }
        }
        file.cache.clone_from(&file.disk);
    }
    files
}

#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryFiles {
    world: Arc<(Mutex<World>, Condvar)>,
}

impl MemoryFiles {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.0.lock().unwrap()
    }
    fn of(files: BTreeMap<String, File>) -> Self {
        let new = Self::default();
        new.world().files = files;
        new
    }
    pub(crate) fn fail_next(&self, fault: Fault) {
        self.world().fault = Some(fault);
    }
    pub(crate) fn set_full(&self, full: bool) {
        self.world().full = full;
    }
    /// Lets syncs wait, to see what gathers meanwhile.
    pub(crate) fn hold_sync(&self, held: bool) {
        self.world().held = held;
        self.world.1.notify_all();
    }
    pub(crate) fn cut_at(&self, operation: usize, seed: u64) {
        self.world().cut_at = Some((operation, seed));
    }
    pub(crate) fn acknowledge(&self, position: u64) {
        self.world().acknowledged = position;
    }
    /// What was on disk when the power went, and what had been acknowledged.
    pub(crate) fn image(&self) -> Option<(Self, u64)> {
        let (files, acknowledged) = self.world().image.clone()?;
        Some((Self::of(files), acknowledged))
    }
    pub(crate) fn after_power_cut(&self, seed: u64) -> Self {
        Self::of(torn(&self.world().files, seed))
    }
    /// An independent copy.
    pub(crate) fn copy(&self) -> Self {
        Self::of(self.world().files.clone())
    }
    pub(crate) fn names(&self, prefix: &str) -> Vec<String> {
        self.world().files.keys().filter(|name| name.starts_with(prefix)).cloned().collect()
    }
    /// Changes the content of a file, in cache and on disk.
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut world = self.world();
        let file = world.files.get_mut(name).unwrap();
        change(&mut file.cache);
        file.disk.clone_from(&file.cache);
    }
    pub(crate) fn content(&self, name: &str) -> Vec<u8> {
        self.world().files[name].cache.clone()
    }
    pub(crate) fn writes(&self) -> usize {
        self.world().writes
    }
    pub(crate) fn syncs(&self) -> usize {
        self.world().syncs
    }
    pub(crate) fn creations(&self) -> usize {
        self.world().creations
    }
}

fn missing(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, name.to_owned())
}

impl Files for MemoryFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names(""))
    }
    fn create(&self, name: &str, bytes: u64) -> io::Result<()> {
        let mut world = self.world();
        world.operation();
        if world.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        world.creations += 1;
        let zeros = vec![0; usize::try_from(bytes).unwrap()];
        world.files.insert(name.to_owned(), File { cache: zeros.clone(), disk: zeros, ..File::default() });
        Ok(())
    }
    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut world = self.world();
        world.operation();
        let file = File { cache: content.to_vec(), disk: content.to_vec(), ..File::default() };
        world.files.insert(name.to_owned(), file);
        Ok(())
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        if !self.world().files.contains_key(name) {
            return Err(missing(name));
        }
        Ok(Box::new(Handle { files: self.clone(), name: Mutex::new(name.to_owned()) }))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world();
        world.operation();
        let file = world.files.remove(from).ok_or_else(|| missing(from))?;
        world.files.insert(to.to_owned(), file);
        Ok(())
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.world();
        world.operation();
        world.files.remove(name).map(drop).ok_or_else(|| missing(name))
    }
}

#[derive(Debug)]
struct Handle {
    files: MemoryFiles,
    name: Mutex<String>,
}

impl Handle {
    /// A file that was renamed after it was opened has its new name: the only such rename is the
    /// one that makes a segment of a spare.
    fn with<T>(&self, act: impl FnOnce(&mut World, &str) -> io::Result<T>) -> io::Result<T> {
        let mut name = self.name.lock().unwrap();
        let mut world = self.files.world();
        if !world.files.contains_key(&*name) {
            let newest = world.files.keys().rfind(|other| other.starts_with("segment-")).cloned();
            *name = newest.ok_or_else(|| missing(&name))?;
        }
        act(&mut world, &name)
    }
}

impl SegmentFile for Handle {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(|world, name| {
            world.operation();
            world.writes += 1;
            let half = world.fault.take_if(|fault| *fault == Fault::Write).is_some();
            let bytes = if half { &bytes[..bytes.len() / 2] } else { bytes };
            let file = world.files.get_mut(name).ok_or_else(|| missing(name))?;
            file.put(bytes, usize::try_from(offset).unwrap());
            if half { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
        })
    }
    fn sync(&self) -> io::Result<()> {
        let (world, woken) = &*self.files.world;
        drop(woken.wait_while(world.lock().unwrap(), |world| world.held).unwrap());
        self.with(|world, name| {
            world.operation();
            world.syncs += 1;
            let fails = world.fault.take_if(|fault| *fault == Fault::Sync).is_some();
            let file = world.files.get_mut(name).ok_or_else(|| missing(name))?;
            if fails {
                file.dirty.clear();
                return Err(io::Error::from_raw_os_error(5));
            }
            file.sync();
            Ok(())
        })
    }
    fn read(&self) -> io::Result<Vec<u8>> {
        self.with(|world, name| Ok(world.files[name].cache.clone()))
    }
}
