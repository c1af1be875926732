//! The one thread that writes: gather, one write, one sync, tell; rotate and trim in between.

use super::error::{JournalError, is_full};
use super::files::SegmentFile;
use super::frame::{self, FRAME_HEAD_BYTES, HEADER_BYTES, Seal};
use super::recovery::{Meta, SPARE, State, segment_name};
use super::{Done, JournalOptions, Shared, Told};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

/// Most bytes of an entry's length.
const LENGTH_BYTES: u64 = 10;
/// Most entries of one frame.
const MAX_BATCH: usize = 4_096;

pub(super) enum Command {
    Append { entry: Bytes, done: Done },
    Trim { before: u64, done: Told },
    Sweep { through: u64, done: Told },
    Roll { through: u64, done: Told },
}

/// The segment that is written to.
struct Active {
    name: String,
    file: Box<dyn SegmentFile>,
    seal: Seal,
    offset: u64,
}

pub(super) struct Writer {
    options: JournalOptions,
    shared: Arc<Shared>,
    meta: Meta,
    spares: Vec<String>,
    /// Where the last segment goes on after a start, until it is opened.
    resume: Option<u64>,
    active: Option<Active>,
    next: u64,
    next_segment: u64,
    /// Segments that have any position up to here are not used again.
    swept: u64,
    /// Why nothing is taken any more.
    stopped: Option<JournalError>,
    buffer: Vec<u8>,
}

