//! The directory that is the root of trust of a lattice: its keys, its users, its server's
//! configuration. Whoever has it is the lattice's operator; hosts get bundles cut out of it.
//!
//! ```text
//! lattice.json            name, NATS URL, subjects of applications, hosts
//! keys/operator.nk  account.nk  system.nk     NATS: operator → account of the lattice, system account
//! keys/issuer.nk          the account whose claims the hosts trust
//! keys/controller.nk      signs host specs
//! keys/compiler.nk        signs native code for hosts that compile nothing
//! keys/provider-*.nk      sign users of one role each: providers' processes
//! trust.json              public keys that hosts trust: issuers, controllers, compilers
//! nats/auth.conf          operator, accounts: what a server must include
//! users/<name>.creds      one NATS user per host, controller, person
//! users/<host>.xk         what the host opens sealed secrets with
//! keys/secrets.xk         the same for whoever seals secrets to further hosts
//! ```
//! Secrets are files of mode 0600, made once and never overwritten.

mod revoke;
mod users;

use crate::keyfile;
use crate::output::file_report;
use keys::nats::{AccountSpec, Responses, RoleSpec, Subjects as Allowed};
use keys::{CurveKey, CurvePublic, KeyKind, KeyPair, PublicKey};
use lattice_protocol::permission::{HostDomains, Permissions, ProviderRole};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{DomainName, ErrorCode, HostId, LatticeName, Report};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How often, and how long (as long as the longest call), a request may be answered. The server keeps each request that
/// it has handed over until it was answered so often or the time is over, and goes through all of them every 4 096: with more
/// than one answer its memory, and what a message costs it, grow with all requests of ten minutes.
const ANSWERS: Responses = Responses { max_messages: 1, ttl_ms: 600_000 };

/// `lattice.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LatticeFile {
    /// Name.
    pub lattice: LatticeName,
    /// Where its NATS server is.
    pub nats_url: String,
    /// JetStream domain of its own servers: hosts of other domains ask for the lattice by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<DomainName>,
    /// JetStream domains of hosts' sites, for the kinds whose manifests name them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub site_domains: BTreeMap<HostId, BTreeSet<DomainName>>,
    /// Subjects that guests may be linked to.
    pub subjects: Vec<String>,
    /// Enrolled hosts.
    pub hosts: BTreeSet<HostId>,
    /// The lattice's account in NATS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<PublicKey>,
    /// The latest life of the lattice that was begun from here; see `trellis lattice recover`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<u64>,
    /// NATS users whose tokens issued up to that time (Unix seconds) count no more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub revoked_users: BTreeMap<PublicKey, i64>,
}

impl LatticeFile {
    /// What a host may on NATS.
    fn permissions(&self, host: &HostId) -> Permissions {
        let domains = HostDomains {
            lattice: self.domain.clone(),
            kinds: self.site_domains.get(host).cloned().unwrap_or_default(),
        };
        Subjects::new(self.lattice.clone()).host_permissions(host, &self.subjects, &domains)
    }
}

/// `trust.json`: what a host trusts. Public keys only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustFile {
    /// Accounts whose claims count.
    pub issuers: BTreeSet<PublicKey>,
    /// Controllers whose specs count.
    pub controllers: BTreeSet<PublicKey>,
    /// Compilers whose native code counts, on hosts that compile nothing.
    #[serde(default)]
    pub compilers: BTreeSet<PublicKey>,
    /// Keys that never count again, and since when (Unix seconds).
    #[serde(default)]
    pub revoked: BTreeMap<PublicKey, i64>,
}

impl TrustFile {
    /// Those of these keys that were not revoked.
    pub fn counting(&self, keys: &BTreeSet<PublicKey>) -> BTreeSet<PublicKey> {
        keys.iter().filter(|key| !self.revoked.contains_key(key)).copied().collect()
    }
}

/// The directory.
#[derive(Debug, Clone)]
pub struct LatticeDir {
    path: PathBuf,
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Report> {
    let text = std::fs::read(path).map_err(|error| file_report("read", path, &error))?;
    serde_json::from_slice(&text)
        .map_err(|error| Report::new(ErrorCode::Config, error.to_string()).at(path.display()))
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Report> {
    let text = serde_json::to_vec_pretty(value)
        .map_err(|error| Report::new(ErrorCode::Internal, error.to_string()))?;
    write_whole(path, &text)
}

/// Replaces a file whole: a crash leaves the old one or the new one.
fn write_whole(path: &Path, content: &[u8]) -> Result<(), Report> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|error| file_report("make the directory", parent, &error))?;
    }
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, content).map_err(|error| file_report("write", &fresh, &error))?;
    std::fs::rename(&fresh, path).map_err(|error| file_report("write", path, &error))
}

fn now_unix() -> i64 {
    use lattice_io::Clock;
    i64::try_from(lattice_io::SystemClock::new().unix_ms() / 1_000).unwrap_or(i64::MAX)
}

