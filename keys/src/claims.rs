//! What an issuer says about one artifact, and which interfaces that lets it use.
//!
//! Claims bind a name and a set of capabilities to the digest of every byte of a file. A
//! capability is a ceiling, not a grant: it lists interfaces the actor may *ever* be linked to,
//! and without a link none of them does anything (DESIGN §7).
//!
//! Invariants: [`Claims::check`] holds for all claims that were signed or parsed by this crate:
//! the issuer is an account, the subject a module or provider, times are ordered, and no text
//! holds control characters (it ends in terminals).

use std::collections::BTreeSet;

use crate::date::LAST_SECOND;
use crate::digest::Digest;
use crate::error::{ClaimsError, excerpt};
use crate::nkey::{KeyKind, PublicKey};

mod capability;
pub use capability::{capability, contract_of};

const MAX_TEXT_BYTES: usize = 128;
const MAX_SET_ENTRIES: usize = 256;

/// Claims about a component (subject `M…`) or a provider's binary (subject `V…`).
///
/// Times are whole seconds since 1970, UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The account that signs.
    pub issuer: PublicKey,
    /// The artifact's own identity: the same over all its revisions.
    pub subject: PublicKey,
    /// For people: `edge-processor`. At most 128 bytes.
    pub name: String,
    /// For people: `1.4.2`. Nothing compares it; `revision` decides.
    pub version: String,
    /// Rises with every change of the file; an older one is refused once a newer was seen.
    pub revision: u64,
    /// Interfaces the artifact may ever be linked to, without versions: `wasi:keyvalue/store`,
    /// `wasi:keyvalue` for the whole package, or a contract id such as `wasmcloud:keyvalue`.
    pub capabilities: BTreeSet<String>,
    /// SHA-256 of every byte of the file other than its claims section.
    pub digest: Digest,
    /// When the claims were made.
    pub issued_at: i64,
    /// From when they hold; `issued_at` if absent.
    pub not_before: Option<i64>,
    /// The first second at which they no longer hold; never, if absent.
    pub expires: Option<i64>,
    /// Names this very statement, for logs.
    pub jti: String,
    /// For people and for label selection; no effect on security.
    pub tags: BTreeSet<String>,
    /// A short name by which `trellis call` finds the actor.
    pub alias: Option<String>,
}

impl Claims {
    /// May this artifact ever be linked to this interface (`wasi:keyvalue/store@0.2.0-draft`;
    /// a version is ignored)?
    pub fn may_use(&self, interface: &str) -> bool {
        capability::permits(&self.capabilities, interface)
    }

    /// Checks the times alone: the rest of verified claims cannot change, the hour can.
    /// `skew_seconds` is how far this host's clock may be from the issuer's.
    pub fn check_time(&self, now_unix: i64, skew_seconds: i64) -> Result<(), ClaimsError> {
        let from = self.not_before.unwrap_or(self.issued_at).max(self.issued_at);
        if from > now_unix.saturating_add(skew_seconds) {
            return Err(ClaimsError::NotYetValid { from, ahead_seconds: from.saturating_sub(now_unix) });
        }
        match self.expires {
            Some(expires) if now_unix.saturating_sub(skew_seconds) >= expires => {
                Err(ClaimsError::Expired { expires, ago_seconds: now_unix.saturating_sub(expires) })
            }
            _ => Ok(()),
        }
    }

    /// Checks everything that needs neither the file nor a clock.
    pub fn check(&self) -> Result<(), ClaimsError> {
        let key_error = |name| move |source| ClaimsError::Key { name, source };
        self.issuer.expect_kind(KeyKind::Account).map_err(key_error("iss"))?;
        if self.subject.kind() != KeyKind::Provider {
            self.subject.expect_kind(KeyKind::Module).map_err(key_error("sub"))?;
        }
        check_text("name", &self.name)?;
        check_text("version", &self.version)?;
        check_text("jti", &self.jti)?;
        if let Some(alias) = &self.alias {
            check_text("alias", alias)?;
        }
        check_set("tags", &self.tags)?;
        check_set("capabilities", &self.capabilities)?;
        for entry in &self.capabilities {
            if capability(entry)? != *entry {
                let reason = format!("{:?}: write it without a version", excerpt(entry));
                let name = "capabilities";
                return Err(ClaimsError::Field { name, reason });
            }
        }
        if i64::try_from(self.revision).is_err() {
            return Err(field("revision", "more than 63 bits"));
        }
        self.check_order_of_times()
    }

    fn check_order_of_times(&self) -> Result<(), ClaimsError> {
        let times = [("iat", Some(self.issued_at)), ("nbf", self.not_before), ("exp", self.expires)];
        for (name, time) in times {
            if time.is_some_and(|time| !(0..=LAST_SECOND).contains(&time)) {
                return Err(ClaimsError::NotSeconds { name });
            }
        }
        let from = self.not_before.unwrap_or(0).max(self.issued_at);
        match self.expires {
            Some(expires) if expires <= from => {
                Err(field("exp", "not after iat and nbf; these claims never hold"))
            }
            _ => Ok(()),
        }
    }
}

fn field(name: &'static str, reason: &str) -> ClaimsError {
    let reason = reason.to_owned();
    ClaimsError::Field { name, reason }
}

fn check_text(name: &'static str, text: &str) -> Result<(), ClaimsError> {
    if text.is_empty() {
        return Err(field(name, "empty"));
    }
    if text.len() > MAX_TEXT_BYTES {
        let reason = format!("got {} bytes, limit {MAX_TEXT_BYTES}", text.len());
        return Err(ClaimsError::Field { name, reason });
    }
    if text.chars().any(char::is_control) {
        return Err(field(name, "control characters"));
    }
    Ok(())
}

fn check_set(name: &'static str, entries: &BTreeSet<String>) -> Result<(), ClaimsError> {
    if entries.len() > MAX_SET_ENTRIES {
        let reason = format!("got {} entries, limit {MAX_SET_ENTRIES}", entries.len());
        return Err(ClaimsError::Field { name, reason });
    }
    entries.iter().try_for_each(|entry| check_text(name, entry))
}

#[cfg(test)]
mod tests;
