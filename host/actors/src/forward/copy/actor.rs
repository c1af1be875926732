//! One actor, as far as it has arrived: what it has done, whether that hangs together, and its state at any
//! moment, folded from it. Nothing of it needs the host, which may be away for ever.

use super::Life;
use crate::activate::{self, Base, Wanted};
use crate::inspect::{self, CommitView, Moment};
use crate::kinds::{Effects, Kind};
use crate::policy::KindPolicy;
use crate::shard::StateView;
use bytes::Bytes;
use host_core::guest::GuestKind;
use lattice_io::{BoxFuture, Lanes};
use lattice_journal::{Commit, Ledger, RecordSeq, Sealed};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{ActorId, EntityKey, ErrorCode, HostId, Report};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// What has arrived of one actor.
#[derive(Debug, Clone)]
pub struct ActorCopy {
    /// Which.
    pub key: EntityKey,
    /// Of whose journal.
    pub host: HostId,
    /// The record of its last commit.
    pub record: RecordSeq,
    /// The journal that has it.
    pub life: Life,
    /// Is that the journal that the host had last?
    pub is_newest: bool,
    commits: Vec<Commit>,
}

/// Whose copy an answer is from, and how old it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CopyLabel {
    /// The host whose journal it is.
    pub host: HostId,
    /// The last record that has arrived: what came after it on the host is not known here.
    pub record: u64,
    /// When that was sent, milliseconds since 1970 by the host's clock.
    pub sent_ms: u64,
    /// Records that are missing before it.
    pub missing: u64,
    /// Is it the journal that the host had last? Else it has begun another one since.
    pub is_newest: bool,
}

/// What a verification has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CopyVerified {
    /// Which actor.
    pub key: EntityKey,
    /// Its first commit that is here, and its last.
    pub commits: (u64, u64),
    /// Commits between them that are missing.
    pub missing_commits: u64,
    /// Hash of its history; none when not all of it is here.
    pub history: Option<String>,
    /// The first record of the journal that is here, and the last; each follows from the one before, but for
    /// those that are missing.
    pub records: (u64, u64),
    /// Missing records: first, last, why.
    pub gaps: Vec<(u64, u64, String)>,
    /// Records that were stored more than once.
    pub repeated: u64,
}

/// Reads what has arrived of an actor.
///
/// # Errors
/// `E_NOT_FOUND`: nothing of this host; `E_ACTOR_NOT_FOUND`: nothing of this actor; as [`super::read`].
pub async fn read(
    lanes: &dyn Lanes,
    subjects: &Subjects,
    host: &HostId,
    key: &EntityKey,
) -> Result<ActorCopy, Report> {
    let mut found: (usize, RecordSeq, Vec<Commit>) = (0, RecordSeq(0), Vec::new());
    let mut take = |life: usize, sealed: Sealed| {
        let record = sealed.record();
        for commit in record.commits().iter().filter(|commit| commit.key == *key) {
            if found.0 != life {
                found = (life, RecordSeq(0), Vec::new());
            }
            found.1 = record.seq;
            found.2.push(own(commit));
        }
    };
    let copy = super::read(lanes, subjects, host, &mut take).await?;
    let (at, record, commits) = found;
    let is_newest = at + 1 == copy.lives.len();
    match copy.lives.into_iter().nth(at) {
        Some(life) if !commits.is_empty() => {
            Ok(ActorCopy { key: key.clone(), host: host.clone(), record, life, is_newest, commits })
        }
        _ => Err(Report::new(ErrorCode::ActorNotFound, "nothing of this actor has been forwarded")
            .at(key)
            .got(format!("the journal of host {host}"))
            .hint("name the host that it was on: --host")),
    }
}

/// A copy that does not keep the whole message in memory.
fn own(commit: &Commit) -> Commit {
    let own = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
    let mut commit = commit.clone();
    commit.events.iter_mut().for_each(|event| event.payload = own(&event.payload));
    commit.reply = own(&commit.reply);
    commit
}

impl ActorCopy {
    /// Whose, and how old.
    #[must_use]
    pub fn label(&self) -> CopyLabel {
        CopyLabel {
            host: self.host.clone(),
            record: self.life.last().0,
            sent_ms: self.life.sent_ms,
            missing: self.life.missing(),
            is_newest: self.is_newest,
        }
    }

