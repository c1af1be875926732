//! What others ask of one open shard: commands, queries, and questions of people.

use crate::activate::{Sources, Wanted};
use crate::inspect::{self, CommitView, Moment, Verified};
use crate::shard::{Inbox, Listing, Look, Message, StateView};
use bytes::Bytes;
use lattice_journal::shard::Submitted;
use lattice_journal::{Command, CommandId, CommandRef, RecordSeq};
use lattice_protocol::{EntityKey, ErrorCode, KindName, Report};
use std::time::Duration;
use tokio::sync::oneshot;

/// How often a history is read that is trimmed while it is read.
const VERIFY_TRIES: u32 = 3;

/// A shard that was open a moment ago. Clones are handles to the same.
#[derive(Clone)]
pub struct Door {
    pub(crate) inbox: Inbox,
}

/// The shard ended before it could answer.
fn ended() -> Report {
    Report::new(ErrorCode::OutcomeUnknown, "outcome unknown: the shard closed before it could answer")
        .hint("send the same command id again: it is answered with the first result, or carried out once")
}

impl Door {
    /// Has an actor carry out a command, which is durable when this returns.
    ///
    /// # Errors
    /// What the actor refuses, what ended its turn, and `E_OUTCOME_UNKNOWN` when there was no answer in
    /// time: the same command id finds out.
    pub async fn submit(
        &self,
        key: EntityKey,
        command: Command,
        patience: Duration,
    ) -> Result<Submitted, Report> {
        let place = key.clone();
        let asking = self.ask(|reply| Message::Submit { key, command, reply });
        self.in_time(place, patience, asking).await
    }

    async fn in_time(
        &self,
        place: EntityKey,
        patience: Duration,
        asking: impl Future<Output = Result<Submitted, Report>>,
    ) -> Result<Submitted, Report> {
        tokio::time::timeout(patience, asking).await.unwrap_or_else(|_| {
            let what = "no answer in time: the command may have been carried out";
            Err(Report::new(ErrorCode::OutcomeUnknown, what)
                .at(place)
                .limit(format!("{} ms", patience.as_millis()))
                .hint("send the same command id again"))
        })
    }

    /// Deletes an actor, for good; that is durable when this returns.
    ///
    /// # Errors
    /// `E_ACTOR_NOT_FOUND` when it has carried out nothing; as [`Door::submit`].
    pub async fn delete(
        &self,
        key: EntityKey,
        id: CommandId,
        patience: Duration,
    ) -> Result<Submitted, Report> {
        let command =
            Command { reference: CommandRef::Id(id), name: "delete".to_owned(), body: Bytes::new() };
        let place = key.clone();
        self.in_time(place, patience, self.ask(|reply| Message::Delete { key, command, reply })).await
    }

    /// Asks an actor something; nothing is stored.
    ///
    /// # Errors
    /// What the actor refuses, what ended the query, `E_TIMEOUT`.
    pub async fn query(
        &self,
        key: EntityKey,
        (name, body): (String, Bytes),
        patience: Duration,
    ) -> Result<Submitted, Report> {
        let asking = self.ask(|reply| Message::Query { key, name, body, reply });
        tokio::time::timeout(patience, asking).await.unwrap_or_else(|_| {
            Err(Report::new(ErrorCode::Timeout, "query not answered in time")
                .limit(format!("{} ms", patience.as_millis()))
                .hint("nothing was changed: ask again, with more patience (--timeout)"))
        })
    }

    async fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<Result<T, Report>>) -> Message,
    ) -> Result<T, Report> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(message(reply));
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// What there is.
    ///
    /// # Errors
    /// The shard has ended.
    pub async fn list(&self, kind: Option<KindName>) -> Result<Listing, Report> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(Message::Look(Look::List { kind, reply }));
        answer.await.map_err(|_| ended())
    }

    /// The shard's last record.
    ///
    /// # Errors
    /// The shard has ended.
    pub(crate) async fn last(&self) -> Result<RecordSeq, Report> {
        self.ask(|reply| Message::Look(Look::Last { reply })).await
    }

    async fn history(&self, key: EntityKey) -> Result<(Sources, Wanted), Report> {
        self.ask(|reply| Message::Look(Look::History { key, reply })).await
    }

    /// An actor's state at a moment.
    ///
    /// # Errors
    /// `E_HISTORY_TRIMMED`, `E_ACTOR_NOT_FOUND` without any history, `E_DAMAGED`.
    pub async fn state_at(&self, key: EntityKey, moment: Moment) -> Result<StateView, Report> {
        let (sources, wanted) = self.history(key).await?;
        inspect::state(&sources, &wanted, moment).await
    }

    /// An actor's commits from this one on, as many as fit one answer.
    ///
    /// # Errors
    /// `E_HISTORY_TRIMMED`, `E_DAMAGED`.
    pub async fn journal(&self, key: EntityKey, from: u64, most: usize) -> Result<Vec<CommitView>, Report> {
        let (sources, wanted) = self.history(key).await?;
        inspect::journal(&sources, &wanted, (from, most)).await
    }

    /// Folds an actor's history in every way there is and compares.
    ///
    /// # Errors
    /// `E_DAMAGED`: they differ, or the history is broken. `E_HISTORY_TRIMMED`: it was trimmed while it was read, each time.
    pub async fn verify(&self, key: EntityKey) -> Result<Verified, Report> {
        let mut left = VERIFY_TRIES;
        loop {
            let (sources, wanted) = self.history(key.clone()).await?;
            left -= 1;
            match inspect::verify(&sources, &wanted).await {
                // It was trimmed while it was read: it begins later now.
                Err(report) if report.code == ErrorCode::HistoryTrimmed && left > 0 => {}
                verified => return verified,
            }
        }
    }

    /// Lets what trapped be tried again.
    pub fn forgive(&self, key: EntityKey) {
        self.inbox.send(Message::Forgive { key });
    }
}
