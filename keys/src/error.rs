//! Every reason for which a key, a file or a token is refused, with its stable code.
//!
//! The texts are those of BAD_INPUT.md; callers put `actor start failed: invalid claim: ` before
//! them. They say what was got and what was expected, never a seed. Text taken from the refused
//! input is shortened and escaped, since it ends in terminals and logs.

use thiserror::Error;

use crate::date::{format_span, format_utc};
use crate::digest::Digest;
use crate::nkey::{KeyKind, PublicKey};

/// Why a text is not the key that was asked for, or a signature not the key's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Not 56 characters (58 for a seed).
    #[error("nkey: length (got {got} characters, expected {expected})")]
    Length {
        /// Characters given.
        got: usize,
        /// Characters expected.
        expected: usize,
    },
    /// A lower-case letter; base32 has upper-case letters only.
    #[error("nkey: lower case {character:?} at character {at}; nkeys are upper case")]
    LowerCase {
        /// The letter.
        character: char,
        /// Its place, counted from 1.
        at: usize,
    },
    /// A character that base32 does not have.
    #[error(
        "nkey: {character:?} at character {at} is not in base32's alphabet A-Z 2-7 \
         (got {length} characters, expected {expected})"
    )]
    Alphabet {
        /// The character.
        character: char,
        /// Its place, counted from 1.
        at: usize,
        /// Characters given.
        length: usize,
        /// Characters expected.
        expected: usize,
    },
    /// The checksum in the text does not fit its other characters.
    #[error("nkey: checksum; one or more characters are wrong")]
    Checksum,
    /// The first letter names no kind that we know.
    #[error("nkey: unknown kind; expected the first letter to be one of O A U M V N C")]
    UnknownKind,
    /// A good key of the wrong kind.
    #[error("nkey: wrong kind (got {got} key {key}, expected {expected} key {}...)", .expected.letter())]
    WrongKind {
        /// The key's kind.
        got: KeyKind,
        /// The key.
        key: PublicKey,
        /// The kind that was needed.
        expected: KeyKind,
    },
    /// A seed where a public key belongs. The text is not repeated: it is a secret.
    #[error("nkey: this is a seed, a public key is needed; keep the seed secret")]
    SeedForPublic,
    /// Anything else where a seed belongs.
    #[error("nkey: not a seed; a seed has 58 characters and begins with S")]
    NotASeed,
    /// The signature is not this key's over these bytes, or key or signature are malformed.
    #[error("signature does not match key {key}")]
    Signature {
        /// The key that was said to have signed.
        key: PublicKey,
    },
}

/// Why claims, or the file that carries them, are refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each variant's text says what its fields are")]
pub enum ClaimsError {
    #[error("empty file: 0 bytes")]
    Empty,
    #[error("not WebAssembly: bad magic {} at 0", hex(.magic))]
    NotWasm { magic: Vec<u8> },
    #[error("precompiled code: only component binaries are accepted; start the .wasm it was compiled from")]
    Precompiled,
    #[error("core module where a component is needed; wrap with wasm-tools component new")]
    CoreModule,
    #[error("malformed component: {what} at {at:#x}")]
    Malformed { what: &'static str, at: usize },
    #[error("trailing bytes after the component: {bytes} bytes at {at:#x}")]
    Trailing { bytes: usize, at: usize },
    #[error("more than one claims section: second at {at:#x}; sign the unsigned component again")]
    DuplicateClaims { at: usize },
    #[error("file too large: got {got}, limit {limit} bytes")]
    TooLarge { got: usize, limit: usize },
    #[error("no signature; sign it with `trellis claim sign`")]
    Unsigned,
    #[error("token too long: got {got}, limit {limit} bytes")]
    TokenTooLong { got: usize, limit: usize },
    #[error("token: got {got} segments, expected 3")]
    Segments { got: usize },
    #[error("token {segment}: not canonical base64url without padding")]
    Base64 { segment: &'static str },
    #[error("token {segment}: not a JSON object ({reason})")]
    Json { segment: &'static str, reason: String },
    #[error("token {segment}: key {key:?} given twice")]
    DuplicateKey { segment: &'static str, key: String },
    #[error("header field {name:?} not allowed")]
    HeaderField { name: String },
    #[error("header typ: expected {expected:?}")]
    HeaderType { expected: &'static str },
    #[error("algorithm {got:?} not allowed; only EdDSA is")]
    Algorithm { got: String },
    #[error("claim {name}: missing")]
    MissingClaim { name: &'static str },
    #[error("claim {name:?}: unknown; a newer tool may have signed this")]
    UnknownClaim { name: String },
    #[error("claim {name}: not an integer second (expected 0 to {})", crate::date::LAST_SECOND)]
    NotSeconds { name: &'static str },
    #[error("claim {name}: {reason}")]
    Field { name: &'static str, reason: String },
    #[error("claim {name}: {source}")]
    Key { name: &'static str, source: KeyError },
    #[error("issuer {issuer} not trusted; sign with a trusted account or add it to this host's issuers")]
    IssuerNotTrusted { issuer: PublicKey },
    #[error("signature does not match (issuer {issuer})")]
    Signature { issuer: PublicKey },
    #[error("digest mismatch (signed {}.., file {}..); the file was changed after signing", .signed.short(), .file.short())]
    DigestMismatch { signed: Digest, file: Digest },
    #[error("expired {} ago ({}); sign it again", format_span(*.ago_seconds), format_utc(*.expires))]
    Expired { expires: i64, ago_seconds: i64 },
    #[error("valid from {}; check this host's clock (offset {})", format_utc(*.from), format_span(*.ahead_seconds))]
    NotYetValid { from: i64, ahead_seconds: i64 },
    #[error("key revoked {} ({key})", format_utc(*.at))]
    Revoked { key: PublicKey, at: i64 },
    #[error("rollback: revision {got} of {subject} refused, have {have}")]
    Rollback { subject: PublicKey, got: u64, have: u64 },
    #[error(
        "equivocation: revision {revision} was seen with digest {}.., this file has {}..; \
         raise the revision and sign again", .have.short(), .got.short()
    )]
    Equivocation { revision: u64, have: Digest, got: Digest },
}

impl ClaimsError {
    /// The stable code that goes on the wire and into tests.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "E_ARTIFACT_EMPTY",
            Self::NotWasm { .. } => "E_NOT_WASM",
            Self::Precompiled => "E_PRECOMPILED",
            Self::CoreModule => "E_CORE_MODULE",
            Self::Malformed { .. } => "E_MALFORMED",
            Self::Trailing { .. } => "E_TRAILING",
            Self::DuplicateClaims { .. } => "E_DUP_CLAIMS",
            Self::TooLarge { .. } => "E_TOO_LARGE",
            Self::Unsigned => "E_UNSIGNED",
            Self::Revoked { .. } => "E_REVOKED",
            Self::Rollback { .. } => "E_ROLLBACK",
            Self::Equivocation { .. } => "E_EQUIVOCATION",
            _ => "E_CLAIM",
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// Cuts text from a refused input to a length that fits into one line.
pub(crate) fn excerpt(text: &str) -> String {
    const LIMIT: usize = 40;
    match text.char_indices().nth(LIMIT) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text.to_owned(),
    }
}
