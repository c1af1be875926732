//! The JSON of NATS' tokens, version 2, as nats-server reads it (after `nats-io/jwt` v2).
//!
//! A limit of -1 is "no limit"; an absent limit is 0, "none". So limits are written out.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{AccountSpec, Responses, RoleSpec, Subjects, UserSpec};
use crate::nkey::PublicKey;

pub(super) const HEADER: &str = r#"{"typ":"JWT","alg":"ed25519-nkey"}"#;

const VERSION: u8 = 2;
const NO_LIMIT: i64 = -1;
const NANOSECONDS_PER_MS: i64 = 1_000_000;

#[derive(Serialize)]
pub(super) struct Claims<N> {
    #[serde(flatten)]
    pub(super) base: Base,
    pub(super) iss: PublicKey,
    /// Absent while the identifier is computed from the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) jti: Option<String>,
    pub(super) nats: N,
}

#[derive(Serialize)]
pub(super) struct Base {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exp: Option<i64>,
    iat: i64,
    name: String,
    sub: PublicKey,
}

impl Base {
    pub(super) fn new(subject: PublicKey, name: &str, issued_at: i64) -> Self {
        Self { exp: None, iat: issued_at, name: name.to_owned(), sub: subject }
    }
}

#[derive(Serialize)]
pub(super) struct Operator {
    system_account: PublicKey,
    #[serde(rename = "type")]
    claim_type: &'static str,
    version: u8,
}

impl Operator {
    pub(super) fn new(system_account: &PublicKey) -> Self {
        Self { system_account: *system_account, claim_type: "operator", version: VERSION }
    }
}

#[derive(Serialize)]
pub(super) struct Account {
    limits: AccountLimits,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    signing_keys: Vec<SigningKey>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    revocations: BTreeMap<PublicKey, i64>,
    default_permissions: Permissions,
    #[serde(rename = "type")]
    claim_type: &'static str,
    version: u8,
}

impl Account {
    pub(super) fn new(spec: &AccountSpec) -> Self {
        Self {
            limits: AccountLimits::new(spec.jetstream),
            signing_keys: spec
                .signing_keys
                .iter()
                .map(|key| SigningKey::Plain(*key))
                .chain(spec.roles.iter().map(|role| SigningKey::Role(Box::new(Role::new(role)))))
                .collect(),
            revocations: spec.revoked_users.clone(),
            default_permissions: Permissions::default(),
            claim_type: "account",
            version: VERSION,
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum SigningKey {
    Plain(PublicKey),
    Role(Box<Role>),
}

#[derive(Serialize)]
struct Role {
    kind: &'static str,
    key: PublicKey,
    role: String,
    template: Template,
}

#[derive(Serialize)]
struct Template {
    #[serde(flatten)]
    permissions: Permissions,
    #[serde(flatten)]
    limits: NatsLimits,
}

impl Template {
    fn new(publish: &Subjects, subscribe: &Subjects, responses: Option<Responses>) -> Self {
        Self {
            permissions: Permissions {
                publish: Permission::closed(publish),
                subscribe: Permission::closed(subscribe),
                responses: responses.map(Response::new),
            },
            limits: NatsLimits::NONE,
        }
    }
}

impl Role {
    fn new(spec: &RoleSpec) -> Self {
        let template = Template::new(&spec.publish, &spec.subscribe, spec.responses);
        Self { kind: "user_scope", key: spec.key, role: spec.name.clone(), template }
    }
}

#[derive(Serialize)]
struct AccountLimits {
    #[serde(flatten)]
    nats: NatsLimits,
    imports: i64,
    exports: i64,
    wildcards: bool,
    conn: i64,
    leaf: i64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    jetstream: Option<JetStreamLimits>,
}

impl AccountLimits {
    fn new(jetstream: bool) -> Self {
        Self {
            nats: NatsLimits::NONE,
            imports: NO_LIMIT,
            exports: NO_LIMIT,
            wildcards: true,
            conn: NO_LIMIT,
            leaf: NO_LIMIT,
            jetstream: jetstream.then_some(JetStreamLimits {
                mem_storage: NO_LIMIT,
                disk_storage: NO_LIMIT,
                streams: NO_LIMIT,
                consumer: NO_LIMIT,
            }),
        }
    }
}

#[derive(Serialize)]
struct NatsLimits {
    subs: i64,
    data: i64,
    payload: i64,
}

impl NatsLimits {
    const NONE: Self = Self { subs: NO_LIMIT, data: NO_LIMIT, payload: NO_LIMIT };
}

#[derive(Serialize)]
struct JetStreamLimits {
    mem_storage: i64,
    disk_storage: i64,
    streams: i64,
    consumer: i64,
}

#[derive(Serialize)]
pub(super) struct User {
    #[serde(flatten)]
    rights: Template,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer_account: Option<PublicKey>,
    #[serde(rename = "type")]
    claim_type: &'static str,
    version: u8,
}

impl User {
    pub(super) fn new(spec: &UserSpec) -> Self {
        Self {
            rights: Template::new(&spec.publish, &spec.subscribe, spec.responses),
            issuer_account: spec.issuer_account,
            claim_type: "user",
            version: VERSION,
        }
    }
}

/// A user of a role says nothing of rights: what it said would have to be nothing.
#[derive(Serialize)]
pub(super) struct RoleUser {
    issuer_account: PublicKey,
    #[serde(rename = "type")]
    claim_type: &'static str,
    version: u8,
}

impl RoleUser {
    pub(super) fn new(account: PublicKey) -> Self {
        Self { issuer_account: account, claim_type: "user", version: VERSION }
    }
}

#[derive(Default, Serialize)]
struct Permissions {
    #[serde(rename = "pub")]
    publish: Permission,
    #[serde(rename = "sub")]
    subscribe: Permission,
    #[serde(rename = "resp", skip_serializing_if = "Option::is_none")]
    responses: Option<Response>,
}

/// Without any entry NATS allows everything.
#[derive(Default, Serialize)]
struct Permission {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allow: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deny: Vec<String>,
}

impl Permission {
    /// What our lists mean: nothing but what is allowed.
    fn closed(subjects: &Subjects) -> Self {
        let mut deny: Vec<String> = subjects.deny.iter().cloned().collect();
        if subjects.allow.is_empty() {
            deny = vec![">".to_owned()];
        }
        Self { allow: subjects.allow.iter().cloned().collect(), deny }
    }
}

#[derive(Serialize)]
struct Response {
    max: i64,
    /// Nanoseconds, as Go writes a duration.
    ttl: i64,
}

impl Response {
    fn new(responses: Responses) -> Self {
        Self { max: responses.max_messages, ttl: i64::from(responses.ttl_ms) * NANOSECONDS_PER_MS }
    }
}
