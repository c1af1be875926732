//! The local journal: entries that are on disk when they are acknowledged, in order, for ever —
//! until they are trimmed. It interprets nothing: an entry is bytes (a shard record), its position a
//! number 1, 2, 3 … without a gap.
//!
//! ```text
//!  append ─▶ queue ─▶ one writer thread: gather · one frame · one write · one fdatasync ─▶ done(position)
//! ```
//! **Group commit without a timer**: while one frame is being synced, further entries gather; all of
//! them are the next frame. So a frame is never begun before the one before it is on disk, and
//! whatever follows a broken frame proves that it was acknowledged. That is what tells a *torn tail*
//! (a crash in the middle of the last write: cut, and reported) from *damage* (refused, with the
//! offset; rebuild from a replica).
//!
//! **Segments** of fixed size are zeroed once, when they are made, and used again after trimming:
//! overwriting syncs about twice as fast as growing, and nothing is written twice in the long run.
//! A segment that is used again has another number, and every check depends on it: what is left of
//! its former life is never taken for an entry. What shall be left nowhere is *swept*
//! ([`Journal::sweep`]): its segments are removed instead.
//!
//! **Failures.** After a failed write or sync the journal stops for good ([`JournalError::Stopped`]):
//! the kernel may have thrown away what it could not write, so a later success would prove nothing.
//! The next start reads the disk anew and writes the accepted part of the last segment again, before
//! anything relies on what may only have been in the page cache. A full disk refuses
//! ([`JournalError::Full`]) and goes on when there is room: nothing had been written.
//!
//! | module | holds |
//! |---|---|
//! | `frame` | segment headers and frames as bytes, and finding the end of a segment |
//! | [`files`] | the few operations on files that it needs, behind a trait: faults are injected there |
//! | `recovery` | from files to a journal: checks, cuts, refuses |
//! | `writer` | the thread: gather, write, sync, rotate, trim, sweep |
//! | [`anew`] | one that is built anew, and takes a damaged one's place |
//! | `behind` | reading in large steps, for who sends it elsewhere |
//! | [`mark`] | that there is one, kept beside it |
//! | [`error`] | what fails, and what to do |

pub mod anew;
mod behind;
pub mod error;
pub mod files;
mod frame;
pub mod mark;
mod recovery;
mod writer;

pub use error::JournalError;
pub use recovery::{Recovered, TornTail};

use crate::lock::DataDir;
use bytes::Bytes;
use files::{DiskFiles, Files};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use writer::{Command, Writer};

/// Sizes and bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalOptions {
    /// Bytes of one segment. An entry must fit into one.
    pub segment_bytes: u64,
    /// Most segments in use: a further one is refused as [`JournalError::Full`].
    pub max_segments: usize,
    /// Trimmed segments that are kept to be used again.
    pub spare_segments: usize,
    /// Entries that wait for the writer.
    pub queue: usize,
    /// Bytes of one frame, about.
    pub batch_bytes: usize,
}

impl Default for JournalOptions {
    /// Segments of 8 MiB, at most 1 GiB, two spare.
    fn default() -> Self {
        Self {
            segment_bytes: 8 << 20,
            max_segments: 128,
            spare_segments: 2,
            queue: 8_192,
            batch_bytes: 1 << 20,
        }
    }
}

/// What becomes of an append: its position, when it is on disk.
pub type Done = Box<dyn FnOnce(Result<u64, JournalError>) + Send>;
/// What becomes of anything else that the writer is asked: called on its thread, and must not block.
pub type Told = Box<dyn FnOnce(Result<(), JournalError>) + Send>;

/// What readers and the writer both see.
#[derive(Debug)]
struct Shared {
    files: Arc<dyn Files>,
    log: frame::LogId,
    /// The last position that is on disk.
    durable: AtomicU64,
    /// The first position that is kept.
    first: AtomicU64,
    /// Segments in use, oldest first: number and first position.
    segments: Mutex<Vec<(u64, u64)>>,
}

impl Shared {
    /// A list that every step leaves whole, so a panic elsewhere does not spoil it.
    fn segments(&self) -> MutexGuard<'_, Vec<(u64, u64)>> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A journal that is open. Dropped, it writes what was given to it and ends.
pub struct Journal {
    commands: Option<SyncSender<Command>>,
    shared: Arc<Shared>,
    most_segments: usize,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Journal").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the journal of this data directory, and makes it if there is none. Every entry that is
    /// kept is given to `visit`, in order, with its position.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] names file and offset: nothing was changed. [`JournalError::Io`].
    pub fn open(
        data: &DataDir,
        options: JournalOptions,
        visit: &mut dyn FnMut(u64, Bytes),
    ) -> Result<(Self, Recovered), JournalError> {
        let directory = data.subdirectory("journal").map_err(JournalError::from_store)?;
        Self::open_files(Arc::new(DiskFiles::new(directory)), options, visit)
    }

    /// The same over other files.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_files(
        files: Arc<dyn Files>,
        options: JournalOptions,
        visit: &mut dyn FnMut(u64, Bytes),
    ) -> Result<(Self, Recovered), JournalError> {
        let (state, recovered) = recovery::open(&files, &options, visit)?;
        let shared = Arc::new(Shared {
            files,
            log: state.meta.log,
            durable: AtomicU64::new(recovered.last),
            first: AtomicU64::new(recovered.first),
            segments: Mutex::new(state.segments.clone()),
        });
        let (commands, queue) = sync_channel(options.queue.max(1));
        let writer = Writer::new(options, shared.clone(), state);
        let thread = std::thread::Builder::new().name("journal".to_owned());
        let thread = thread
            .spawn(move || writer.run(&queue))
            .map_err(|error| JournalError::io("start", "writer", error))?;
        let most_segments = options.max_segments;
        Ok((Self { commands: Some(commands), shared, most_segments, thread: Some(thread) }, recovered))
    }

