//! Who asks. Over NATS the server has seen to it that a user speaks in its own role and under its own
//! name only: both are in the subject. Over HTTP each request carries a token that the user's key has
//! signed. Either way the user must be in the lattice's list, in that role, *now*: whoever is taken out
//! of it is refused by the next request. Only an administrator of the lattice's directory is not in the
//! list: its credentials may write the list itself.

use super::Api;
use keys::token::request::{RequestParts, RequestToken};
use lattice_io::{KvError, KvOptions};
use lattice_protocol::permission::{ApiUser, PersonRole};
use lattice_protocol::{ErrorCode, Report};
use std::time::Duration;

/// How long the nonce of a change is remembered: longer than any token lives, skews included.
const NONCES: Duration = Duration::from_secs(180);

/// The way that a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Over NATS.
    Nats,
    /// Over HTTP.
    Http,
}

impl Via {
    /// In one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::Http => "http",
        }
    }
}

/// Somebody who is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user's name.
    pub user: String,
    /// What it may do.
    pub role: PersonRole,
    /// The way that it came.
    pub via: Via,
    /// The person at an administrator's terminal, as that says itself.
    pub person: Option<String>,
}

impl Caller {
    /// In words, for histories.
    #[must_use]
    pub fn by(&self) -> &str {
        self.person.as_deref().unwrap_or(&self.user)
    }
}

fn unknown(why: &str, user: &str) -> Report {
    Report::new(ErrorCode::Unauthenticated, why)
        .at(user)
        .hint("an administrator adds users: trellis user add <name> --role viewer|deployer|admin")
}

impl Api {
    /// Who asks over NATS, by role and name in the subject.
    ///
    /// # Errors
    /// `E_UNAUTHENTICATED` for a user that is not in the list, or not in this role.
    pub async fn caller_of_subject(
        &self,
        (role, user): (&str, &str),
        person: Option<&str>,
    ) -> Result<Caller, Report> {
        let role = PersonRole::parse(role).ok_or_else(|| unknown("no such role", role))?;
        let caller = |person: Option<&str>| Caller {
            user: user.to_owned(),
            role,
            via: Via::Nats,
            person: person.map(str::to_owned),
        };
        if role == PersonRole::Admin {
            // Nobody else may publish there, and who may can write every record by itself.
            return Ok(caller(person.filter(|person| is_plain(person))));
        }
        let users = self.users().await?;
        match users.values().find(|known| known.name == user) {
            Some(known) if known.role == role => Ok(caller(None)),
            Some(known) => Err(unknown("user has another role", user).got(role).limit(known.role)),
            None => Err(unknown("user is not known", user)),
        }
    }

    /// Who asks over HTTP, by the token of this very request.
    ///
    /// # Errors
    /// `E_UNAUTHENTICATED`.
    pub async fn caller_of_token(
        &self,
        token: &str,
        (method, target, body): (&str, &str, &[u8]),
        changes: bool,
    ) -> Result<Caller, Report> {
        let refused = |error: &dyn std::fmt::Display| {
            Report::new(ErrorCode::Unauthenticated, error.to_string())
                .hint("sign each request anew: trellis user token <method> <path>")
        };
        let read = RequestToken::parse(token).map_err(|error| refused(&error))?;
        let key = read.user();
        let known: Option<ApiUser> =
            self.records.one(&self.records.subjects.users_bucket(), key.as_str()).await?;
        let known = known.ok_or_else(|| unknown("user is not known", key.as_str()))?;
        let parts = RequestParts { lattice: self.records.name.as_str(), method, target, body };
        let now = i64::try_from(self.clock.unix_ms() / 1_000).unwrap_or(i64::MAX);
        let claims = read.verify(&parts, now).map_err(|error| refused(&error))?;
        if changes {
            self.use_up(&format!("{key}.{}", claims.nonce)).await?;
        }
        Ok(Caller { user: known.name, role: known.role, via: Via::Http, person: None })
    }

    /// A token that changes something is good for one request, at whichever controller.
    async fn use_up(&self, nonce: &str) -> Result<(), Report> {
        let options = KvOptions { ttl: Some(NONCES), ..KvOptions::default() };
        let kv = self.records.lattice.kv.open(&self.records.subjects.nonces_bucket(), options).await?;
        match kv.create(nonce, bytes::Bytes::from_static(b"1")).await {
            Ok(_) => Ok(()),
            Err(KvError::Conflict { .. }) => {
                Err(Report::new(ErrorCode::Unauthenticated, "token was used before")
                    .hint("sign each request anew: trellis user token <method> <path>"))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// A name that may stand in a history: a person's own word for itself.
fn is_plain(text: &str) -> bool {
    (1..=64).contains(&text.len()) && !text.chars().any(char::is_control)
}