    /// Commits from this one on, as many as fit one answer of the host.
    ///
    /// # Errors
    /// `E_HISTORY_TRIMMED`: they begin later.
    pub fn journal(&self, from: u64, most: usize) -> Result<Vec<CommitView>, Report> {
        let first = self.commits.first().map_or(1, |first| first.seq.0);
        if from > 0 && from < first {
            return Err(self.incomplete(first));
        }
        let shown = self.commits.iter().filter(|commit| commit.seq.0 >= from);
        Ok(shown.take(most.min(inspect::MAX_COMMITS)).map(inspect::view).collect())
    }

    fn incomplete(&self, first: u64) -> Report {
        Report::new(ErrorCode::HistoryTrimmed, "not all of its history was forwarded")
            .at(&self.key)
            .limit(format!("commit {first} or later"))
            .hint("the gaps are shown by: trellis actor verify --copy")
    }

    /// The commits from the first one on, without a gap.
    fn whole(&self) -> Result<&[Commit], Report> {
        let due = (1..).zip(&self.commits).find(|(due, commit)| commit.seq.0 != *due);
        match due {
            None => Ok(&self.commits),
            Some((_, commit)) => Err(self.incomplete(commit.seq.0)),
        }
    }

    /// Does it hang together? The journal's records do, or it could not be read.
    ///
    /// # Errors
    /// `E_DAMAGED`: a commit does not follow from the one before.
    pub fn verify(&self) -> Result<CopyVerified, Report> {
        let (first, last) = match (self.commits.first(), self.commits.last()) {
            (Some(first), Some(last)) => (first.seq.0, last.seq.0),
            _ => (0, 0),
        };
        let history = match self.whole() {
            Err(_) => None,
            Ok(commits) => {
                let mut ledger = Ledger::new(self.key.clone());
                for commit in commits {
                    ledger.apply(commit).map_err(|error| {
                        Report::new(ErrorCode::Damaged, format!("forwarded journal: {error}"))
                            .at(&self.key)
                            .got(format!("commit {}", commit.seq))
                    })?;
                }
                Some(ledger.history().to_string())
            }
        };
        let gaps = self.life.gaps.iter();
        Ok(CopyVerified {
            key: self.key.clone(),
            commits: (first, last),
            missing_commits: (last + 1).saturating_sub(first + self.commits.len() as u64),
            history,
            records: (self.life.first.0, self.life.last().0),
            gaps: gaps.map(|gap| (gap.first.0, gap.last.0, gap.why.words().to_owned())).collect(),
            repeated: self.life.repeated,
        })
    }

    /// Its state at a moment, folded by this component.
    ///
    /// # Errors
    /// `E_HISTORY_TRIMMED`: not all of its history is here; `E_ACTOR_NOT_FOUND`: it had done nothing by then;
    /// what the component says.
    pub async fn state(
        &self,
        (actor, guests): (ActorId, Arc<dyn GuestKind>),
        moment: Moment,
    ) -> Result<StateView, Report> {
        let commits = self.whole()?.iter().filter(|commit| inspect::includes(moment, commit));
        let commits: Vec<Commit> = commits.cloned().collect();
        let kind = Kind { actor, guests, effects: Arc::new(Nowhere), policy: KindPolicy::default() };
        let wanted = Wanted {
            key: self.key.clone(),
            kind,
            alone: true,
            last: self.life.last(),
            places: Vec::new(),
            first: self.life.first,
            must: None,
        };
        if commits.is_empty() {
            return Err(inspect::nothing(&wanted));
        }
        let ready = activate::fold_patiently(&wanted, Base { snapshot: None, commits }).await?;
        inspect::shown(&self.key, &ready).await
    }
}

/// Nothing leaves while a history is looked at.
struct Nowhere;

fn nowhere() -> Report {
    Report::new(ErrorCode::Internal, "a history that is looked at has no effects")
}

impl Effects for Nowhere {
    fn publish<'a>(
        &'a self,
        _: &'a str,
        _: (&'a str, Bytes),
        _: &'a str,
        _: Duration,
    ) -> BoxFuture<'a, Result<(), Report>> {
        Box::pin(std::future::ready(Err(nowhere())))
    }
    fn call<'a>(
        &'a self,
        _: &'a str,
        _: (&'a str, Bytes),
        _: &'a str,
        _: Duration,
    ) -> BoxFuture<'a, Result<Bytes, Report>> {
        Box::pin(std::future::ready(Err(nowhere())))
    }
}
