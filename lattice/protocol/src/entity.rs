//! The frame of one call of a persistent actor: by whom it is asked for, what, and the answer.
//!
//! ```text
//! request   as any call's ([`crate::invocation`]): version · head length · head (JSON) · body
//! answer    version · status; then version · head length · head ([`EntityAnswer`]) · reply, or a Report
//! ```
//! Only hosts send messages of other actors ([`CommandBy::Actor`]); NATS permissions see to that.

mod attempts;

pub use attempts::Attempts;

use crate::error::{ErrorCode, Report};
use crate::invocation::{decode_frame, encode_frame};
use crate::name::{AppName, EntityKey, HostId, KindName};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What tells a command from a repetition of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CommandBy {
    /// From outside: a UUIDv7.
    Id(String),
    /// From another actor: its n-th message to this one.
    Actor {
        /// Which.
        from: EntityKey,
        /// Which message, from 1.
        sequence: u64,
    },
}

/// A moment of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Moment {
    /// After this commit.
    Seq(u64),
    /// At this time, milliseconds since 1970.
    Time(u64),
    /// Now.
    Last,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "ask")]
pub enum EntityAsk {
    /// Carry out a command; the body is its body.
    Command {
        /// Which actor.
        key: EntityKey,
        /// The command's name.
        name: String,
        /// Which command.
        by: CommandBy,
    },
    /// Answer from the state; the body is the query's.
    Query {
        /// Which actor.
        key: EntityKey,
        /// The query's name.
        name: String,
        /// May a standby answer, when the owner does not? Then the answer says how old it is.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        stale: bool,
    },
    /// Actors of a kind. The answer is JSON, as that of everything below.
    List,
    /// An actor's state.
    State {
        /// Which actor.
        key: EntityKey,
        /// When.
        at: Moment,
    },
    /// An actor's commits.
    Journal {
        /// Which actor.
        key: EntityKey,
        /// The first one.
        from: u64,
        /// How many at most.
        most: u32,
    },
    /// Fold an actor's history in every way there is, and compare.
    Verify {
        /// Which actor.
        key: EntityKey,
    },
    /// Move the shard of an actor to another host that runs its kind.
    Move {
        /// Which actor.
        key: EntityKey,
        /// Where to.
        to: HostId,
    },
    /// Be ready to take a shard over: has this host room for it, and has it followed it through this
    /// record? It is then kept for the shard for a while. Asked of a host by the shard's owner.
    Reserve {
        /// Which shard of the kind.
        shard: u16,
        /// The owner's last record.
        record: u64,
    },
    /// Delete everything that an actor is, for good. It is a commit of its own; asked again, it is told that
    /// it was done.
    Delete {
        /// Which actor.
        key: EntityKey,
        /// Which command: a UUIDv7.
        id: String,
    },
    /// Remove what this host alone keeps of an actor that was deleted elsewhere: copies of snapshots, what
    /// was set aside. Asked of each host of a kind after [`EntityAsk::Delete`]; a host that owns the actor
    /// has done it.
    Forget {
        /// Which actor.
        key: EntityKey,
    },
    /// What was set aside.
    SetAside,
    /// Send something again that was set aside.
    Replay {
        /// Its id.
        id: String,
    },
    /// Forget something that was set aside.
    Discard {
        /// Its id.
        id: String,
    },
}

impl EntityAsk {
    /// The actor that is asked; none when it is the kind.
    #[must_use]
    pub fn key(&self) -> Option<&EntityKey> {
        match self {
            Self::Command { key, .. }
            | Self::Query { key, .. }
            | Self::State { key, .. }
            | Self::Journal { key, .. }
            | Self::Move { key, .. }
            | Self::Delete { key, .. }
            | Self::Verify { key } => Some(key),
            // The host is asked, not the actor.
            Self::Forget { .. }
            | Self::List
            | Self::Reserve { .. }
            | Self::SetAside
            | Self::Replay { .. }
            | Self::Discard { .. } => None,
        }
    }

    /// Is it for an actor to carry out, under an id? Without an answer it may have been.
    #[must_use]
    pub fn is_command(&self) -> bool {
        matches!(self, Self::Command { .. } | Self::Delete { .. })
    }
}

/// Head of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntityCall {
    /// The kind.
    pub kind: KindName,
    /// The application that it must belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// What is asked.
    pub ask: EntityAsk,
    /// Time the caller will still wait, milliseconds.
    pub remaining_ms: u64,
    /// W3C traceparent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// Head of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntityAnswer {
    /// In which commit; for a query, after which.
    pub seq: u64,
    /// The owner's epoch.
    pub epoch: u64,
    /// Was the command carried out before?
    #[serde(default)]
    pub repeated: bool,
    /// How old it may be; none: it is the owner's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<Stale>,
}

