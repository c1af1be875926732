//! The local journal beside the bare operation: the same bytes written over a file that was zeroed
//! before, one write and one fdatasync each, on the same disk in the same run.
//!
//! An entry is a shard record of so many commits of 200-byte events: that is what a batch is.

use super::Plan;
use crate::report::{Goal, Measured, Row};
use crate::samples::median;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use host_store::{DataDir, Journal, JournalOptions};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes of one event.
const EVENT: usize = 200;
/// Bytes of a commit around its event, and of a record around its commits, about
/// (`lattice/journal` holds its own to less).
const COMMIT_OVERHEAD: usize = 60;
const RECORD_OVERHEAD: usize = 100;
/// Appends of one run.
pub(super) const APPENDS: u32 = 2_000;
/// Small, so that a run uses every segment again several times: that is the steady state.
const OPTIONS: JournalOptions = JournalOptions {
    segment_bytes: 1 << 20,
    max_segments: 8,
    spare_segments: 4,
    queue: 1_024,
    batch_bytes: 1 << 20,
};

fn record(batch: usize) -> Bytes {
    vec![0x5a; batch * (EVENT + COMMIT_OVERHEAD) + RECORD_OVERHEAD].into()
}

/// Events a second, of the journal and of the bare file.
pub fn append(plan: &Plan, case: &'static str, batch: usize) -> Result<Row> {
    let directory = tempfile::Builder::new().prefix("bench-").tempdir()?;
    let data = DataDir::open(directory.path())?;
    let (journal, _) = Journal::open(&data, OPTIONS, &mut |_, _| {})?;
    let entry = record(batch);
    fill(&journal, &entry)?;
    let mut samples = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        let began = Instant::now();
        appends(&journal, &entry)?;
        samples.0.push(rate(batch, began.elapsed()));
        samples.1.push(rate(batch, bare(directory.path(), &entry)?));
    }
    let measured = Measured {
        ours: median(samples.0).context("no run")?,
        reference: median(samples.1).context("no run")?,
    };
    Ok(Row::new(case, "ev/s", measured, Goal::RatioAtLeast(0.5))
        .against("one write and fdatasync of the same bytes"))
}

/// Bytes written to the disk for each byte of an event, records of 32 commits.
pub fn bytes_written(plan: &Plan) -> Result<Row> {
    let directory = tempfile::Builder::new().prefix("bench-").tempdir()?;
    let data = DataDir::open(directory.path())?;
    let (journal, _) = Journal::open(&data, OPTIONS, &mut |_, _| {})?;
    let entry = record(32);
    fill(&journal, &entry)?;
    let payload = f64::from(APPENDS) * (32 * EVENT) as f64;
    let mut samples = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        let before = written()?;
        appends(&journal, &entry)?;
        samples.0.push((written()? - before) as f64 / payload);
        samples.1.push(entry.len() as f64 / (32 * EVENT) as f64);
    }
    let measured = Measured {
        ours: median(samples.0).context("no run")?,
        reference: median(samples.1).context("no run")?,
    };
    Ok(Row::new("journal-bytes", "x", measured, Goal::AtMost(2.5)).against("bytes of the records alone"))
}

fn rate(batch: usize, took: Duration) -> f64 {
    f64::from(APPENDS) * batch as f64 / took.as_secs_f64()
}

/// Until segments are used again.
fn fill(journal: &Journal, entry: &Bytes) -> Result<()> {
    let bytes = OPTIONS.segment_bytes * OPTIONS.max_segments as u64;
    for _ in 0..bytes / (entry.len() as u64).max(4_096) {
        journal.append_wait(entry.clone())?;
        trim(journal, entry)?;
    }
    Ok(())
}

/// As snapshots let it: half of the segments are kept.
fn trim(journal: &Journal, entry: &Bytes) -> Result<()> {
    let kept = OPTIONS.segment_bytes * 4 / entry.len() as u64;
    let last = journal.last();
    if last.is_multiple_of((OPTIONS.segment_bytes / entry.len() as u64).max(1)) {
        journal.trim(last.saturating_sub(kept))?;
    }
    Ok(())
}

fn appends(journal: &Journal, entry: &Bytes) -> Result<()> {
    let before = journal.last();
    for _ in 0..APPENDS {
        journal.append_wait(entry.clone())?;
        trim(journal, entry)?;
    }
    ensure!(journal.last() - before == u64::from(APPENDS), "entries are missing");
    Ok(())
}

/// Time of the same appends by hand.
pub(super) fn bare(directory: &Path, entry: &Bytes) -> Result<Duration> {
    let path = directory.join("bare");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    for _ in 0..OPTIONS.segment_bytes / 4_096 {
        file.write_all(&[0; 4_096])?;
    }
    file.sync_all()?;
    let began = Instant::now();
    let mut offset = 0;
    for _ in 0..APPENDS {
        if offset + entry.len() as u64 > OPTIONS.segment_bytes {
            offset = 0;
        }
        file.write_all_at(entry, offset)?;
        file.sync_data()?;
        offset += entry.len() as u64;
    }
    let took = began.elapsed();
    std::fs::remove_file(path)?;
    Ok(took)
}

/// p50 of one write of so many bytes and its fdatasync, microseconds.
pub(super) fn sync_p50(directory: &Path, bytes: usize) -> Result<f64> {
    let path = directory.join("sync");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    file.write_all(&vec![0; 1 << 20])?;
    file.sync_all()?;
    let entry = vec![0x5a; bytes];
    let mut took = Vec::new();
    for n in 0..u64::from(APPENDS) {
        let began = Instant::now();
        file.write_all_at(&entry, n * bytes as u64)?;
        file.sync_data()?;
        took.push(crate::samples::micros(began.elapsed()));
    }
    std::fs::remove_file(path)?;
    median(took).context("appends")
}

/// Bytes that this process has sent to disks so far.
fn written() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/io")?;
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(line.context("no write_bytes in /proc/self/io")?.parse()?)
}
