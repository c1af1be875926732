//! Verification: from bytes that nobody vouches for to [`Verified`] claims.
//!
//! The order is part of the design. Framing and token are read by bounded code; the issuer must
//! be one of the host's anchors before its key is used; the signature is checked strictly; then
//! the digest of the whole file; then revocation and time. Nothing here compiles or parses what
//! is inside the component, and nothing in the token chooses how it is checked.

use crate::claims::Claims;
use crate::digest::Digest;
use crate::error::ClaimsError;
use crate::nkey::KeyKind;
use crate::section::{self, MAX_COMPONENT_BYTES};
use crate::token;
use crate::trust::TrustAnchors;
use crate::verified::Verified;

/// The default limit for a provider's binary: 256 MiB.
pub const MAX_PROVIDER_BYTES: usize = 256 << 20;

/// What is being verified, and within which bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyPolicy {
    /// The subject's kind. [`KeyKind::Module`]: the file is a component, its claims section is
    /// outside the digest. [`KeyKind::Provider`]: the file is any binary, all of it is digested.
    pub subject: KeyKind,
    /// The largest file, in bytes.
    pub max_bytes: usize,
    /// How far this host's clock may be from the issuer's, in seconds.
    pub clock_skew_seconds: i64,
}

impl VerifyPolicy {
    /// Actors: components up to 32 MiB, a minute of clock skew.
    pub const ACTOR: Self =
        Self { subject: KeyKind::Module, max_bytes: MAX_COMPONENT_BYTES, clock_skew_seconds: 60 };

    /// Providers in their own process: binaries up to 256 MiB, a minute of clock skew.
    pub const PROVIDER: Self =
        Self { subject: KeyKind::Provider, max_bytes: MAX_PROVIDER_BYTES, clock_skew_seconds: 60 };
}

/// Verifies a component by the claims embedded in it. `now_unix` is in seconds.
///
/// The result's `digest` is that of every byte other than the claims section; the name under
/// which the whole file is stored is `Digest::of(file)`.
pub fn verify(
    file: &[u8],
    anchors: &TrustAnchors,
    now_unix: i64,
    policy: &VerifyPolicy,
) -> Result<Verified<Claims>, ClaimsError> {
    let split = section::split(file, policy.max_bytes)?;
    let token = split.token.ok_or(ClaimsError::Unsigned)?;
    check(split.body, token, anchors, now_unix, policy)
}

/// Verifies a file by claims that are kept beside it. A component may carry embedded claims as
/// well: they are neither read nor digested.
pub fn verify_detached(
    file: &[u8],
    token: &str,
    anchors: &TrustAnchors,
    now_unix: i64,
    policy: &VerifyPolicy,
) -> Result<Verified<Claims>, ClaimsError> {
    let body = signed_bytes(file, policy)?;
    check(body, token, anchors, now_unix, policy)
}

/// The bytes of a file that detached claims digest.
pub(crate) fn signed_bytes<'a>(file: &'a [u8], policy: &VerifyPolicy) -> Result<&'a [u8], ClaimsError> {
    if policy.subject == KeyKind::Module {
        return Ok(section::split(file, policy.max_bytes)?.body);
    }
    if file.is_empty() {
        return Err(ClaimsError::Empty);
    }
    if file.len() > policy.max_bytes {
        return Err(ClaimsError::TooLarge { got: file.len(), limit: policy.max_bytes });
    }
    Ok(file)
}

fn check(
    body: &[u8],
    token: &str,
    anchors: &TrustAnchors,
    now_unix: i64,
    policy: &VerifyPolicy,
) -> Result<Verified<Claims>, ClaimsError> {
    let unverified = token::parse(token)?;
    let claims = &unverified.claims;
    claims.subject.expect_kind(policy.subject).map_err(|source| ClaimsError::Key { name: "sub", source })?;
    anchors.check_not_revoked(claims)?;
    anchors.check_issuer(claims.issuer)?;
    unverified.check_signature()?;
    let file = Digest::of(body);
    if file != claims.digest {
        return Err(ClaimsError::DigestMismatch { signed: claims.digest, file });
    }
    claims.check_time(now_unix, policy.clock_skew_seconds)?;
    Ok(Verified::new(unverified.claims))
}

#[cfg(test)]
mod tests;
