//! Who may use the API.

use super::look::Nothing;
use crate::api::Api;
use crate::api::caller::Caller;
use bytes::Bytes;
use keys::{KeyKind, PublicKey};
use lattice_io::KvOptions;
use lattice_protocol::name::is_token;
use lattice_protocol::permission::{ApiUser, PersonRole};
use lattice_protocol::{ErrorCode, Report};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfUser {
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PutUser {
    key: String,
    name: String,
    role: PersonRole,
}

/// A user's key.
fn user_key(text: &str) -> Result<PublicKey, Report> {
    let key = text.parse::<PublicKey>().and_then(|key| key.expect_kind(KeyKind::User));
    key.map_err(|error| Report::new(ErrorCode::Name, error.to_string()).at("key"))
}

fn view(key: &str, user: &ApiUser) -> Value {
    json!({ "key": key, "name": user.name, "role": user.role, "by": user.by, "atUnixMs": user.at_unix_ms })
}

impl Api {
    /// Everybody in the list, by key.
    pub(in crate::api) async fn users(&self) -> Result<BTreeMap<String, ApiUser>, Report> {
        self.records.all(&self.records.subjects.users_bucket()).await
    }

    pub(super) async fn list_users(&self, Nothing {}: Nothing) -> Result<Value, Report> {
        Ok(self.users().await?.iter().map(|(key, user)| view(key, user)).collect())
    }

    pub(super) async fn put_user(&self, caller: &Caller, put: PutUser) -> Result<Value, Report> {
        let key = user_key(&put.key)?;
        if !is_token(&put.name) {
            return Err(Report::new(ErrorCode::Name, "user name: only A-Za-z0-9_-, 1..64").got(&put.name));
        }
        let others = self.users().await?;
        if others.iter().any(|(other, user)| user.name == put.name && other != key.as_str()) {
            return Err(Report::new(ErrorCode::Conflict, "another user has this name")
                .got(&put.name)
                .hint("choose another name, or delete the other user first"));
        }
        let user = ApiUser {
            name: put.name,
            role: put.role,
            by: caller.by().to_owned(),
            at_unix_ms: self.clock.unix_ms(),
        };
        let value = serde_json::to_vec(&user)
            .map(Bytes::from)
            .map_err(|error| Report::new(ErrorCode::Internal, error.to_string()))?;
        let bucket = self.records.subjects.users_bucket();
        self.records.lattice.kv.open(&bucket, KvOptions::default()).await?.put(key.as_str(), value).await?;
        let data = json!({ "name": user.name, "userRole": user.role });
        self.say(caller, "admin.user-put", key.as_str(), data).await;
        Ok(view(key.as_str(), &user))
    }

    pub(super) async fn delete_user(&self, caller: &Caller, OfUser { key }: OfUser) -> Result<Value, Report> {
        let key = user_key(&key)?;
        let bucket = self.records.subjects.users_bucket();
        let known: Option<ApiUser> = self.records.one(&bucket, key.as_str()).await?;
        let Some(user) = known else {
            return Err(Report::new(ErrorCode::NotFound, format!("user not found: {key}"))
                .hint("see: trellis user list"));
        };
        self.records.lattice.kv.open(&bucket, KvOptions::default()).await?.delete(key.as_str(), None).await?;
        self.say(caller, "admin.user-delete", key.as_str(), json!({ "name": user.name })).await;
        Ok(json!({ "key": key, "name": user.name, "deleted": true }))
    }

    /// Tells of an act that is done; what cannot be told is in this controller's log.
    async fn say(&self, caller: &Caller, kind: &'static str, about: &str, data: Value) {
        if let Err(report) = self.records.audit(&self.author(caller), kind, about, data).await {
            tracing::warn!(kind, about, error = %report, "not in the audit stream");
        }
    }
}
