//! The frame of one call to a provider that runs as its own process, and whose child it is.
//!
//! ```text
//! request   1 byte version · 4 bytes big-endian head length · head (JSON) · values
//! reply     as of a call between hosts ([`crate::invocation`])
//! values    any number of: 0 (none), or 1 · 4 bytes big-endian length · bytes
//! ```
//! What can be done (the operation) is the provider SDK's: this file only carries it. The head
//! holds all that an in-process provider is told of a call, so the same code can serve both.

use crate::error::Report;
use crate::invocation::{MAX_HEAD_BYTES, decode_frame, encode_frame, malformed};
use crate::name::{ActorId, HostId, LinkName, ProviderId};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most bytes that a frame adds to the values it carries, each value's own few bytes aside.
pub const FRAME_OVERHEAD_BYTES: usize = 5 + MAX_HEAD_BYTES;
/// Most values in one frame.
pub const MAX_VALUES: usize = 10_000;

/// Which process of a provider is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// One that somebody runs for the whole lattice; several of them share the calls.
    Shared,
    /// The child of this host, which serves this host alone: as if it were in its process.
    Host(HostId),
}

/// The name of a provider's process: its NATS user's, and the end of its subjects.
#[must_use]
pub fn process_name(provider: &ProviderId, place: &Place) -> String {
    match place {
        Place::Shared => format!("{}.{}", provider.app, provider.name),
        Place::Host(host) => format!("{}.{}.{host}", provider.app, provider.name),
    }
}

/// Head of a call to a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderCall<O> {
    /// The actor that calls.
    pub source: ActorId,
    /// The link it came by.
    pub link: LinkName,
    /// The link's configuration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// Time the caller will still wait, milliseconds: relative, because clocks differ.
    pub remaining_ms: u64,
    /// W3C traceparent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// What is to be done.
    pub operation: O,
}

impl<O: Serialize + DeserializeOwned> ProviderCall<O> {
    /// The frame of this call.
    ///
    /// # Errors
    /// `E_LIMIT` when the head is over [`MAX_HEAD_BYTES`].
    pub fn encode(&self, values: &[Option<Bytes>]) -> Result<Vec<u8>, Report> {
        encode_frame(self, &pack(values))
    }

    /// Reads a frame: the head, and the values behind it.
    ///
    /// # Errors
    /// `E_MALFORMED`.
    pub fn decode(frame: &Bytes) -> Result<(Self, Vec<Option<Bytes>>), Report> {
        let (head, at) = decode_frame(frame)?;
        Ok((head, unpack(&frame.slice(at..))?))
    }
}

/// Values one behind the other.
#[must_use]
pub fn pack(values: &[Option<Bytes>]) -> Vec<u8> {
    let size = values.iter().map(|value| 5 + value.as_ref().map_or(0, Bytes::len)).sum();
    let mut out = Vec::with_capacity(size);
    for value in values {
        match value {
            None => out.push(0),
            Some(bytes) => {
                out.push(1);
                // What is longer fits no message; its bytes then disagree with their length.
                out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
                out.extend_from_slice(bytes);
            }
        }
    }
    out
}

/// The inverse of [`pack`]; values share the frame's memory.
///
/// # Errors
/// `E_MALFORMED`, also for more than [`MAX_VALUES`].
pub fn unpack(packed: &Bytes) -> Result<Vec<Option<Bytes>>, Report> {
    let mut values = Vec::new();
    let mut rest = packed.clone();
    while let Some((&flag, _)) = rest.split_first() {
        if values.len() == MAX_VALUES {
            return Err(malformed("too many values").limit(MAX_VALUES));
        }
        rest = rest.slice(1..);
        match flag {
            0 => values.push(None),
            1 => {
                let length = rest.first_chunk::<4>().ok_or_else(|| malformed("truncated"))?;
                let end = usize::try_from(u32::from_be_bytes(*length))
                    .ok()
                    .and_then(|length| length.checked_add(4))
                    .filter(|end| *end <= rest.len())
                    .ok_or_else(|| malformed("truncated"))?;
                values.push(Some(rest.slice(4..end)));
                rest = rest.slice(end..);
            }
            _ => return Err(malformed("not a value").got(flag)),
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_frame_reads_back_and_a_cut_one_does_not() {
        let call = ProviderCall {
            source: "shop/cart".parse().unwrap(),
            link: LinkName::default_name(),
            config: BTreeMap::from([("bucket".to_owned(), "b".to_owned())]),
            remaining_ms: 5_000,
            traceparent: None,
            operation: "get".to_owned(),
        };
        let values = [Some(Bytes::from_static(b"value")), None];
        let frame = Bytes::from(call.encode(&values).unwrap());
        assert_eq!(ProviderCall::decode(&frame).unwrap(), (call, values.to_vec()));
        for end in 0..frame.len() - 1 {
            let cut = ProviderCall::<String>::decode(&frame.slice(..end));
            assert!(cut.is_err() || cut.unwrap().1.len() < 2, "{end}");
        }
    }

    #[test]
    fn a_child_and_a_shared_process_have_names_that_never_meet() {
        let id = "shop/store".parse().unwrap();
        assert_eq!(process_name(&id, &Place::Shared), "shop.store");
        assert_eq!(process_name(&id, &Place::Host("H1".parse().unwrap())), "shop.store.H1");
    }

    proptest! {
        #[test]
        fn values_read_back(values in proptest::collection::vec(proptest::option::of(proptest::collection::vec(any::<u8>(), 0..50)), 0..20)) {
            let values: Vec<Option<Bytes>> = values.into_iter().map(|value| value.map(Bytes::from)).collect();
            prop_assert_eq!(unpack(&pack(&values).into()).unwrap(), values);
        }

        #[test]
        fn no_bytes_panic(frame in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack(&frame.clone().into());
            let _ = ProviderCall::<String>::decode(&frame.into());
        }
    }
}
