//! Making claims for a file: the other half of `verify`, used by `trellis claim sign`.

use std::collections::BTreeSet;

use crate::claims::{Claims, capability};
use crate::digest::Digest;
use crate::error::ClaimsError;
use crate::nkey::{KeyKind, KeyPair, PublicKey};
use crate::section;
use crate::token;
use crate::verify::{VerifyPolicy, signed_bytes};

/// What the person who signs decides; the rest of the claims follows from the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRequest {
    /// The artifact's identity: a module key for a component, a provider key for a provider.
    pub subject: PublicKey,
    /// For people.
    pub name: String,
    /// For people, `1.4.2`.
    pub version: String,
    /// Must rise with every change of the file.
    pub revision: u64,
    /// Interfaces it may ever be linked to; versions are dropped.
    pub capabilities: BTreeSet<String>,
    /// Seconds since 1970.
    pub not_before: Option<i64>,
    /// Seconds since 1970.
    pub expires: Option<i64>,
    /// For people.
    pub tags: BTreeSet<String>,
    /// A short name for calls.
    pub alias: Option<String>,
}

impl ClaimRequest {
    /// A request with a name, version `0.1.0`, revision 1 and nothing permitted.
    pub fn new(subject: PublicKey, name: impl Into<String>) -> Self {
        Self {
            subject,
            name: name.into(),
            version: "0.1.0".to_owned(),
            revision: 1,
            capabilities: BTreeSet::new(),
            not_before: None,
            expires: None,
            tags: BTreeSet::new(),
            alias: None,
        }
    }

    fn sign(&self, body: &[u8], issuer: &KeyPair, now: i64) -> Result<String, ClaimsError> {
        let capabilities = self.capabilities.iter().map(|entry| capability(entry));
        let claims = Claims {
            issuer: issuer.public(),
            subject: self.subject,
            name: self.name.clone(),
            version: self.version.clone(),
            revision: self.revision,
            capabilities: capabilities.collect::<Result<_, _>>()?,
            digest: Digest::of(body),
            issued_at: now,
            not_before: self.not_before,
            expires: self.expires,
            jti: String::new(), // the token derives it
            tags: self.tags.clone(),
            alias: self.alias.clone(),
        };
        token::sign(&claims, issuer)
    }
}

/// Returns the component with claims embedded, in place of any it had. `now_unix` in seconds.
pub fn sign_component(
    file: &[u8],
    request: &ClaimRequest,
    issuer: &KeyPair,
    now_unix: i64,
) -> Result<Vec<u8>, ClaimsError> {
    let limit = VerifyPolicy::ACTOR.max_bytes;
    expect_subject(request, KeyKind::Module)?;
    let body = section::split(file, limit)?.body;
    let token = request.sign(body, issuer, now_unix)?;
    section::embed(body, &token, limit)
}

/// Returns claims to be kept beside the file: for a component, or for a provider's binary.
pub fn sign_detached(
    file: &[u8],
    request: &ClaimRequest,
    issuer: &KeyPair,
    now_unix: i64,
) -> Result<String, ClaimsError> {
    let policy = match request.subject.kind() {
        KeyKind::Provider => VerifyPolicy::PROVIDER,
        _ => VerifyPolicy::ACTOR,
    };
    expect_subject(request, policy.subject)?;
    request.sign(signed_bytes(file, &policy)?, issuer, now_unix)
}

fn expect_subject(request: &ClaimRequest, kind: KeyKind) -> Result<(), ClaimsError> {
    let expected = request.subject.expect_kind(kind);
    expected.map(drop).map_err(|source| ClaimsError::Key { name: "sub", source })
}
