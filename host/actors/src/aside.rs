//! What was set aside: commands that keep trapping, messages that were refused and settled, effects
//! that nobody took. Kept on disk with their input, so that a person can see them and send them
//! again; bounded, the oldest go first.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use host_store::AsideStore;
use keys::Digest;
use lattice_journal::command::CommandRef;
use lattice_journal::outbox::Outgoing;
use lattice_journal::{Command, Effect};
use lattice_protocol::{EntityKey, ErrorCode, Report};
use serde::{Deserialize, Serialize};

/// Why it was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It trapped too often.
    Trapped,
    /// The actor refused it, and its sender does not repeat it.
    Refused,
    /// An effect that its target did not take.
    DeadLetter,
}

/// One thing that was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Aside {
    /// Names it; the same for the same thing.
    pub id: String,
    /// Why.
    pub why: Why,
    /// The actor: whose command, or whose effect.
    pub actor: EntityKey,
    /// Which command, or which effect.
    pub reference: String,
    /// Name of the command; where the effect went.
    pub name: String,
    /// Body, base64.
    pub body: String,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// What was said.
    pub report: Option<Report>,
}

fn id(actor: &EntityKey, reference: &str) -> String {
    Digest::of(format!("{actor} {reference}").as_bytes()).hex().chars().take(16).collect()
}

impl Aside {
    /// A command.
    #[must_use]
    pub fn command(
        why: Why,
        actor: &EntityKey,
        command: &Command,
        at_ms: u64,
        report: Option<Report>,
    ) -> Self {
        let reference = command.reference.to_string();
        Self {
            id: id(actor, &reference),
            why,
            actor: actor.clone(),
            reference,
            name: command.name.clone(),
            body: BASE64.encode(&command.body),
            at_ms,
            report,
        }
    }

    /// An effect.
    #[must_use]
    pub fn dead_letter(item: &Outgoing, at_ms: u64, report: Option<Report>) -> Self {
        let (name, body) = match &item.effect {
            Effect::Publish { link, subject, body } => (format!("publish {link} {subject}"), body),
            Effect::Call { link, function, body, .. } => (format!("call {link} {function}"), body),
            Effect::Send { to, name, body, .. } => (format!("send {to} {name}"), body),
            _ => (String::new(), &Bytes::new()),
        };
        let reference = item.idempotency_key();
        Self {
            id: id(&item.from, &reference),
            why: Why::DeadLetter,
            actor: item.from.clone(),
            reference,
            name,
            body: BASE64.encode(body),
            at_ms,
            report,
        }
    }

    /// What is to be sent again. A command that came from outside keeps its id; any other one is settled in the journal
    /// already, so it comes anew, under an id that is the same on each attempt. A message keeps its key.
    ///
    /// # Errors
    /// `E_USAGE` for a call, whose caller was answered; `E_DAMAGED`.
    pub fn again(&self, unix_ms: u64) -> Result<Again, Report> {
        let damaged = |what: String| Report::new(ErrorCode::Damaged, what).at(&self.id);
        let body = BASE64.decode(&self.body).map_err(|error| damaged(format!("set aside: {error}")))?;
        if self.why == Why::DeadLetter {
            return self.letter(body.into());
        }
        let reference = match self.reference.parse() {
            Ok(id) => CommandRef::Id(id),
            Err(_) => {
                let cause = format!("{} {}", self.actor, self.reference);
                CommandRef::Id(lattice_journal::CommandId::derived(unix_ms, cause.as_bytes()))
            }
        };
        Ok(Again::Command(Command { reference, name: self.name.clone(), body: body.into() }))
    }

    fn letter(&self, body: Bytes) -> Result<Again, Report> {
        match self.name.split(' ').collect::<Vec<_>>().as_slice() {
            ["publish", link, subject] => Ok(Again::Message {
                link: (*link).to_owned(),
                subject: (*subject).to_owned(),
                body,
                key: self.reference.clone(),
            }),
            _ => Err(Report::new(
                ErrorCode::Usage,
                "the actor was told that its call failed: it is not made again",
            )
            .at(&self.id)
            .got(&self.name)
            .hint("repair the link or its target; have the actor do it again; then discard this")),
        }
    }
}

/// What is to be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Again {
    /// A command, to its actor.
    Command(Command),
    /// A message, through a link of the actor.
    Message {
        /// Which link.
        link: String,
        /// Where to.
        subject: String,
        /// What it says.
        body: Bytes,
        /// The key that it had before.
        key: String,
    },
}

/// Writes, on a blocking thread, what was set aside. A failure is logged: what was set aside is not
/// what was acknowledged.
pub(crate) fn keep(store: &AsideStore, aside: &Aside) {
    tracing::warn!(actor = %aside.actor, command = aside.reference, name = aside.name, why = ?aside.why,
        report = aside.report.as_ref().map(tracing::field::display), "set aside");
    let stored =
        serde_json::to_vec(aside).map_err(std::io::Error::other).map(|bytes| store.put(&aside.id, &bytes));
    match stored {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::error!(%error, id = aside.id, "not kept: set aside, and now only in this log")
        }
        Err(error) => tracing::error!(%error, id = aside.id, "not kept"),
    }
}

/// Everything that is set aside, oldest first.
///
/// # Errors
/// The disk.
pub fn list(store: &AsideStore) -> Result<Vec<Aside>, Report> {
    let mut all: Vec<Aside> = Vec::new();
    for bytes in store.all()? {
        match serde_json::from_slice(&bytes) {
            Ok(aside) => all.push(aside),
            Err(error) => tracing::warn!(%error, "something set aside cannot be read"),
        }
    }
    all.sort_by(|left, right| (left.at_ms, &left.id).cmp(&(right.at_ms, &right.id)));
    Ok(all)
}