/// How old a standby's answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stale {
    /// The last record of the shard that is in it.
    pub record: u64,
    /// Since when the standby has not been told that this is all there is, milliseconds. 0: it asked the
    /// shard's log for this answer.
    pub age_ms: u64,
}

impl EntityCall {
    /// The frame of this call.
    ///
    /// # Errors
    /// `E_LIMIT` when the head is too large.
    pub fn encode(&self, body: &[u8]) -> Result<Vec<u8>, Report> {
        encode_frame(self, body)
    }

    /// Reads a frame: the head, and its body.
    ///
    /// # Errors
    /// `E_MALFORMED`; `E_NAME` when the actor is not of the kind.
    pub fn decode(frame: &Bytes) -> Result<(Self, Bytes), Report> {
        let (call, at): (Self, usize) = decode_frame(frame)?;
        let forgotten = if let EntityAsk::Forget { key } = &call.ask { Some(key) } else { None };
        if let Some(key) = call.ask.key().or(forgotten).filter(|key| key.kind != call.kind) {
            return Err(Report::new(ErrorCode::Name, "an actor of another kind").got(key).limit(&call.kind));
        }
        Ok((call, frame.slice(at..)))
    }
}

impl EntityAnswer {
    /// The answer with its reply.
    ///
    /// # Errors
    /// `E_LIMIT`: never, for this head.
    pub fn encode(&self, reply: &[u8]) -> Result<Vec<u8>, Report> {
        encode_frame(self, reply)
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// `E_MALFORMED`.
    pub fn decode(frame: &Bytes) -> Result<(Self, Bytes), Report> {
        let (answer, at): (Self, usize) = decode_frame(frame)?;
        Ok((answer, frame.slice(at..)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(ask: EntityAsk) -> EntityCall {
        let kind = "meter".parse().unwrap();
        EntityCall { kind, app: None, ask, remaining_ms: 1_000, traceparent: None }
    }

    #[test]
    fn calls_and_answers_read_back_and_a_key_is_of_its_kind() {
        let key: EntityKey = "meter/m-1".parse().unwrap();
        let by = CommandBy::Actor { from: "battery/b".parse().unwrap(), sequence: 3 };
        for ask in [
            EntityAsk::Command { key: key.clone(), name: "add".into(), by },
            EntityAsk::Query { key: key.clone(), name: "level".into(), stale: true },
            EntityAsk::Reserve { shard: 3, record: 70 },
            EntityAsk::State { key: key.clone(), at: Moment::Time(5) },
            EntityAsk::Journal { key: key.clone(), from: 1, most: 10 },
            EntityAsk::Delete { key: key.clone(), id: "x".into() },
            EntityAsk::Forget { key: key.clone() },
            EntityAsk::List,
            EntityAsk::Replay { id: "a".into() },
        ] {
            let sent = call(ask);
            let frame = Bytes::from(sent.encode(b"body").unwrap());
            assert_eq!(EntityCall::decode(&frame).unwrap(), (sent, Bytes::from_static(b"body")));
        }
        let battery: EntityKey = "battery/b".parse().unwrap();
        for other in [EntityAsk::Verify { key: battery.clone() }, EntityAsk::Forget { key: battery }] {
            let frame = Bytes::from(call(other).encode(b"").unwrap());
            assert_eq!(EntityCall::decode(&frame).unwrap_err().code, ErrorCode::Name);
        }
        let frame = Bytes::from(call(EntityAsk::List).encode(b"").unwrap());
        assert_eq!(EntityCall::decode(&frame.slice(..9)).unwrap_err().code, ErrorCode::Malformed);
        for stale in [None, Some(Stale { record: 9, age_ms: 40 })] {
            let answer = EntityAnswer { seq: 7, epoch: 2, repeated: true, stale };
            let frame = Bytes::from(answer.encode(b"12").unwrap());
            assert_eq!(EntityAnswer::decode(&frame).unwrap(), (answer, Bytes::from_static(b"12")));
        }
        // Of a host that knows nothing of standbys.
        let old = serde_json::json!({ "ask": "query", "key": key, "name": "level" });
        let read: EntityAsk = serde_json::from_value(old).unwrap();
        assert_eq!(read, EntityAsk::Query { key, name: "level".into(), stale: false });
    }
}
