//! What goes to a provider's process and back, besides frame and values.

use crate::http::{Allowed, RouteRequest};
use crate::inbound::InboundTarget;
use crate::messaging::SubscribeRequest;
use crate::{Provider, ProviderError, ProviderErrorKind};
use bytes::Bytes;
use lattice_protocol::{ErrorCode, ProviderId, Report};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// One operation. Values and keys that can be many or large travel behind the head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum Operation {
    KeyValue { bucket: String, act: KeyValueAct },
    Publish,
    Request,
    Send { allowed: Allowed },
    Blob { container: String, act: BlobAct },
}

/// On a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum KeyValueAct {
    Open,
    Get {
        key: String,
    },
    /// One value.
    Set {
        key: String,
    },
    Delete {
        key: String,
    },
    Exists {
        key: String,
    },
    List {
        cursor: Option<String>,
    },
    Increment {
        key: String,
        delta: i64,
    },
    Current {
        key: String,
    },
    /// Two values: the version, what is to be written.
    Swap {
        key: String,
    },
    /// Keys are the values.
    GetMany,
    /// Key, value, key, value …
    SetMany,
    /// Keys are the values.
    DeleteMany,
}

/// On a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum BlobAct {
    Create,
    Exists,
    Drop,
    List,
    Info {
        object: String,
    },
    Read {
        object: String,
        start: u64,
        end: u64,
    },
    /// One value.
    Write {
        object: String,
    },
    /// Names are the values.
    Delete,
}

/// What an inbound link asks of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Wanted {
    Route(RouteRequest),
    Subscription(SubscribeRequest),
}

/// A binding: one and the same whoever asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Binding {
    pub target: InboundTarget,
    pub wanted: Wanted,
}

/// A question to every process of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum Question {
    Describe {
        nonce: String,
    },
    Bind {
        lease: String,
        lease_ms: u64,
        binding: Box<Binding>,
    },
    Unbind {
        lease: String,
    },
    /// How many messages wait for a subscription; the answer is a number, or null.
    Lag {
        lease: String,
    },
}

/// What a provider is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// `wasi:keyvalue`.
    KeyValue,
    /// `wasmcloud:messaging`.
    Messaging,
    /// Calls `wasi:http` handlers.
    HttpServer,
    /// Outgoing `wasi:http`.
    HttpClient,
    /// `wasi:blobstore`.
    BlobStore,
}

/// What a provider's process says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Description {
    /// Which provider.
    pub id: ProviderId,
    /// What it is for.
    pub capability: Capability,
    /// Where it listens, if it is a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// The process's own key, `V…`.
    pub key: keys::PublicKey,
}

impl Description {
    /// Of this provider.
    #[must_use]
    pub fn of(id: ProviderId, provider: &Provider, key: keys::PublicKey) -> Self {
        let (capability, listen) = match provider {
            Provider::KeyValue(_) => (Capability::KeyValue, None),
            Provider::Messaging(_) => (Capability::Messaging, None),
            Provider::HttpServer(server) => (Capability::HttpServer, Some(server.local_address())),
            Provider::HttpClient(_) => (Capability::HttpClient, None),
            Provider::BlobStore(_) => (Capability::BlobStore, None),
        };
        Self { id, capability, listen, key }
    }
}

/// The answer to [`Question::Describe`], and a signature that only the holder of the key can make
/// for this question.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Described {
    pub description: Description,
    pub signature: String,
}

/// What is signed: nobody can use it for anything else.
pub(super) fn proof(lattice: &str, nonce: &str, description: &Description) -> String {
    format!("trellis provider\n{lattice}\n{}\n{nonce}", description.id)
}

pub(super) fn json(value: &impl Serialize) -> Result<Bytes, Report> {
    let bytes = serde_json::to_vec(value);
    bytes.map(Bytes::from).map_err(|error| Report::new(ErrorCode::Internal, error.to_string()))
}

pub(super) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ProviderError> {
    serde_json::from_slice(bytes).map_err(no_answer)
}

/// What came is not an answer to what was asked.
pub(super) fn no_answer(why: impl std::fmt::Display) -> ProviderError {
    ProviderError::new(ProviderErrorKind::Failed, format!("provider gave no valid answer: {why}"))
}

/// A text among the values.
pub(super) fn text(value: Option<Bytes>) -> Result<String, Report> {
    let value = value.ok_or_else(missing)?;
    String::from_utf8(value.into()).map_err(|_| Report::new(ErrorCode::Malformed, "provider call: not UTF-8"))
}

/// A value that has to be there.
pub(super) fn missing() -> Report {
    Report::new(ErrorCode::Malformed, "provider call: a value is missing")
}
