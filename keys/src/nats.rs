//! NATS' decentralised JWTs (format version 2): operator → account → user.
//!
//! These are NATS' own tokens, checked by nats-server, and have nothing to do with claims about
//! artifacts: other header (`ed25519-nkey`), other fields. We only make them. One operator signs
//! one account per lattice (and the system account); the account signs one user per host,
//! provider and controller, each with an allow-list of its own subjects.
//!
//! Invariants: a user gets nothing that is not in its lists. An *empty* allow-list means
//! "everything" to NATS, so for an empty one we write `deny: [">"]`. The right kind of key signs
//! each token. The text forms that the server reads are built here and nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::BASE32_NOPAD;
use serde::Serialize;
use sha2::{Digest as _, Sha512_256};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::error::{KeyError, excerpt};
use crate::nkey::{KeyKind, KeyPair, PublicKey};

mod wire;

/// Why a NATS token cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NatsError {
    /// A key of the wrong kind signs or is named.
    #[error("NATS token, {role}: {source}")]
    Key {
        /// Which key: `operator`, `account`, `user`, …
        role: &'static str,
        /// The refusal.
        source: KeyError,
    },
    /// A subject that NATS would not read as one.
    #[error(
        "NATS token of {user:?}: bad subject {subject:?}; no empty tokens, white space or control characters"
    )]
    Subject {
        /// The user's name.
        user: String,
        /// The subject, shortened.
        subject: String,
    },
    /// The claims could not be written as JSON.
    #[error("NATS token: {0}")]
    Encode(String),
}

/// An account: in a lattice's operator there is one for the lattice, and one for the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSpec {
    /// The account's key.
    pub account: PublicKey,
    /// For people.
    pub name: String,
    /// May use JetStream, without limits. Must be false for the system account.
    pub jetstream: bool,
    /// Keys that may sign users in the account's place, so that its own seed can stay offline.
    pub signing_keys: BTreeSet<PublicKey>,
    /// Keys that may sign users of one role each.
    pub roles: Vec<RoleSpec>,
    /// Users whose tokens issued up to that second are refused.
    pub revoked_users: BTreeMap<PublicKey, i64>,
}

impl AccountSpec {
    /// An account with JetStream, no further signing keys and no revocations.
    pub fn new(account: PublicKey, name: impl Into<String>) -> Self {
        Self {
            account,
            name: name.into(),
            jetstream: true,
            signing_keys: BTreeSet::new(),
            roles: Vec::new(),
            revoked_users: BTreeMap::new(),
        }
    }

    /// The system account: no JetStream.
    pub fn system(account: PublicKey) -> Self {
        Self { jetstream: false, ..Self::new(account, "SYS") }
    }
}

/// What users of one signing key may do: a template that the account holds. Whoever has the key
/// makes users with exactly these rights; NATS puts a user's own name and key in the place of
/// `{{name()}}` and `{{subject()}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleSpec {
    /// The signing key, an account key.
    pub key: PublicKey,
    /// For people.
    pub name: String,
    /// What its users may publish to.
    pub publish: Subjects,
    /// What they may subscribe to.
    pub subscribe: Subjects,
    /// May they answer requests outside their publish list?
    pub responses: Option<Responses>,
}

/// Subjects a user may publish or subscribe to. Nothing is allowed that is not listed; `deny`
/// wins over `allow`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subjects {
    /// Allowed subjects, wildcards included. For subscriptions `subject queue` names a queue.
    pub allow: BTreeSet<String>,
    /// Subjects taken out of what `allow` gives.
    pub deny: BTreeSet<String>,
}

impl Subjects {
    /// An allow-list.
    pub fn allow<S: Into<String>>(subjects: impl IntoIterator<Item = S>) -> Self {
        Self { allow: subjects.into_iter().map(Into::into).collect(), deny: BTreeSet::new() }
    }
}

/// Lets a user answer requests it received, on whatever reply subject they carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Responses {
    /// How many messages in answer to one request.
    pub max_messages: i64,
    /// For how long after the request, in milliseconds.
    pub ttl_ms: u32,
}

/// A user: one per host, provider, controller or person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSpec {
    /// The user's key; its owner made it and keeps the seed.
    pub user: PublicKey,
    /// For people and for the server's logs.
    pub name: String,
    /// What it may publish to.
    pub publish: Subjects,
    /// What it may subscribe to.
    pub subscribe: Subjects,
    /// May it answer requests outside its publish list?
    pub responses: Option<Responses>,
    /// The second from which the server refuses it and cuts its connections.
    pub expires: Option<i64>,
    /// The account, when one of its signing keys signs and not its own.
    pub issuer_account: Option<PublicKey>,
}

impl UserSpec {
    /// A user that may do nothing yet.
    pub fn new(user: PublicKey, name: impl Into<String>) -> Self {
        Self {
            user,
            name: name.into(),
            publish: Subjects::default(),
            subscribe: Subjects::default(),
            responses: None,
            expires: None,
            issuer_account: None,
        }
    }
}

/// Makes the operator's own token, signed by itself. `issued_at` in seconds since 1970.
pub fn operator_jwt(
    operator: &KeyPair,
    name: &str,
    system_account: &PublicKey,
    issued_at: i64,
) -> Result<String, NatsError> {
    expect("operator", operator.public(), KeyKind::Operator)?;
    expect("system account", *system_account, KeyKind::Account)?;
    let nats = wire::Operator::new(system_account);
    let subject = operator.public();
    encode(operator, wire::Base::new(subject, name, issued_at), nats)
}

