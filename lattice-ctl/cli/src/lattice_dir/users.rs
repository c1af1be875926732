//! NATS users of a lattice: hosts, people, and providers' processes, each with the rights that
//! [`lattice_protocol::permission`] gives it.

use super::{ANSWERS, LatticeDir, nats_report, now_unix, write_json};
use crate::keyfile;
use crate::output::file_report;
use keys::nats::{Subjects as Allowed, UserSpec};
use keys::{KeyKind, KeyPair};
use lattice_protocol::name::is_token;
use lattice_protocol::permission::{Permissions, PersonRole, ProviderRole, provider_inbox};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{DomainName, ErrorCode, HostId, Report};
use providers_sdk::process::Membership;
use std::path::PathBuf;
use zeroize::Zeroizing;

impl LatticeDir {
    /// Makes the user of a person; gives where its credentials are. One that is there is kept.
    ///
    /// # Errors
    /// `E_NAME` for a name that is none, or a host's.
    pub fn add_person(&self, role: PersonRole, name: &str) -> Result<PathBuf, Report> {
        let file = self.file()?;
        let is_reserved = name == "controller" || file.hosts.iter().any(|host| host.as_str() == name);
        if !is_token(name) || is_reserved {
            return Err(Report::new(ErrorCode::Name, "user name: only A-Za-z0-9_-, 1..64, and no host's")
                .got(name.chars().take(80).collect::<String>()));
        }
        if name == "admin" && role != PersonRole::Admin {
            return Err(Report::new(ErrorCode::Name, "this user is the lattice's administrator")
                .got(name)
                .hint("choose another name"));
        }
        let account = keyfile::read(&self.path.join("keys").join("account.nk"), KeyKind::Account)?;
        let permissions = Subjects::new(file.lattice).person_permissions(role, name, file.domain.as_ref());
        self.add_user(&account, name, &permissions, now_unix())?;
        Ok(self.creds(name))
    }

    /// Enrols one more host; one that is enrolled keeps its key, and may what hosts may now, in these domains too.
    pub fn enroll(&self, host: &HostId, domains: &[DomainName]) -> Result<(), Report> {
        let mut file = self.file()?;
        if matches!(host.as_str(), "controller" | "admin") {
            return Err(Report::new(ErrorCode::Name, "host id is the name of another user").got(host));
        }
        let account = keyfile::read(&self.path.join("keys").join("account.nk"), KeyKind::Account)?;
        if !domains.is_empty() && file.domain.is_none() {
            let what = "the lattice has no domain of its own, by which hosts at sites find it";
            return Err(Report::new(ErrorCode::Usage, what).at(self.path().display()).hint(
                "name it, and restart the servers with nats/auth.conf: trellis lattice init --domain <name>",
            ));
        }
        if !domains.is_empty() {
            file.site_domains.entry(host.clone()).or_default().extend(domains.iter().cloned());
        }
        self.renew_user(&account, host.as_str(), &file.permissions(host), now_unix())?;
        keyfile::read_or_make_curve(&self.curve_path(host))?;
        file.hosts.insert(host.clone());
        write_json(&self.path.join("lattice.json"), &file)
    }

    /// A new NATS user for a provider's process of this name.
    pub fn membership(&self, role: ProviderRole, name: &str, url: &str) -> Result<Membership, Report> {
        let path = self.role_path(role);
        let account = self.file()?.account.filter(|_| path.exists()).ok_or_else(|| {
            Report::new(ErrorCode::Denied, "nothing here may make users for providers")
                .at(path.display())
                .hint("run lattice init again, restart the NATS server with it, and copy the host's bundle anew")
        })?;
        let signer = keyfile::read(&path, KeyKind::Account)?;
        let user = keyfile::generate(KeyKind::User)?;
        let jwt = keys::nats::role_user_jwt(&signer, account, user.public(), name, now_unix())
            .map_err(|error| nats_report(&error))?;
        Ok(Membership {
            url: url.to_owned(),
            credentials: Some(keys::nats::creds_file(&jwt, &user).to_string()),
            inbox_prefix: Some(provider_inbox(user.public().as_str())),
        })
    }

    /// A user; one that is there is kept.
    pub(super) fn add_user(
        &self,
        account: &KeyPair,
        name: &str,
        permissions: &Permissions,
        now: i64,
    ) -> Result<(), Report> {
        let path = self.creds(name);
        if path.exists() {
            return Ok(());
        }
        let user = keyfile::generate(KeyKind::User)?;
        keyfile::write_secret(&path, credentials(account, (&user, name), permissions, now)?.as_bytes())
    }

    /// A user that may this from now on; its key stays, where it has one.
    fn renew_user(
        &self,
        account: &KeyPair,
        name: &str,
        permissions: &Permissions,
        now: i64,
    ) -> Result<(), Report> {
        let path = self.creds(name);
        if !path.exists() {
            return self.add_user(account, name, permissions, now);
        }
        let text = Zeroizing::new(
            std::fs::read_to_string(&path)
                .map_err(|error| file_report("read the credentials", &path, &error))?,
        );
        let seed = text.lines().map(str::trim).find(|line| line.starts_with("SU")).unwrap_or_default();
        let user = KeyPair::from_seed(seed)
            .map_err(|error| Report::new(ErrorCode::Name, error.to_string()).at(path.display()))?;
        let fresh = path.with_extension("new");
        if fresh.exists() {
            // Of an attempt that was broken off.
            std::fs::remove_file(&fresh).map_err(|error| file_report("remove", &fresh, &error))?;
        }
        keyfile::write_secret(&fresh, credentials(account, (&user, name), permissions, now)?.as_bytes())?;
        std::fs::rename(&fresh, &path).map_err(|error| file_report("write", &path, &error))
    }
}

/// The text of a user's `.creds` file.
fn credentials(
    account: &KeyPair,
    (user, name): (&KeyPair, &str),
    permissions: &Permissions,
    now: i64,
) -> Result<Zeroizing<String>, Report> {
    let mut publish = Allowed::allow(permissions.publish.iter().cloned());
    publish.deny = permissions.publish_deny.iter().cloned().collect();
    let spec = UserSpec {
        publish,
        subscribe: Allowed::allow(permissions.subscribe.iter().cloned()),
        responses: Some(ANSWERS),
        ..UserSpec::new(user.public(), name)
    };
    let jwt = keys::nats::user_jwt(account, &spec, now).map_err(|e| nats_report(&e))?;
    Ok(keys::nats::creds_file(&jwt, user))
}
