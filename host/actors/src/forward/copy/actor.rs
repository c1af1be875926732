//! One actor, as far as it has arrived: what it has done, whether that hangs together, and its state at any
//! moment, folded from it; from a snapshot that was forwarded, where the commits before that are missing. Nothing
//! of it needs the host, which may be away for ever.

use super::{Copy, Life};
use crate::activate::{self, Base};
use crate::forward::checkpoint::read::{self as standing, Standing};
use crate::inspect::{self, CommitView, Moment};
use crate::kinds::{Effects, Kind};
use crate::policy::KindPolicy;
use crate::shard::StateView;
use bytes::Bytes;
use host_core::guest::GuestKind;
use host_store::{Envelope, SnapshotKey};
use lattice_io::{BoxFuture, Lanes};
use lattice_journal::record::SnapshotRef;
use lattice_journal::{Commit, Ledger, RecordSeq, Sealed, Snapshot};
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
    /// A snapshot of the checkpoint that was forwarded, where commits before it are missing.
    snapshot: Option<(Snapshot, SnapshotRef)>,
}

/// Whose, where from.
pub struct Wanted<'a> {
    /// The host whose journal it is.
    pub host: &'a HostId,
    /// The actor.
    pub key: &'a EntityKey,
    /// What the host's snapshots are encrypted with, if they are: for an actor whose older commits are missing.
    pub snapshot_key: Option<SnapshotKey>,
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
    /// Its first commit that is here, and its last; 0 and 0 when none is.
    pub commits: (u64, u64),
    /// Commits between them that are missing.
    pub missing_commits: u64,
    /// The commit of the snapshot that stands for what is missing, if one was forwarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<u64>,
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
/// `E_NOT_FOUND`: nothing of this host; `E_ACTOR_NOT_FOUND`: nothing of this actor, or it was deleted; as
/// [`super::read`].
pub async fn read(
    lanes: &Arc<dyn Lanes>,
    subjects: &Subjects,
    wanted: Wanted<'_>,
) -> Result<ActorCopy, Report> {
    let Wanted { host, key, snapshot_key } = wanted;
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
    let copy = super::read(&**lanes, subjects, host, &mut take).await?;
    let (mut at, mut record, mut commits) = found;
    if commits.last().is_some_and(Commit::is_tombstone) {
        return Err(lattice_journal::ledger::deleted(key));
    }
    let snapshot = match is_whole(&commits) {
        true => None,
        false => snapshot_of(lanes, subjects, (host, key, Envelope::new(snapshot_key)), &copy).await?,
    };
    let newest = copy.lives.len().saturating_sub(1);
    if let Some((snapshot, _)) = &snapshot {
        if at != newest {
            // Those of a journal before it are of another history.
            (at, record, commits) = (newest, RecordSeq(0), Vec::new());
        }
        record = record.max(snapshot.record);
    }
    let is_newest = at == newest;
    match copy.lives.into_iter().nth(at) {
        Some(life) if !commits.is_empty() || snapshot.is_some() => {
            Ok(ActorCopy { key: key.clone(), host: host.clone(), record, life, is_newest, commits, snapshot })
        }
        _ => Err(Report::new(ErrorCode::ActorNotFound, "nothing of this actor has been forwarded")
            .at(key)
            .got(format!("the journal of host {host}"))
            .hint("name the host that it was on: --host")),
    }
}

/// Are they all, from the first?
fn is_whole(commits: &[Commit]) -> bool {
    !commits.is_empty() && (1..).zip(commits).all(|(due, commit)| commit.seq.0 == due)
}

/// The snapshot of an actor that stands for older records of the newest journal.
async fn snapshot_of(
    lanes: &Arc<dyn Lanes>,
    subjects: &Subjects,
    (host, key, envelope): (&HostId, &EntityKey, Envelope),
    copy: &Copy,
) -> Result<Option<(Snapshot, SnapshotRef)>, Report> {
    loop {
        let found = standing::read(lanes, subjects, (host, envelope.clone())).await?;
        let is_mine = |standing: &Standing| {
            copy.newest().is_some_and(|life| life.incarnations.contains(&standing.head.incarnation))
        };
        let Some(standing) = found.filter(is_mine) else { return Ok(None) };
        if standing.buried(key).is_some() {
            return Err(lattice_journal::ledger::deleted(key));
        }
        match standing.snapshot(key).await {
            // Another one has taken its place meanwhile.
            Err(report) if report.code == ErrorCode::Damaged && !standing.counts().await? => {}
            found => return found,
        }
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

    /// What it is folded from, up to a moment: all commits, or a snapshot and those behind it.
    fn base(&self, moment: Moment) -> Result<Base, Report> {
        let till = |commits: &[Commit]| -> Vec<Commit> {
            commits.iter().filter(|commit| inspect::includes(moment, commit)).cloned().collect()
        };
        let incomplete = match self.whole() {
            Ok(commits) => return Ok(Base { snapshot: None, commits: till(commits) }),
            Err(incomplete) => incomplete,
        };
        let Some((snapshot, reference)) = &self.snapshot else { return Err(incomplete) };
        let (seq, at_ms) = (snapshot.ledger.seq().0, snapshot.ledger.hlc().wall_ms);
        let is_before = match moment {
            Moment::Last => true,
            Moment::Seq(wanted) => seq <= wanted,
            Moment::Time(wanted_ms) => at_ms <= wanted_ms,
        };
        let behind: Vec<Commit> = self.commits.iter().filter(|commit| commit.seq.0 > seq).cloned().collect();
        let follows = (seq + 1..).zip(&behind).all(|(due, commit)| commit.seq.0 == due);
        if !is_before || !follows {
            return Err(incomplete.got(format!("a snapshot of commit {seq}")));
        }
        Ok(Base { snapshot: Some((snapshot.clone(), reference.clone())), commits: till(&behind) })
    }

    /// The commits from the first one on, without a gap.
    fn whole(&self) -> Result<&[Commit], Report> {
        if is_whole(&self.commits) {
            return Ok(&self.commits);
        }
        let late = (1..).zip(&self.commits).find(|(due, commit)| commit.seq.0 != *due);
        let first = late.map_or(1, |(_, commit)| commit.seq.0);
        Err(self.incomplete(first))
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
        let snapshot = self.snapshot.as_ref().map(|(snapshot, _)| snapshot.ledger.seq().0);
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
            snapshot,
            // Without any, what is missing is not between them.
            missing_commits: match self.commits.len() as u64 {
                0 => 0,
                here => (last + 1).saturating_sub(first + here),
            },
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
        let base = self.base(moment)?;
        let kind = Kind { actor, guests, effects: Arc::new(Nowhere), policy: KindPolicy::default() };
        let wanted = activate::Wanted {
            key: self.key.clone(),
            kind,
            alone: true,
            last: self.life.last(),
            places: Vec::new(),
            first: self.life.first,
            must: None,
        };
        if base.snapshot.is_none() && base.commits.is_empty() {
            return Err(inspect::nothing(&wanted));
        }
        let ready = activate::fold_patiently(&wanted, base).await?;
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