/// Makes an account's token, signed by the operator.
pub fn account_jwt(operator: &KeyPair, spec: &AccountSpec, issued_at: i64) -> Result<String, NatsError> {
    expect("operator", operator.public(), KeyKind::Operator)?;
    expect("account", spec.account, KeyKind::Account)?;
    for key in &spec.signing_keys {
        expect("signing key", *key, KeyKind::Account)?;
    }
    for role in &spec.roles {
        expect("signing key", role.key, KeyKind::Account)?;
        check_subjects(&role.name, &role.publish, &role.subscribe)?;
    }
    for user in spec.revoked_users.keys() {
        expect("revoked user", *user, KeyKind::User)?;
    }
    let base = wire::Base::new(spec.account, &spec.name, issued_at);
    encode(operator, base, wire::Account::new(spec))
}

/// Makes a user's token, signed by its account or by one of the account's signing keys.
pub fn user_jwt(account: &KeyPair, spec: &UserSpec, issued_at: i64) -> Result<String, NatsError> {
    expect("account", account.public(), KeyKind::Account)?;
    expect("user", spec.user, KeyKind::User)?;
    if let Some(issuer_account) = spec.issuer_account {
        expect("issuer account", issuer_account, KeyKind::Account)?;
    }
    check_subjects(&spec.name, &spec.publish, &spec.subscribe)?;
    let mut base = wire::Base::new(spec.user, &spec.name, issued_at);
    base.exp = spec.expires;
    encode(account, base, wire::User::new(spec))
}

/// Makes the token of a user that has the rights of a role ([`RoleSpec`]), signed by the role's key.
/// `name` and `user` are what the role's template is filled with.
pub fn role_user_jwt(
    role: &KeyPair,
    account: PublicKey,
    user: PublicKey,
    name: &str,
    issued_at: i64,
) -> Result<String, NatsError> {
    expect("signing key", role.public(), KeyKind::Account)?;
    expect("issuer account", account, KeyKind::Account)?;
    expect("user", user, KeyKind::User)?;
    if !is_subject(name) || name.contains(['*', '>']) {
        // It becomes part of subjects.
        return Err(NatsError::Subject { user: excerpt(name), subject: excerpt(name) });
    }
    encode(role, wire::Base::new(user, name, issued_at), wire::RoleUser::new(account))
}

/// The text of a `.creds` file: a user's token and seed. It is as secret as the seed.
pub fn creds_file(user_jwt: &str, user: &KeyPair) -> Zeroizing<String> {
    let seed = user.seed();
    Zeroizing::new(format!(
        "-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n\
         This file is a secret: whoever has the seed below is this user.\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        *seed
    ))
}

/// The part of nats-server's configuration that makes it trust the operator and know the
/// accounts: `operator`, `system_account`, and a resolver in memory with these account tokens
/// (account key → token). Users need no configuration: their tokens speak for themselves.
pub fn server_config(
    operator_jwt: &str,
    system_account: &PublicKey,
    accounts: &BTreeMap<PublicKey, String>,
) -> String {
    let preload: String =
        accounts.iter().map(|(account, token)| format!("  {account}: \"{token}\"\n")).collect();
    format!(
        "operator: \"{operator_jwt}\"\nsystem_account: {system_account}\n\
         resolver: MEMORY\nresolver_preload: {{\n{preload}}}\n"
    )
}

fn expect(role: &'static str, key: PublicKey, kind: KeyKind) -> Result<(), NatsError> {
    let expected = key.expect_kind(kind);
    expected.map(drop).map_err(|source| NatsError::Key { role, source })
}

fn check_subjects(name: &str, publish: &Subjects, subscribe: &Subjects) -> Result<(), NatsError> {
    let mut publish = publish.allow.iter().chain(&publish.deny);
    let mut subscribe = subscribe.allow.iter().chain(&subscribe.deny);
    let bad_publish = publish.find(|subject| !is_subject(subject));
    let bad_subscribe = subscribe.find(|text| {
        let (subject, queue) = text.split_once(' ').unwrap_or((text, "queue"));
        !is_subject(subject) || !is_subject(queue)
    });
    match bad_publish.or(bad_subscribe) {
        Some(subject) => Err(NatsError::Subject { user: excerpt(name), subject: excerpt(subject) }),
        None => Ok(()),
    }
}

/// NATS' grammar: tokens between dots, none empty; `>` only as the last.
fn is_subject(text: &str) -> bool {
    let mut tokens = text.split('.').rev();
    let last = tokens.next().unwrap_or_default();
    let token =
        |token: &str| !token.is_empty() && !token.chars().any(|c| c.is_whitespace() || c.is_control());
    token(last) && tokens.all(|inner| token(inner) && inner != ">")
}

fn encode<N: Serialize>(signer: &KeyPair, base: wire::Base, nats: N) -> Result<String, NatsError> {
    let mut claims = wire::Claims { base, iss: signer.public(), jti: None, nats };
    let unnamed = to_json(&claims)?;
    claims.jti = Some(BASE32_NOPAD.encode(&Sha512_256::digest(&unnamed)));
    let header = URL_SAFE_NO_PAD.encode(wire::HEADER);
    let payload = URL_SAFE_NO_PAD.encode(to_json(&claims)?);
    let signed = format!("{header}.{payload}");
    let signature = URL_SAFE_NO_PAD.encode(signer.sign(signed.as_bytes()));
    Ok(format!("{signed}.{signature}"))
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>, NatsError> {
    serde_json::to_vec(value).map_err(|error| NatsError::Encode(error.to_string()))
}

#[cfg(test)]
mod tests;
