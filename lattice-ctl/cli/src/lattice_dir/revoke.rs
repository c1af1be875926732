//! Users that the server lets in no more. A user's token speaks for itself until the account says
//! otherwise; so the account's own token lists who is revoked, and since when. Servers are told at once
//! (they end the connections of whoever is revoked) and read it in `nats/auth.conf` at their next start.

use super::{LatticeDir, LatticeFile, now_unix, server_config, write_json, write_whole};
use crate::keyfile;
use crate::output::file_report;
use bytes::Bytes;
use keys::nats::{Subjects as Allowed, UserSpec};
use keys::{KeyKind, PublicKey};
use lattice_io::BusMessage;
use lattice_io::nats::{NatsAuth, NatsOptions, connect};
use lattice_protocol::subject::account_update;
use lattice_protocol::{ErrorCode, Report};
use serde::Deserialize;
use std::time::Duration;

/// Longest wait for the server's word.
const PATIENCE: Duration = Duration::from_secs(5);
/// The user that speaks for the operator, and where it is answered.
const OPERATOR: &str = "operator";
const INBOX: &str = "_INBOX_operator";

/// An account's new token, for servers that run.
pub struct AccountUpdate {
    account: PublicKey,
    token: String,
}

/// What a server says to an update.
#[derive(Deserialize)]
struct Answer {
    error: Option<Refused>,
}

#[derive(Deserialize)]
struct Refused {
    #[serde(default)]
    description: String,
}

impl LatticeDir {
    /// Writes down that tokens of this user count no more, and takes its credentials away; servers that
    /// run have to be told ([`LatticeDir::tell`]).
    ///
    /// # Errors
    /// `E_IO`, or no directory of a lattice with its keys.
    pub fn revoke(&self, user: PublicKey, name: Option<&str>) -> Result<AccountUpdate, Report> {
        let mut file = self.file()?;
        file.revoked_users.insert(user, now_unix());
        let (config, update) = self.tokens(&file)?;
        write_json(&self.path().join("lattice.json"), &file)?;
        write_whole(&self.server_auth(), config.as_bytes())?;
        if let Some(path) = name.map(|name| self.creds(name)).filter(|path| path.exists()) {
            std::fs::remove_file(&path).map_err(|error| file_report("remove", &path, &error))?;
        }
        Ok(update)
    }

    /// The server's configuration, and the account's token in it.
    fn tokens(&self, file: &LatticeFile) -> Result<(String, AccountUpdate), Report> {
        let key =
            |name: &str, kind| keyfile::read(&self.path().join("keys").join(format!("{name}.nk")), kind);
        let operator = key("operator", KeyKind::Operator)?;
        let account = key("account", KeyKind::Account)?;
        let system = key("system", KeyKind::Account)?;
        let now = now_unix();
        let token = self.account_token(&operator, &account, file, now)?;
        let config = server_config(&operator, (account.public(), &token), &system, file, now)?;
        Ok((config, AccountUpdate { account: account.public(), token }))
    }

    /// Tells the running servers of this lattice, as its operator.
    ///
    /// # Errors
    /// `E_CONNECTION` when none can be reached, `E_DENIED` when it does not take this operator's word.
    pub async fn tell(&self, update: &AccountUpdate, url: &str) -> Result<(), Report> {
        let system = keyfile::read(&self.path().join("keys/system.nk"), KeyKind::Account)?;
        let user = keyfile::generate(KeyKind::User)?;
        let subject = account_update(update.account.as_str());
        let spec = UserSpec {
            publish: Allowed::allow([subject.clone()]),
            subscribe: Allowed::allow([format!("{INBOX}.>")]),
            ..UserSpec::new(user.public(), OPERATOR)
        };
        let jwt = keys::nats::user_jwt(&system, &spec, now_unix())
            .map_err(|error| Report::new(ErrorCode::Internal, error.to_string()))?;
        let options = NatsOptions {
            name: OPERATOR.to_owned(),
            auth: NatsAuth::Creds(keys::nats::creds_file(&jwt, &user).to_string()),
            inbox_prefix: Some(INBOX.to_owned()),
            ..NatsOptions::new(url)
        };
        let nats = connect(options).await.map_err(Report::from)?;
        let question = BusMessage::new(subject, Bytes::from(update.token.clone()));
        let answer = nats.lattice().bus.request(question, PATIENCE).await.map_err(Report::from);
        nats.close().await;
        let answer: Answer = serde_json::from_slice(&answer?.payload)
            .map_err(|error| Report::new(ErrorCode::Malformed, format!("answer of the server: {error}")))?;
        match answer.error {
            None => Ok(()),
            Some(refused) => Err(Report::new(ErrorCode::Denied, "the server keeps the account as it was")
                .got(refused.description)),
        }
    }
}
