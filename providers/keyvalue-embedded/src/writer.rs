//! The writer thread: takes what is queued, decides it as one batch, commits, shows, answers.
//!
//! While one batch is in its fsync the next one gathers, so the disk's pace sets the batch size
//! and nobody waits for a timer. A job is answered only after its batch is durable, also when it
//! changed nothing: it was decided on what the batch was about to write.

use crate::change::{Core, Operation, Outcome, Staged};
use crate::file::File;
use providers_sdk::{ProviderError, ProviderErrorKind};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Jobs that wait.
pub(crate) const QUEUE_JOBS: usize = 1_024;
/// Jobs of one transaction.
const BATCH_JOBS: usize = 256;

/// The operations of one call, on one bucket.
pub(crate) struct Job {
    /// Which bucket.
    pub(crate) bucket: Arc<str>,
    /// In order; the first that fails ends the job, what went before it stays.
    pub(crate) operations: Vec<Operation>,
    /// Gets the last operation's outcome.
    pub(crate) reply: oneshot::Sender<Result<Outcome, ProviderError>>,
}

/// Decides the operations of one call; the outcome is the last one's.
pub(crate) fn decide(
    core: &Core,
    staged: &mut Staged,
    bucket: &Arc<str>,
    operations: Vec<Operation>,
) -> Result<Outcome, ProviderError> {
    operations.into_iter().try_fold(Outcome::Done, |_, operation| core.stage(staged, bucket, operation))
}

/// Runs until every sender is gone. Blocks: it wants a thread of its own.
pub(crate) fn run(mut core: Core, mut file: File, mut queue: mpsc::Receiver<Job>) {
    let mut broken: Option<String> = None;
    let mut batch = Vec::with_capacity(BATCH_JOBS);
    while let Some(first) = queue.blocking_recv() {
        batch.push(first);
        while batch.len() < BATCH_JOBS
            && let Ok(next) = queue.try_recv()
        {
            batch.push(next);
        }
        if let Some(why) = &broken {
            refuse(batch.drain(..).map(|job| job.reply), why);
            continue;
        }
        if let Err(why) = write(&mut core, &mut file, batch.drain(..)) {
            tracing::error!(error = %why, "key-value file failed; no more writes until it is opened again");
            broken = Some(why);
        }
    }
}

fn refuse(replies: impl Iterator<Item = oneshot::Sender<Result<Outcome, ProviderError>>>, why: &str) {
    for reply in replies {
        let message =
            format!("key-value store stopped writing: {why}; repair the disk and restart the provider");
        // Whoever stopped waiting needs no answer.
        let _ = reply.send(Err(ProviderError::new(ProviderErrorKind::Failed, message)));
    }
}

/// One batch; an error means that the file can no longer be trusted.
fn write(core: &mut Core, file: &mut File, batch: impl Iterator<Item = Job>) -> Result<(), String> {
    let mut staged = Staged::default();
    let decided: Vec<_> =
        batch.map(|job| (decide(core, &mut staged, &job.bucket, job.operations), job.reply)).collect();
    let committed = if staged.effects.is_empty() { Ok(()) } else { file.commit(&staged.effects) };
    match committed {
        Ok(()) => {
            core.apply(staged);
            for (outcome, reply) in decided {
                let _ = reply.send(outcome);
            }
            Ok(())
        }
        Err(error) if error.is_fatal() => {
            let why = error.to_string();
            refuse(decided.into_iter().map(|(_, reply)| reply), &why);
            Err(why)
        }
        Err(error) => {
            let full = ProviderError::new(ProviderErrorKind::Limit, error.to_string());
            for (_, reply) in decided {
                let _ = reply.send(Err(full.clone()));
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::Mirror;

    struct Fixture {
        _directory: tempfile::TempDir,
        mirror: Arc<Mirror>,
        jobs: mpsc::Sender<Job>,
    }

    fn start(pragma: &str, value: i64) -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let file = File::open(&directory.path().join("kv")).unwrap();
        file.pragma(pragma, value);
        let mirror = Arc::<Mirror>::default();
        let core = Core { mirror: Arc::clone(&mirror), used_bytes: 0, max_bytes: 1 << 30, next_version: 1 };
        let (jobs, queue) = mpsc::channel(8);
        std::thread::spawn(move || run(core, file, queue));
        Fixture { _directory: directory, mirror, jobs }
    }

    impl Fixture {
        fn set(&self, key: &str, bytes: usize) -> Result<Outcome, ProviderError> {
            let (reply, answer) = oneshot::channel();
            let operations = vec![Operation::Set { key: key.into(), value: vec![b'x'; bytes].into() }];
            assert!(self.jobs.blocking_send(Job { bucket: "b".into(), operations, reply }).is_ok());
            answer.blocking_recv().unwrap()
        }
    }

    #[test]
    fn after_a_failed_commit_nothing_is_shown_and_nothing_more_is_written() {
        let fixture = start("query_only", 1);
        let first = fixture.set("k", 1).unwrap_err();
        assert_eq!(first.kind, ProviderErrorKind::Failed);
        let second = fixture.set("l", 1).unwrap_err();
        assert!(second.message.contains("stopped writing"), "{second}");
        assert!(!fixture.mirror.contains("b", "k"));
    }

    #[test]
    fn a_full_disk_is_a_limit_and_smaller_writes_go_on() {
        let fixture = start("max_page_count", 16);
        let full = fixture.set("large", 1 << 20).unwrap_err();
        assert_eq!(full.kind, ProviderErrorKind::Limit);
        assert!(!fixture.mirror.contains("b", "large"));
        assert_eq!(fixture.set("small", 100).unwrap(), Outcome::Done);
        assert!(fixture.mirror.contains("b", "small"));
    }
}