    fn send(&self, command: Command) -> Result<(), JournalError> {
        match self.commands.as_ref().map(|commands| commands.try_send(command)) {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(_))) => Err(JournalError::Busy),
            Some(Err(TrySendError::Disconnected(_))) | None => {
                Err(JournalError::stopped("the writer has ended"))
            }
        }
    }

    /// Gives an entry to the writer. `done` is called on the writer's thread, in order, when the
    /// entry is on disk or will never be: it must not block.
    ///
    /// # Errors
    /// [`JournalError::Busy`]: the queue is full; nothing was taken.
    pub fn append(&self, entry: Bytes, done: Done) -> Result<(), JournalError> {
        self.send(Command::Append { entry, done })
    }

    /// Appends, and waits until it is on disk: its position.
    ///
    /// # Errors
    /// [`JournalError`]; the entry is not acknowledged.
    pub fn append_wait(&self, entry: Bytes) -> Result<u64, JournalError> {
        let (sender, receiver) = sync_channel(1);
        let done = Box::new(move |outcome| drop(sender.send(outcome)));
        let command = Command::Append { entry, done };
        let commands = self.commands.as_ref().ok_or_else(|| JournalError::stopped("closed"))?;
        commands.send(command).map_err(|_| JournalError::stopped("the writer has ended"))?;
        receiver.recv().map_err(|_| JournalError::stopped("the writer has ended"))?
    }

    /// Lets entries before this position go: whole segments of them, to be used again. Returns when
    /// it is on disk that they are not needed.
    ///
    /// # Errors
    /// [`JournalError`]; entries are kept rather than lost.
    pub fn trim(&self, before: u64) -> Result<(), JournalError> {
        self.wait(|done| Command::Trim { before, done })
    }

    /// What is in files up to this position, or was in them before it was trimmed, shall come into no other
    /// file: files to be used again are removed, and those in use are removed when they are trimmed. Given to
    /// the writer before the entry of that position, it holds for all that come after. Like
    /// [`Journal::append`] it does not wait.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub fn sweep(&self, through: u64, done: Told) -> Result<(), JournalError> {
        self.send(Command::Sweep { through, done })
    }

    /// The same; returns when it is on disk.
    ///
    /// # Errors
    /// [`JournalError`]; it is to be said again.
    pub fn sweep_wait(&self, through: u64) -> Result<(), JournalError> {
        self.wait(|done| Command::Sweep { through, done })
    }

    /// Goes on in another file, when the one that is written to has any entry up to `through`: so that it is
    /// closed ([`Journal::closed`]), and can be trimmed.
    ///
    /// # Errors
    /// [`JournalError::Full`]: there is no room for another one, and nothing has changed.
    pub fn roll(&self, through: u64) -> Result<(), JournalError> {
        self.wait(|done| Command::Roll { through, done })
    }

    /// Has the writer do something, and waits for it.
    fn wait(&self, command: impl FnOnce(Told) -> Command) -> Result<(), JournalError> {
        let (sender, receiver) = sync_channel(1);
        let done = Box::new(move |outcome: Result<(), JournalError>| drop(sender.send(outcome)));
        let commands = self.commands.as_ref().ok_or_else(|| JournalError::stopped("closed"))?;
        commands.send(command(done)).map_err(|_| JournalError::stopped("the writer has ended"))?;
        receiver.recv().map_err(|_| JournalError::stopped("the writer has ended"))?
    }

    /// The last position on disk; 0 for none.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.shared.durable.load(Ordering::Acquire)
    }
    /// Segments in use, and how many there may be.
    #[must_use]
    pub fn segments(&self) -> (usize, usize) {
        (self.shared.segments().len(), self.most_segments)
    }
    /// The first position that is kept; one more than the last when there is none.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.shared.first.load(Ordering::Acquire)
    }

    /// The first position that any file still has; it may be trimmed.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.shared.segments().first().map_or_else(|| self.last() + 1, |(_, first)| *first)
    }

    /// The last position of the file that has this one, when nothing comes into that file any more.
    #[must_use]
    pub fn closed(&self, position: u64) -> Option<u64> {
        let segments = self.shared.segments();
        segments.iter().find(|(_, first)| *first > position).map(|(_, next)| next - 1)
    }

    /// Up to `most` entries from this position on, as far as they are on disk.
    ///
    /// # Errors
    /// [`JournalError::Trimmed`] when it is older than what is kept (also when it is trimmed
    /// meanwhile); [`JournalError::Damaged`]; [`JournalError::Io`].
    pub fn read(&self, from: u64, most: usize) -> Result<Vec<(u64, Bytes)>, JournalError> {
        recovery::read(&self.shared, from, most)
    }

    /// The entries at these positions, which ascend: copies, so that no segment stays in memory
    /// because of one entry of it. Each segment is read once.
    ///
    /// # Errors
    /// As [`Journal::read`]; [`JournalError::Damaged`] also when a position is not on disk.
    pub fn read_at(&self, positions: &[u64]) -> Result<Vec<(u64, Bytes)>, JournalError> {
        recovery::read_at(&self.shared, positions)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.commands.take();
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has told everybody who waited by dropping them.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