/// The server's configuration: the operator, the lattice's account with its token, and the system account.
fn server_config(
    operator: &KeyPair,
    (account, token): (PublicKey, &str),
    system: &KeyPair,
    file: &LatticeFile,
    now: i64,
) -> Result<String, Report> {
    let operator_jwt = keys::nats::operator_jwt(operator, file.lattice.as_str(), &system.public(), now)
        .map_err(|e| nats_report(&e))?;
    let its = keys::nats::account_jwt(operator, &AccountSpec::system(system.public()), now);
    let system_token = its.map_err(|error| nats_report(&error))?;
    let accounts = [(account, token.to_owned()), (system.public(), system_token)].into();
    let mut config = keys::nats::server_config(&operator_jwt, &system.public(), &accounts);
    if file.domain.is_some() {
        // A client's first line has its token, which lists what it may in each domain: 4 KiB are too few.
        config.push_str("max_control_line: 16384\n");
    }
    Ok(config)
}

fn nats_report(error: &keys::nats::NatsError) -> Report {
    Report::new(ErrorCode::Config, error.to_string())
}

impl LatticeDir {
    /// The directory at this path, which need not exist.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// Was it made?
    pub fn exists(&self) -> bool {
        self.path.join("lattice.json").exists()
    }
    /// `lattice.json`.
    pub fn file(&self) -> Result<LatticeFile, Report> {
        read_json(&self.path.join("lattice.json"))
            .map_err(|report| report.hint("make a lattice: trellis lattice init --dir <directory>"))
    }
    /// `trust.json`.
    pub fn trust(&self) -> Result<TrustFile, Report> {
        read_json(&self.path.join("trust.json"))
    }
    /// The credentials of one user.
    pub fn creds(&self, user: &str) -> PathBuf {
        self.path.join("users").join(format!("{user}.creds"))
    }
    /// The configuration that the lattice's NATS server includes.
    pub fn server_auth(&self) -> PathBuf {
        self.path.join("nats").join("auth.conf")
    }
    /// The seed that signs claims.
    pub fn issuer_path(&self) -> PathBuf {
        self.path.join("keys").join("issuer.nk")
    }
    /// The key that signs host specs.
    pub fn controller_key(&self) -> Result<KeyPair, Report> {
        keyfile::read(&self.path.join("keys").join("controller.nk"), KeyKind::Account)
    }

    /// The key that signs native code; none in a directory made before there was one, and in a bundle.
    pub fn compiler_key(&self) -> Result<Option<KeyPair>, Report> {
        let path = self.key_path("compiler");
        if path.exists() { keyfile::read(&path, KeyKind::Account).map(Some) } else { Ok(None) }
    }

    fn key_path(&self, name: &str) -> PathBuf {
        self.path.join("keys").join(format!("{name}.nk"))
    }

    fn key(&self, name: &str, kind: KeyKind) -> Result<KeyPair, Report> {
        keyfile::read_or_make(&self.key_path(name), kind).map(|(key, _)| key)
    }

    /// Makes the lattice. What exists already is kept: running it again adds what is missing.
    pub fn init(&self, file: &LatticeFile) -> Result<(), Report> {
        let have = if self.exists() { Some(self.file()?) } else { None };
        if let Some(have) = have.as_ref().filter(|have| have.lattice != file.lattice) {
            return Err(Report::new(ErrorCode::Conflict, "directory holds another lattice")
                .at(self.path.display())
                .got(&file.lattice)
                .limit(&have.lattice)
                .hint("choose another --dir"));
        }
        let (operator, account, system) = (
            self.key("operator", KeyKind::Operator)?,
            self.key("account", KeyKind::Account)?,
            self.key("system", KeyKind::Account)?,
        );
        let (issuer, controller) =
            (self.key("issuer", KeyKind::Account)?, self.key("controller", KeyKind::Account)?);
        let now = now_unix();
        // What has happened to the lattice since it was made stays.
        let file = &match have {
            Some(LatticeFile { incarnation, revoked_users, site_domains, domain, .. }) => {
                let domain = file.domain.clone().or(domain);
                LatticeFile { incarnation, revoked_users, site_domains, domain, ..file.clone() }
            }
            None => file.clone(),
        };
        let file = &LatticeFile { account: Some(account.public()), ..file.clone() };
        let token = self.account_token(&operator, &account, file, now)?;
        let config = server_config(&operator, (account.public(), &token), &system, file, now)?;
        write_whole(&self.server_auth(), config.as_bytes())?;
        self.init_trust(&issuer, &controller)?;
        let subjects = Subjects::new(file.lattice.clone());
        for user in ["controller", "admin"] {
            self.add_user(&account, user, &subjects.operator_permissions(user), now)?;
        }
        for host in &file.hosts {
            self.add_user(&account, host.as_str(), &file.permissions(host), now)?;
        }
        self.seal_key()?;
        for host in &file.hosts {
            keyfile::read_or_make_curve(&self.curve_path(host))?;
        }
        write_json(&self.path.join("lattice.json"), file)
    }

