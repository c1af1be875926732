//! Histories, read back from the journal: what an actor has done, what its state was at any moment
//! that is kept, and whether the fold of it all is what is said. It happens in instances of its own;
//! the actor at work feels nothing.

use crate::activate::{self, Base, Pick, Ready, Sources, Wanted, told};
use crate::shard::StateView;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lattice_journal::{Commit, Hash};
use lattice_protocol::{EntityKey, ErrorCode, Report};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub use lattice_protocol::entity::Moment;

/// Most commits of one answer.
pub const MAX_COMMITS: usize = 1_000;
/// Most bytes of payloads of one answer: it fits a message.
const MAX_BYTES: usize = 512 << 10;

pub(crate) fn includes(moment: Moment, commit: &Commit) -> bool {
    match moment {
        Moment::Seq(seq) => commit.seq.0 <= seq,
        Moment::Time(at_ms) => commit.hlc.wall_ms <= at_ms,
        Moment::Last => true,
    }
}

/// An event, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// What kind of fact.
    pub name: String,
    /// Version of its form.
    pub version: u32,
    /// As the actor encodes it, base64.
    pub payload: String,
}

/// A commit, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitView {
    /// Its place in the actor's history.
    pub seq: u64,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// What it answers.
    pub command: String,
    /// The component that decided it.
    pub component: String,
    /// What happened.
    pub events: Vec<EventView>,
    /// What was to be done, in words.
    pub effects: Vec<String>,
    /// What the sender was told, base64.
    pub reply: String,
}

/// What a verification has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// Which actor.
    pub key: EntityKey,
    /// The first commit that is kept, and the last.
    pub commits: (u64, u64),
    /// Hash of the history.
    pub history: String,
    /// BLAKE3 of the state.
    pub state: String,
    /// Each way in which the state was made, all of them alike.
    pub ways: Vec<String>,
}

/// All commits of an actor that are kept.
async fn commits(sources: &Sources, wanted: &Wanted) -> Result<Vec<Commit>, Report> {
    let mut commits = Vec::new();
    for sealed in sources.log.older(&wanted.key, wanted.first).await? {
        commits.extend(sealed.record().commits().iter().filter(|commit| commit.key == wanted.key).cloned());
    }
    let mut bases = BTreeMap::from([(wanted.key.clone(), Base { snapshot: None, commits })]);
    activate::read(sources, wanted.places.clone(), &mut bases).await?;
    Ok(bases.remove(&wanted.key).map(|base| base.commits).unwrap_or_default())
}

/// Folds an actor up to a moment, from the newest snapshot before it.
async fn at(sources: &Sources, wanted: &Wanted, moment: Moment) -> Result<Ready, Report> {
    let mut commits = commits(sources, wanted).await?;
    let kept = commits.first().map(|first| first.seq.0);
    commits.retain(|commit| includes(moment, commit));
    let last = commits.last().map(|last| last.seq.0);
    // What is kept goes on from a snapshot that has everything before it.
    let low = kept.map_or(0, |first| first.saturating_sub(1));
    let pick = match (moment, last) {
        (Moment::Seq(seq), _) => Pick::Between(low, seq),
        (Moment::Time(_), last) => Pick::Between(low, last.unwrap_or(0)),
        (Moment::Last, _) => Pick::Skip(0),
    };
    let snapshot = activate::load_snapshots(sources, vec![wanted.sought()], pick).await.remove(&wanted.key);
    let from = snapshot.as_ref().map_or(0, |(snapshot, _)| snapshot.ledger.seq().0);
    commits.retain(|commit| commit.seq.0 > from);
    let first = commits.first().map(|first| first.seq.0);
    match first {
        Some(first) if first != from + 1 => return Err(trimmed(wanted, kept)),
        // Nothing by then, or nothing that is kept.
        None if from == 0 && wanted.must.is_some() && kept != Some(1) => return Err(trimmed(wanted, kept)),
        None if from == 0 => return Err(nothing(wanted)),
        _ => {}
    }
    activate::fold_patiently(wanted, Base { snapshot, commits }).await
}

pub(crate) fn nothing(wanted: &Wanted) -> Report {
    let report = Report::new(ErrorCode::ActorNotFound, "no history").at(&wanted.key);
    report.hint("it has carried out no command (by then)")
}

fn trimmed(wanted: &Wanted, kept: Option<u64>) -> Report {
    let report = Report::new(ErrorCode::HistoryTrimmed, "history trimmed").at(&wanted.key);
    match kept {
        Some(first) => report.limit(format!("commit {first} or later")),
        None => report.hint("only its last snapshots are kept"),
    }
}

/// The state at a moment.
pub(crate) async fn state(sources: &Sources, wanted: &Wanted, moment: Moment) -> Result<StateView, Report> {
    shown(&wanted.key, &at(sources, wanted, moment).await?).await
}

/// What was folded, as its guest saves it.
pub(crate) async fn shown(key: &EntityKey, ready: &Ready) -> Result<StateView, Report> {
    let saved = told(|done| ready.guest.save(done)).await.map_err(|fault| fault.report())?;
    let ledger = &ready.ledger;
    Ok(StateView {
        key: key.clone(),
        seq: ledger.seq().0,
        at_ms: ledger.hlc().wall_ms,
        history: ledger.history().to_string(),
        version: saved.version,
        hash: Hash::of(&saved.state).to_string(),
        state: BASE64.encode(&saved.state),
        timers: ledger.timers().iter().map(|(name, timer)| (name.to_string(), timer.due_ms)).collect(),
        ended: ledger.is_stopped(),
    })
}

