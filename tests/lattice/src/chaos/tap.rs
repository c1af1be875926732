//! Reads the records of every shard along, before they are trimmed.

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use lattice_io::log::{Log, LogError, LogOptions, MAX_READ};
use lattice_io::{Lattice, Replicas};
use lattice_journal::Position;
use lattice_protocol::KindName;
use lattice_protocol::subject::Subjects;
use std::sync::Arc;
use std::time::Duration;
use tests_chaos::history::{Entry, STREAM};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Pause between two looks: much shorter than two checkpoints take.
const LOOK: Duration = Duration::from_millis(50);

/// See the module.
pub(super) struct Tap {
    over: watch::Sender<bool>,
    shards: JoinSet<Result<(u16, Vec<Bytes>)>>,
}

impl Tap {
    pub(super) async fn start(
        lattice: &Lattice,
        subjects: &Subjects,
        (kind, shards): (&KindName, u16),
        replicas: Replicas,
    ) -> Result<Self> {
        let over = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        for shard in 0..shards {
            let options = LogOptions {
                name: subjects.shard_stream(kind, shard),
                subject: subjects.shard(kind, shard),
                max_bytes: None,
                replicas,
            };
            let log = lattice.logs.open(options).await?;
            #[allow(clippy::disallowed_methods, reason = "a test's own tasks; the set ends them")]
            tasks.spawn(follow(shard, log, over.subscribe()));
        }
        Ok(Self { over, shards: tasks })
    }

    /// All records, when nothing comes any more.
    pub(super) async fn end(mut self) -> Result<Vec<Entry>> {
        self.over.send_replace(true);
        let mut entries = Vec::new();
        while let Some(shard) = self.shards.join_next().await {
            let (shard, records) = shard?.context("a tap")?;
            entries.extend(records.iter().map(|bytes| Entry::Record {
                copy: STREAM.to_owned(),
                shard,
                bytes: BASE64_STANDARD.encode(bytes),
                accepted: None,
            }));
        }
        Ok(entries)
    }
}

async fn follow(shard: u16, log: Arc<dyn Log>, over: watch::Receiver<bool>) -> Result<(u16, Vec<Bytes>)> {
    let (mut records, mut after) = (Vec::new(), Position(0));
    loop {
        // Before the reading: what came until then is in it.
        let last = *over.borrow();
        match log.read(after, MAX_READ).await {
            Ok(back) => {
                after = back.entries.last().map_or(after, |(position, _)| *position);
                let complete = back.complete;
                records.extend(back.entries.into_iter().map(|(_, bytes)| bytes));
                if complete && last {
                    return Ok((shard, records));
                }
                if !complete {
                    continue;
                }
            }
            Err(LogError::Trimmed { first }) => {
                bail!("shard {shard}: trimmed to {first} before {after} was read: the history is not whole")
            }
            // No server just now.
            Err(LogError::Stream(_)) => {}
        }
        tokio::time::sleep(LOOK).await;
    }
}
