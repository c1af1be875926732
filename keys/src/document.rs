//! Signed documents: host specs, policies, placements, links; whatever bytes a known key vouches
//! for.
//!
//! The signature covers `trellis\0 ‖ kind ‖ \0 ‖ payload`. The kind separates domains: bytes that
//! were signed as a placement can never be replayed as a policy, and none of them as a token,
//! which begins otherwise. The kind is compared with what the reader expects and the signer with
//! what its configuration trusts; the document decides neither. Generations inside the payload
//! guard against replay of an older document of the same kind; that is the reader's part.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::error::{KeyError, excerpt};
use crate::nkey::{KeyPair, PublicKey};
use crate::verified::Verified;

/// The largest payload: 4 MiB. Documents travel through a key-value store; they are small.
pub const MAX_DOCUMENT_BYTES: usize = 4 << 20;

const DOMAIN: &[u8] = b"trellis\0";

/// A document with its signature, as it is stored and sent. In JSON, bytes are base64url.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// What the payload is: `host-spec`, `policy`, `placement`, …
    pub kind: String,
    /// Who says so.
    pub signer: PublicKey,
    /// The signed bytes.
    #[serde(serialize_with = "write_bytes", deserialize_with = "read_bytes")]
    pub payload: Vec<u8>,
    /// Ed25519 over the domain, the kind and the payload.
    #[serde(serialize_with = "write_bytes", deserialize_with = "read_bytes")]
    pub signature: Vec<u8>,
}

/// What a signed document says, once it was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The key that signed, one of those allowed.
    pub signer: PublicKey,
    /// The bytes it signed.
    pub payload: Vec<u8>,
}

/// Why a document is not signed or not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DocumentError {
    /// The kind has other characters than `a-z 0-9 - .` or is not 1 to 64 long.
    #[error("document kind {kind:?}: expected 1 to 64 of a-z 0-9 - .")]
    Kind {
        /// The kind, shortened.
        kind: String,
    },
    /// A document of one kind where another belongs.
    #[error("document: wrong kind (got {got:?}, expected {expected:?})")]
    WrongKind {
        /// What the document says it is.
        got: String,
        /// What the reader wants.
        expected: String,
    },
    /// Signed by a key that this reader does not trust for this kind.
    #[error("document {kind}: signer {signer} not trusted")]
    SignerNotTrusted {
        /// The document's kind.
        kind: String,
        /// The key that signed.
        signer: PublicKey,
    },
    /// The signature does not fit: another key, another kind, or changed bytes.
    #[error("document {kind}: {source}")]
    Signature {
        /// The document's kind.
        kind: String,
        /// The refusal.
        source: KeyError,
    },
    /// The payload is too large.
    #[error("document {kind}: too large (got {got}, limit {MAX_DOCUMENT_BYTES} bytes)")]
    TooLarge {
        /// The document's kind.
        kind: String,
        /// The payload's length.
        got: usize,
    },
}

/// Signs a document of this kind.
pub fn sign_document(kind: &str, payload: Vec<u8>, signer: &KeyPair) -> Result<Signed, DocumentError> {
    check_bounds(kind, &payload)?;
    let signature = signer.sign(&message(kind, &payload)).to_vec();
    Ok(Signed { kind: kind.to_owned(), signer: signer.public(), payload, signature })
}

/// Verifies a document: of this kind, by one of these signers, unchanged.
pub fn open(
    kind: &str,
    signed: &Signed,
    allowed: &BTreeSet<PublicKey>,
) -> Result<Verified<Document>, DocumentError> {
    if signed.kind != kind {
        return Err(DocumentError::WrongKind { got: excerpt(&signed.kind), expected: kind.to_owned() });
    }
    check_bounds(kind, &signed.payload)?;
    let (kind, signer) = (kind.to_owned(), signed.signer);
    if !allowed.contains(&signer) {
        return Err(DocumentError::SignerNotTrusted { kind, signer });
    }
    let verified = <&[u8; 64]>::try_from(signed.signature.as_slice())
        .map_err(|_| KeyError::Signature { key: signer })
        .and_then(|signature| signer.verify(&message(&kind, &signed.payload), signature));
    match verified {
        Ok(()) => Ok(Verified::new(Document { signer, payload: signed.payload.clone() })),
        Err(source) => Err(DocumentError::Signature { kind, source }),
    }
}

fn check_bounds(kind: &str, payload: &[u8]) -> Result<(), DocumentError> {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    if !(1..=64).contains(&kind.len()) || !kind.chars().all(known) {
        let kind = excerpt(kind);
        return Err(DocumentError::Kind { kind });
    }
    if payload.len() > MAX_DOCUMENT_BYTES {
        return Err(DocumentError::TooLarge { kind: kind.to_owned(), got: payload.len() });
    }
    Ok(())
}

fn message(kind: &str, payload: &[u8]) -> Vec<u8> {
    [DOMAIN, kind.as_bytes(), b"\0", payload].concat()
}

fn write_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&URL_SAFE_NO_PAD.encode(bytes))
}

fn read_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    URL_SAFE_NO_PAD.decode(text).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests;
