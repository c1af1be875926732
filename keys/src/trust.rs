//! What a host trusts, and what it has already seen.
//!
//! [`TrustAnchors`] come from the host's configuration, never from a token. [`HighWater`] is the
//! host's memory against rollback: for each subject the highest revision it has accepted, and the
//! digest that came with it. It is plain data; the host keeps it on disk.
//!
//! Invariants: every issuer is an account key; a revoked key stays revoked whatever the clock or
//! a token's own dates say (whoever holds a stolen key can write any date); a high-water mark
//! never falls.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::claims::Claims;
use crate::digest::Digest;
use crate::error::{ClaimsError, KeyError};
use crate::nkey::{KeyKind, PublicKey};
use crate::verified::Verified;

/// The accounts whose claims count, and the keys that never count again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawAnchors")]
pub struct TrustAnchors {
    issuers: BTreeSet<PublicKey>,
    revoked: BTreeMap<PublicKey, i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAnchors {
    issuers: BTreeSet<PublicKey>,
    #[serde(default)]
    revoked: BTreeMap<PublicKey, i64>,
}

impl TryFrom<RawAnchors> for TrustAnchors {
    type Error = KeyError;

    fn try_from(raw: RawAnchors) -> Result<Self, KeyError> {
        Self::new(raw.issuers, raw.revoked)
    }
}

impl TrustAnchors {
    /// `revoked` maps issuers or subjects to the second of their revocation. Issuers must be
    /// account keys, else [`KeyError::WrongKind`].
    pub fn new(issuers: BTreeSet<PublicKey>, revoked: BTreeMap<PublicKey, i64>) -> Result<Self, KeyError> {
        for issuer in &issuers {
            issuer.expect_kind(KeyKind::Account)?;
        }
        Ok(Self { issuers, revoked })
    }

    /// The trusted accounts.
    pub fn issuers(&self) -> &BTreeSet<PublicKey> {
        &self.issuers
    }

    /// Revoked keys and when they were revoked.
    pub fn revoked(&self) -> &BTreeMap<PublicKey, i64> {
        &self.revoked
    }

    /// Revokes a key; keeps the earlier time if it already was.
    pub fn revoke(&mut self, key: PublicKey, at: i64) {
        let known = self.revoked.entry(key).or_insert(at);
        *known = at.min(*known);
    }

    /// Refuses revoked keys. Hosts also call this on running actors when revocations change.
    pub fn check_not_revoked(&self, claims: &Claims) -> Result<(), ClaimsError> {
        for key in [claims.issuer, claims.subject] {
            if let Some(&at) = self.revoked.get(&key) {
                return Err(ClaimsError::Revoked { key, at });
            }
        }
        Ok(())
    }

    pub(crate) fn check_issuer(&self, issuer: PublicKey) -> Result<(), ClaimsError> {
        if self.issuers.contains(&issuer) {
            return Ok(());
        }
        Err(ClaimsError::IssuerNotTrusted { issuer })
    }
}

/// The newest revision of one subject that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The revision in the claims.
    pub revision: u64,
    /// The digest in the claims.
    pub digest: Digest,
}

/// For each subject the newest revision seen. Serialises as one JSON object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HighWater {
    marks: BTreeMap<PublicKey, Mark>,
}

impl HighWater {
    /// May this revision of this subject still be started? An older one is
    /// [`ClaimsError::Rollback`], another file under the same revision
    /// [`ClaimsError::Equivocation`].
    pub fn check(&self, subject: PublicKey, revision: u64, digest: Digest) -> Result<(), ClaimsError> {
        match self.marks.get(&subject) {
            Some(mark) if revision < mark.revision => {
                Err(ClaimsError::Rollback { subject, got: revision, have: mark.revision })
            }
            Some(mark) if revision == mark.revision && digest != mark.digest => {
                Err(ClaimsError::Equivocation { revision, have: mark.digest, got: digest })
            }
            _ => Ok(()),
        }
    }

    /// Checks verified claims and raises the mark. Returns whether the mark rose, that is, whether
    /// there is something to write to disk.
    pub fn admit(&mut self, claims: &Verified<Claims>) -> Result<bool, ClaimsError> {
        let (revision, digest) = (claims.revision, claims.digest);
        self.check(claims.subject, revision, digest)?;
        let mark = Mark { revision, digest };
        Ok(self.marks.insert(claims.subject, mark) != Some(mark))
    }

    /// The mark of one subject.
    pub fn mark(&self, subject: PublicKey) -> Option<Mark> {
        self.marks.get(&subject).copied()
    }
}

#[cfg(test)]
mod tests;