    /// What hosts trust. A directory that had no compiler key yet gets one, and trusts it; who is trusted otherwise
    /// stays as it is.
    fn init_trust(&self, issuer: &KeyPair, controller: &KeyPair) -> Result<(), Report> {
        let (compiler, is_new) = keyfile::read_or_make(&self.key_path("compiler"), KeyKind::Account)?;
        let path = self.path.join("trust.json");
        let mut trust = if path.exists() {
            self.trust()?
        } else {
            TrustFile {
                issuers: [issuer.public()].into(),
                controllers: [controller.public()].into(),
                ..TrustFile::default()
            }
        };
        if is_new {
            trust.compilers.insert(compiler.public());
        }
        write_json(&path, &trust)
    }

    fn curve_path(&self, host: &HostId) -> PathBuf {
        self.path.join("users").join(format!("{host}.xk"))
    }

    /// What a host opens sealed secrets with; none in a directory or bundle made before there were
    /// secrets.
    pub fn curve_key(&self, host: &HostId) -> Result<Option<CurveKey>, Report> {
        let path = self.curve_path(host);
        if path.exists() { keyfile::read_curve(&path).map(Some) } else { Ok(None) }
    }

    /// The key of whoever seals secrets: every secret is sealed to it too, so that hosts can be added.
    pub fn seal_key(&self) -> Result<CurveKey, Report> {
        keyfile::read_or_make_curve(&self.path.join("keys").join("secrets.xk"))
    }

    /// The enrolled hosts' public curve keys, made for hosts that were enrolled without.
    pub fn recipients(&self) -> Result<BTreeMap<HostId, CurvePublic>, Report> {
        let hosts = self.file()?.hosts;
        hosts
            .into_iter()
            .map(|host| Ok((host.clone(), keyfile::read_or_make_curve(&self.curve_path(&host))?.public())))
            .collect()
    }

    /// Remembers which life of the lattice was begun.
    pub fn set_incarnation(&self, incarnation: u64) -> Result<(), Report> {
        let file = LatticeFile { incarnation: Some(incarnation), ..self.file()? };
        write_json(&self.path.join("lattice.json"), &file)
    }

    /// Writes what a host needs, and no more, into a directory to copy there.
    pub fn write_bundle(&self, host: &HostId, to: &Path) -> Result<(), Report> {
        let mut file = self.file()?;
        file.hosts = [host.clone()].into();
        file.revoked_users.clear();
        file.site_domains.retain(|of, _| of == host);
        let creds = self.creds(host.as_str());
        let secret = zeroize::Zeroizing::new(
            std::fs::read(&creds).map_err(|error| file_report("read the credentials", &creds, &error))?,
        );
        keyfile::write_secret(&to.join("users").join(format!("{host}.creds")), &secret)?;
        let curve = keyfile::read_or_make_curve(&self.curve_path(host))?;
        let path = to.join("users").join(format!("{host}.xk"));
        keyfile::write_secret(&path, format!("{}\n", *curve.seed()).as_bytes())?;
        for role in ProviderRole::ALL.iter().filter(|role| self.role_path(**role).exists()) {
            let key = keyfile::read(&self.role_path(*role), KeyKind::Account)?;
            keyfile::write_secret(&LatticeDir::at(to).role_path(*role), key.seed().as_bytes())?;
        }
        write_json(&to.join("trust.json"), &self.trust()?)?;
        write_json(&to.join("lattice.json"), &file)
    }

    /// The token of the lattice's account: its roles, and who is let in no more.
    fn account_token(
        &self,
        operator: &KeyPair,
        account: &KeyPair,
        file: &LatticeFile,
        now: i64,
    ) -> Result<String, Report> {
        let mut lattice = AccountSpec::new(account.public(), file.lattice.as_str());
        for role in ProviderRole::ALL {
            lattice.roles.push(self.role(role, file)?);
        }
        lattice.revoked_users.clone_from(&file.revoked_users);
        keys::nats::account_jwt(operator, &lattice, now).map_err(|error| nats_report(&error))
    }

    /// A role of the account: its key, and what users signed by that may do.
    fn role(&self, role: ProviderRole, file: &LatticeFile) -> Result<RoleSpec, Report> {
        let permissions = Subjects::new(file.lattice.clone()).provider_permissions(role, &file.subjects);
        Ok(RoleSpec {
            key: self.key(role.as_str(), KeyKind::Account)?.public(),
            name: role.as_str().to_owned(),
            publish: Allowed::allow(permissions.publish),
            subscribe: Allowed::allow(permissions.subscribe),
            responses: Some(ANSWERS),
        })
    }

    fn role_path(&self, role: ProviderRole) -> PathBuf {
        self.path.join("keys").join(format!("{}.nk", role.as_str()))
    }
}