/// Commits from this one on, as many as fit one answer.
pub(crate) async fn journal(
    sources: &Sources,
    wanted: &Wanted,
    (from, most): (u64, usize),
) -> Result<Vec<CommitView>, Report> {
    let commits = commits(sources, wanted).await?;
    let kept = commits.first().map(|first| first.seq.0);
    if wanted.must.is_some() && from > 0 && kept.is_none_or(|kept| from < kept) {
        return Err(trimmed(wanted, kept));
    }
    let mut bytes = 0;
    let fits = |commit: &&Commit| {
        bytes += commit.events.iter().map(|event| event.payload.len() + event.name.len()).sum::<usize>();
        bytes += commit.reply.len() + 256;
        bytes <= MAX_BYTES
    };
    let shown = commits.iter().filter(|commit| commit.seq.0 >= from).take(most.min(MAX_COMMITS));
    Ok(shown.take_while(fits).map(view).collect())
}

pub(crate) fn view(commit: &Commit) -> CommitView {
    CommitView {
        seq: commit.seq.0,
        at_ms: commit.hlc.wall_ms,
        command: commit.command.to_string(),
        component: commit.component.to_string(),
        events: commit
            .events
            .iter()
            .map(|event| EventView {
                name: event.name.to_string(),
                version: event.version,
                payload: BASE64.encode(&event.payload),
            })
            .collect(),
        effects: commit.effects.iter().map(words).collect(),
        reply: BASE64.encode(&commit.reply),
    }
}

fn words(effect: &lattice_journal::Effect) -> String {
    use lattice_journal::Effect;
    match effect {
        Effect::Send { to, sequence, name, .. } => format!("send {to} {name} (message {sequence})"),
        Effect::Publish { link, subject, .. } => format!("publish {link} {subject}"),
        Effect::Call { link, function, .. } => format!("call {link} {function}"),
        Effect::TimerSet { name, due_ms, command, .. } => format!("timer {name} at {due_ms}: {command}"),
        Effect::TimerCancel { name } => format!("cancel timer {name}"),
        Effect::Crdt { name, .. } => format!("change {name}"),
        Effect::SnapshotNow => "snapshot".to_owned(),
        Effect::Passivate => "passivate".to_owned(),
        Effect::Stop => "stop".to_owned(),
        Effect::Delete => "delete".to_owned(),
    }
}

/// Folds an actor in every way there is, twice each: from each snapshot, and from the beginning.
/// All must give the same bytes.
///
/// # Errors
/// `E_DAMAGED` when they do not, or when the chain of commits is broken.
pub(crate) async fn verify(sources: &Sources, wanted: &Wanted) -> Result<Verified, Report> {
    let commits = commits(sources, wanted).await?;
    let mut bases: Vec<(String, Base)> = Vec::new();
    if activate::reaches_back(&commits) {
        bases.push(("from the first commit".to_owned(), Base { snapshot: None, commits: commits.clone() }));
    }
    for skip in 0..2 {
        let sought = vec![wanted.sought()];
        let found = activate::load_snapshots(sources, sought, Pick::Skip(skip)).await.remove(&wanted.key);
        let Some((snapshot, reference)) = found else { continue };
        let from = snapshot.ledger.seq();
        let rest = commits.iter().filter(|commit| commit.seq > from).cloned().collect();
        bases.push((
            format!("from the snapshot at commit {from}"),
            Base { snapshot: Some((snapshot, reference)), commits: rest },
        ));
    }
    let mut found: Option<(lattice_journal::Ledger, Hash)> = None;
    let mut ways = Vec::new();
    for (way, base) in bases {
        for _ in 0..2 {
            let base = Base { snapshot: base.snapshot.clone(), commits: base.commits.clone() };
            let ready = activate::fold_patiently(wanted, base).await?;
            let saved = told(|done| ready.guest.save(done)).await.map_err(|fault| fault.report())?;
            let hash = Hash::of(&saved.state);
            match &found {
                Some((ledger, state)) if *state != hash || *ledger != ready.ledger => {
                    return Err(Report::new(ErrorCode::Damaged, "the fold differs")
                        .at(&wanted.key)
                        .got(format!("{hash} {way}"))
                        .limit(format!("{state} {}", ways.first().cloned().unwrap_or_default()))
                        .hint(
                            "the actor's state does not follow from its events alone, or a snapshot is wrong",
                        ));
                }
                _ => found = Some((ready.ledger, hash)),
            }
        }
        ways.push(way);
    }
    let Some((ledger, state)) = found else {
        return Err(nothing(wanted));
    };
    let first = commits.first().map_or(ledger.seq().0 + 1, |first| first.seq.0);
    Ok(Verified {
        key: wanted.key.clone(),
        commits: (first, ledger.seq().0),
        history: ledger.history().to_string(),
        state: state.to_string(),
        ways,
    })
}