impl Writer {
    pub(super) fn new(options: JournalOptions, shared: Arc<Shared>, state: State) -> Self {
        let State { meta, spares, offset, next, next_segment, .. } = state;
        Self {
            options,
            shared,
            meta,
            spares,
            resume: offset,
            active: None,
            next,
            next_segment,
            swept: 0,
            stopped: None,
            buffer: Vec::new(),
        }
    }

    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        // What came while a batch was gathered, and is none of it.
        let mut held = None;
        while let Some(command) = held.take().or_else(|| commands.recv().ok()) {
            match command {
                Command::Trim { before, done } => done(self.trim(before)),
                Command::Sweep { through, done } => done(self.sweep(through)),
                Command::Roll { through, done } => done(self.roll(through)),
                Command::Append { entry, done } => {
                    let mut batch = vec![(entry, done)];
                    held = self.gather(&mut batch, commands);
                    self.commit(batch);
                }
            }
        }
    }

    /// Whatever waits already, up to the bounds of one frame.
    fn gather(&self, batch: &mut Vec<(Bytes, Done)>, commands: &Receiver<Command>) -> Option<Command> {
        let mut bytes: usize = batch.iter().map(|(entry, _)| entry.len()).sum();
        while bytes < self.options.batch_bytes && batch.len() < MAX_BATCH {
            match commands.try_recv().ok()? {
                Command::Append { entry, done } => {
                    bytes += entry.len();
                    batch.push((entry, done));
                }
                other => return Some(other),
            }
        }
        None
    }

    fn room(&self) -> u64 {
        self.options.segment_bytes.saturating_sub((HEADER_BYTES + FRAME_HEAD_BYTES) as u64 + LENGTH_BYTES)
    }

    fn commit(&mut self, batch: Vec<(Bytes, Done)>) {
        let limit = self.room();
        let (batch, large): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|(entry, _)| entry.len() as u64 <= limit);
        for (entry, done) in large {
            done(Err(JournalError::TooLarge { got: entry.len() as u64, limit }));
        }
        let mut batch = batch.into_iter().peekable();
        while batch.peek().is_some() {
            // As many as fit into one segment together.
            let mut part = Vec::new();
            let mut bytes = 0;
            while let Some((entry, done)) = batch
                .next_if(|(entry, _)| part.is_empty() || bytes + entry.len() as u64 + LENGTH_BYTES <= limit)
            {
                bytes += entry.len() as u64 + LENGTH_BYTES;
                part.push((entry, done));
            }
            self.commit_frame(part);
        }
    }

    fn commit_frame(&mut self, part: Vec<(Bytes, Done)>) {
        let first = self.next;
        let outcome = self.write(&part);
        if outcome.is_ok() {
            self.next = first + part.len() as u64;
            self.shared.durable.store(self.next - 1, Ordering::Release);
        }
        for (position, (_, done)) in (first..).zip(part) {
            done(outcome.clone().map(|()| position));
        }
    }

    /// Everything that must be on disk before anybody is told.
    fn write(&mut self, part: &[(Bytes, Done)]) -> Result<(), JournalError> {
        if let Some(error) = &self.stopped {
            return Err(error.clone());
        }
        self.resume()?;
        let mut frame = std::mem::take(&mut self.buffer);
        frame::begin(&mut frame);
        part.iter().for_each(|(entry, _)| frame::add(&mut frame, entry));
        let written = self.write_frame(&mut frame);
        self.buffer = frame;
        written
    }

    fn write_frame(&mut self, frame: &mut [u8]) -> Result<(), JournalError> {
        let bytes = frame.len() as u64;
        if self.active.as_ref().is_none_or(|active| active.offset + bytes > self.options.segment_bytes) {
            self.rotate()?;
        }
        let next = self.next;
        let Some(active) = self.active.as_mut() else { return Err(self.stop("no segment".to_owned())) };
        active.seal.finish(frame, next, active.offset);
        let written = active.file.write_at(frame, active.offset).and_then(|()| active.file.sync());
        match written {
            Ok(()) => {
                active.offset += bytes;
                Ok(())
            }
            Err(error) => {
                let reason = format!("write {} at offset {}: {error}", active.name, active.offset);
                Err(self.stop(reason))
            }
        }
    }

    fn stop(&mut self, reason: String) -> JournalError {
        tracing::error!(reason, "the journal stops: nothing is acknowledged any more");
        let error = JournalError::stopped(reason);
        self.stopped = Some(error.clone());
        error
    }

    /// Opens the last segment of a former life of the process.
    fn resume(&mut self) -> Result<(), JournalError> {
        let last = self.shared.segments().last().map(|(number, _)| *number);
        let (Some(offset), Some(number)) = (self.resume.take(), last) else { return Ok(()) };
        let name = segment_name(number);
        let opened = self.shared.files.open(&name);
        let file = opened.map_err(|error| self.stop(format!("open {name}: {error}")))?;
        self.active = Some(Active { name, file, seal: Seal::new(&self.meta.log, number), offset });
        Ok(())
    }

    /// Goes on in another segment: a spare one, or a new one. Until it has its name nothing has changed.
    fn rotate(&mut self) -> Result<(), JournalError> {
        let (number, first) = (self.next_segment, self.next);
        let spare = match self.spares.pop() {
            Some(spare) => spare,
            None => self.make_spare()?,
        };
        let (seal, name) = (Seal::new(&self.meta.log, number), segment_name(number));
        let header = seal.header(&self.meta.log, number, first);
        let files = &self.shared.files;
        let prepared = files.open(&spare).and_then(|file| {
            file.write_at(&header, 0)?;
            file.sync()?;
            Ok(file)
        });
        let placed = prepared.and_then(|file| files.rename(&spare, &name).map(|()| file));
        let file = placed.map_err(|error| self.stop(format!("begin {name}: {error}")))?;
        self.next_segment = number + 1;
        self.shared.segments().push((number, first));
        self.active = Some(Active { name, file, seal, offset: HEADER_BYTES as u64 });
        Ok(())
    }

    fn make_spare(&mut self) -> Result<String, JournalError> {
        if self.shared.segments().len() >= self.options.max_segments {
            let reason =
                format!("{} segments of {} bytes", self.options.max_segments, self.options.segment_bytes);
            return Err(JournalError::Full { reason });
        }
        let spare = format!("{SPARE}{:016}", self.next_segment);
        match self.shared.files.create(&spare, self.options.segment_bytes) {
            Ok(()) => Ok(spare),
            Err(error) if is_full(&error) => Err(JournalError::Full { reason: error.to_string() }),
            Err(error) => Err(self.stop(format!("make {spare}: {error}"))),
        }
    }

    /// Remembers first, forgets then: after a crash in between, entries are there that nobody needs, until it
    /// is trimmed again.
    fn trim(&mut self, before: u64) -> Result<(), JournalError> {
        if let Some(error) = &self.stopped {
            return Err(error.clone());
        }
        let first = before.min(self.next);
        if first > self.meta.first {
            let meta = Meta { first, ..self.meta.clone() };
            meta.save(self.shared.files.as_ref())?;
            self.meta = meta;
            self.shared.first.store(first, Ordering::Release);
        }
        while let Some((number, begins)) = self.removable(self.meta.first) {
            self.shared.segments().remove(0);
            if let Err(error) = self.recycle(number, begins) {
                // It is there still, and goes the next time.
                self.shared.segments().insert(0, (number, begins));
                return Err(error);
            }
        }
        Ok(())
    }

    /// The oldest segment, if the next one begins at or before this position.
    fn removable(&self, first: u64) -> Option<(u64, u64)> {
        match self.shared.segments().as_slice() {
            [oldest, (_, next), ..] if *next <= first => Some(*oldest),
            _ => None,
        }
    }

    fn recycle(&mut self, number: u64, begins: u64) -> Result<(), JournalError> {
        let name = segment_name(number);
        if begins <= self.swept || self.spares.len() >= self.options.spare_segments {
            return self.remove(&name);
        }
        let spare = format!("{SPARE}{number:016}");
        let files = &self.shared.files;
        files.rename(&name, &spare).map_err(|error| JournalError::io("rename", name, error))?;
        self.spares.push(spare);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), JournalError> {
        self.shared.files.remove(name).map_err(|error| JournalError::io("remove", name, error))
    }

    /// Files to be used again go, and those that have anything up to there are not used again.
    fn sweep(&mut self, through: u64) -> Result<(), JournalError> {
        self.swept = self.swept.max(through);
        while let Some(spare) = self.spares.last() {
            self.remove(spare)?;
            self.spares.pop();
        }
        Ok(())
    }

    /// The segment that is written to is written to no more, if it has any of these positions.
    fn roll(&mut self, through: u64) -> Result<(), JournalError> {
        if let Some(error) = &self.stopped {
            return Err(error.clone());
        }
        let last = self.shared.segments().last().map(|(_, first)| *first);
        if last.is_none_or(|first| first > through.min(self.next - 1)) {
            return Ok(());
        }
        self.resume()?;
        self.rotate()
    }
}
