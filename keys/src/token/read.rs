//! From a token's JSON members to [`Claims`], refusing members of the wrong type, missing ones
//! and unknown ones by name.

use std::collections::BTreeSet;
use std::str::FromStr;

use crate::claims::Claims;
use crate::error::{ClaimsError, excerpt};
use crate::json::{Fields, Json};
use crate::nkey::PublicKey;

/// Reads all claims and refuses what is left over.
pub(super) fn claims(fields: Fields) -> Result<Claims, ClaimsError> {
    let mut members = Members(fields);
    let claims = Claims {
        issuer: members.key("iss")?,
        subject: members.key("sub")?,
        name: members.text("name")?,
        version: members.text("version")?,
        revision: members.revision()?,
        capabilities: members.set("capabilities")?.ok_or(missing("capabilities"))?,
        digest: members.parsed("digest")?,
        issued_at: members.seconds("iat")?.ok_or(missing("iat"))?,
        not_before: members.seconds("nbf")?,
        expires: members.seconds("exp")?,
        jti: members.text("jti")?,
        tags: members.set("tags")?.unwrap_or_default(),
        alias: members.optional_text("alias")?,
    };
    members.end().map(|()| claims)
}

/// The members of a claims object that were not read yet.
pub(super) struct Members(pub(super) Fields);

impl Members {
    pub(super) fn text(&mut self, name: &'static str) -> Result<String, ClaimsError> {
        self.optional_text(name)?.ok_or(missing(name))
    }

    /// Refuses what was not read.
    pub(super) fn end(self) -> Result<(), ClaimsError> {
        match self.0.into_keys().next() {
            Some(name) => Err(ClaimsError::UnknownClaim { name: excerpt(&name) }),
            None => Ok(()),
        }
    }

    fn optional_text(&mut self, name: &'static str) -> Result<Option<String>, ClaimsError> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(name, "not a string")),
        }
    }

    pub(super) fn key(&mut self, name: &'static str) -> Result<PublicKey, ClaimsError> {
        self.text(name)?.parse().map_err(|source| ClaimsError::Key { name, source })
    }

    pub(super) fn parsed<T: FromStr<Err: ToString>>(&mut self, name: &'static str) -> Result<T, ClaimsError> {
        self.text(name)?.parse().map_err(|error: T::Err| wrong(name, &error.to_string()))
    }

    pub(super) fn seconds(&mut self, name: &'static str) -> Result<Option<i64>, ClaimsError> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Json::Integer(seconds)) if seconds >= 0 => Ok(Some(seconds)),
            Some(_) => Err(ClaimsError::NotSeconds { name }),
        }
    }

    fn revision(&mut self) -> Result<u64, ClaimsError> {
        let name = "revision";
        match self.0.remove(name) {
            None => Err(missing(name)),
            Some(Json::Integer(revision)) => u64::try_from(revision).map_err(|_| wrong(name, "negative")),
            Some(_) => Err(wrong(name, "not a 63-bit integer")),
        }
    }

    fn set(&mut self, name: &'static str) -> Result<Option<BTreeSet<String>>, ClaimsError> {
        let items = match self.0.remove(name) {
            None => return Ok(None),
            Some(Json::List(items)) => items,
            Some(_) => return Err(wrong(name, "not a list")),
        };
        let mut set = BTreeSet::new();
        for item in items {
            match item {
                Json::Text(text) if !set.contains(&text) => set.insert(text),
                Json::Text(text) => {
                    let reason = format!("{:?} given twice", excerpt(&text));
                    return Err(wrong(name, &reason));
                }
                _ => return Err(wrong(name, "not a list of strings")),
            };
        }
        Ok(Some(set))
    }
}

pub(super) fn missing(name: &'static str) -> ClaimsError {
    ClaimsError::MissingClaim { name }
}

fn wrong(name: &'static str, reason: &str) -> ClaimsError {
    let reason = reason.to_owned();
    ClaimsError::Field { name, reason }
}
