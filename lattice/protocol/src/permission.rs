//! What each kind of NATS user may publish to and subscribe to: templates over the lattice's own
//! subjects. `deny` wins over `allow`; what is in neither is denied. What a host may is in [`host`].
//!
//! A provider's process answers calls on its own two subjects and reaches nothing else; what calls
//! actors may do that too, and a broker has the applications' subjects. These are *roles*: templates
//! that the account holds, so that a host can make a user for each process it starts and can give
//! it no more than its role. See [`ProviderRole`].
//!
//! A person may ask controllers for operations, in its own role and under its own name, and reads and
//! writes no record by itself; a deployer may also store artifacts. See [`PersonRole`].

mod host;

pub use host::HostDomains;

use crate::interface::Selector;
use crate::jetstream::api;
use crate::manifest::kind_serves;
use crate::name::DomainName;
use crate::subject::Subjects;
use serde::{Deserialize, Serialize};

/// What NATS puts in place of these in a role: the user's name, the user's key.
const USER_NAME: &str = "{{name()}}";
const USER_KEY: &str = "{{subject()}}";

/// Allow and deny lists of one user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    /// May publish to these.
    pub publish: Vec<String>,
    /// But not to these.
    pub publish_deny: Vec<String>,
    /// May subscribe to these.
    pub subscribe: Vec<String>,
    /// First token of its answer subjects.
    pub inbox_prefix: String,
}

/// What a person may do through the controllers' API. Each role includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PersonRole {
    /// Look.
    Viewer,
    /// Change applications.
    Deployer,
    /// Everything, users and hosts included.
    Admin,
}

impl PersonRole {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Deployer, Self::Admin];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Deployer => "deployer",
            Self::Admin => "admin",
        }
    }

    /// Reads a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

impl std::fmt::Display for PersonRole {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Somebody who may use the controllers' API: KV key `<public key>` in the users' bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiUser {
    /// The name of its NATS user.
    pub name: String,
    /// What it may do.
    pub role: PersonRole,
    /// Who added it.
    pub by: String,
    /// Unix milliseconds when it was added.
    pub at_unix_ms: u64,
}

/// What a provider's process may do, besides answering calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProviderRole {
    /// Nothing: stores and clients.
    Store,
    /// Call actors: servers.
    Server,
    /// Call actors, and publish and subscribe for them: brokers.
    Broker,
}

impl ProviderRole {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Store, Self::Server, Self::Broker];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Store => "provider-store",
            Self::Server => "provider-server",
            Self::Broker => "provider-broker",
        }
    }

    /// Of one of the built-in kinds.
    #[must_use]
    pub fn of_kind(kind: &str) -> Self {
        Self::needed(|interface| {
            interface.parse().is_ok_and(|selector: Selector| kind_serves(kind, &selector))
        })
    }

    /// The least that suffices to call what it serves: asked for each interface that actors export.
    #[must_use]
    pub fn needed(serves: impl Fn(&str) -> bool) -> Self {
        if serves("wasmcloud:messaging/handler") {
            Self::Broker
        } else if serves("wasi:http/incoming-handler") {
            Self::Server
        } else {
            Self::Store
        }
    }
}

/// First token of the answer subjects of a provider's process, by its user key (`U…`).
#[must_use]
pub fn provider_inbox(user: &str) -> String {
    format!("_INBOX_{user}")
}

/// First token of the answer subjects of a user of the lattice's directory.
fn inbox_of(user: &str) -> String {
    format!("_INBOX_{}", crate::subject::encode_token(user).replace('=', "_"))
}

impl Subjects {
    /// Of a provider's process, as a role of the account: NATS fills in the user's name, which is
    /// the process's own ([`crate::provider::process_name`]), and the user's key.
    #[must_use]
    pub fn provider_permissions(&self, role: ProviderRole, applications: &[String]) -> Permissions {
        let inbox_prefix = provider_inbox(USER_KEY);
        // To itself: that is how a client learns that the server knows its subscriptions.
        let mut publish = vec![format!("{inbox_prefix}.>")];
        let mut subscribe =
            vec![self.provider_call(USER_NAME), self.provider_links(USER_NAME), format!("{inbox_prefix}.>")];
        if role != ProviderRole::Store {
            publish.push(self.actor_calls());
        }
        if role == ProviderRole::Broker {
            publish.extend_from_slice(applications);
            subscribe.extend_from_slice(applications);
        }
        Permissions { publish, publish_deny: Vec::new(), subscribe, inbox_prefix }
    }

    /// Of a person in a role; an administrator's are [`Self::operator_permissions`]. `domain` is the lattice's own
    /// JetStream domain where it is named.
    #[must_use]
    pub fn person_permissions(
        &self,
        role: PersonRole,
        user: &str,
        domain: Option<&DomainName>,
    ) -> Permissions {
        if role == PersonRole::Admin {
            return self.operator_permissions(user);
        }
        let inbox_prefix = inbox_of(user);
        let mut publish = vec![self.api_of(role.as_str(), user), format!("{inbox_prefix}.>")];
        if role == PersonRole::Deployer {
            let store = self.artifact_store();
            publish.push(format!("$O.{store}.>"));
            for api in [Some(api(None)), domain.map(|domain| api(Some(domain)))].into_iter().flatten() {
                publish.extend([
                    format!("{api}.INFO"),
                    format!("{api}.STREAM.INFO.OBJ_{store}"),
                    format!("{api}.STREAM.MSG.GET.OBJ_{store}"),
                    format!("{api}.DIRECT.GET.OBJ_{store}.>"),
                    format!("{api}.DIRECT.GET.OBJ_{store}"),
                    format!("{api}.CONSUMER.CREATE.OBJ_{store}.>"),
                    format!("{api}.CONSUMER.DELETE.OBJ_{store}.>"),
                    format!("{api}.CONSUMER.MSG.NEXT.OBJ_{store}.>"),
                ]);
            }
            // What is larger than a window is read back under flow control.
            publish.push(format!("$JS.FC.OBJ_{store}.>"));
        }
        let subscribe = vec![format!("{inbox_prefix}.>")];
        Permissions { publish, publish_deny: Vec::new(), subscribe, inbox_prefix }
    }

    /// Of controllers and of people who administer: everything but the server's own account.
    #[must_use]
    pub fn operator_permissions(&self, user: &str) -> Permissions {
        let everything = vec![">".to_owned()];
        Permissions {
            publish: everything.clone(),
            publish_deny: vec!["$SYS.>".to_owned()],
            subscribe: everything,
            inbox_prefix: inbox_of(user),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::matches;

    #[test]
    fn a_person_asks_in_its_own_role_and_name_and_only_an_administrator_reaches_records() {
        let subjects = Subjects::new("prod".parse().unwrap());
        let may = |role, subject: &str| {
            let domain = "hub".parse().unwrap();
            let granted = subjects.person_permissions(role, "bob", Some(&domain));
            granted.publish.iter().any(|pattern| matches(pattern, subject))
        };
        for (role, subject, yes) in [
            (PersonRole::Viewer, "trellis.prod.api.viewer.bob.app=2Elist", true),
            (PersonRole::Viewer, "trellis.prod.api.deployer.bob.app=2Eput", false),
            (PersonRole::Viewer, "trellis.prod.api.viewer.eve.app=2Elist", false),
            (PersonRole::Viewer, "$O.TRELLIS_prod_artifacts.C.x", false),
            (PersonRole::Deployer, "trellis.prod.api.deployer.bob.app=2Eput", true),
            (PersonRole::Deployer, "trellis.prod.api.admin.bob.host=2Estop", false),
            (PersonRole::Deployer, "$O.TRELLIS_prod_artifacts.C.x", true),
            (PersonRole::Deployer, "$JS.FC.OBJ_TRELLIS_prod_artifacts.reader.x", true),
            (PersonRole::Deployer, "$JS.hub.API.STREAM.INFO.OBJ_TRELLIS_prod_artifacts", true),
            (PersonRole::Deployer, "$JS.hub.API.STREAM.INFO.KV_TRELLIS_prod_desired", false),
            (PersonRole::Viewer, "$JS.hub.API.STREAM.INFO.OBJ_TRELLIS_prod_artifacts", false),
            (PersonRole::Deployer, "$JS.FC.KV_TRELLIS_prod_desired.reader.x", false),
            (PersonRole::Viewer, "$JS.FC.OBJ_TRELLIS_prod_artifacts.reader.x", false),
            (PersonRole::Deployer, "$KV.TRELLIS_prod_desired.shop", false),
            (PersonRole::Deployer, "$JS.API.STREAM.DELETE.OBJ_TRELLIS_prod_artifacts", false),
            (PersonRole::Deployer, "trellis.prod.hosts.ping", false),
            (PersonRole::Admin, "$KV.TRELLIS_prod_desired.shop", true),
        ] {
            assert_eq!(may(role, subject), yes, "{role} {subject}");
        }
        let host = subjects.host_permissions(&"H1".parse().unwrap(), &[], &HostDomains::default());
        assert!(!host.publish.iter().any(|pattern| matches(pattern, "trellis.prod.api.admin.H1.app")));
        for role in PersonRole::ALL {
            assert_eq!(PersonRole::parse(role.as_str()), Some(role));
        }
    }

    #[test]
    fn a_providers_process_hears_its_own_calls_and_reaches_what_its_role_needs() {
        let subjects = Subjects::new("prod".parse().unwrap());
        let allowed = |role, user: &str| {
            let granted = subjects.provider_permissions(role, &["edge.>".to_owned()]);
            let fill = |list: Vec<String>| -> Vec<String> {
                list.iter().map(|text| text.replace(USER_NAME, user).replace(USER_KEY, "UKEY")).collect()
            };
            (fill(granted.publish), fill(granted.subscribe))
        };
        let may = |list: &[String], subject: &str| list.iter().any(|pattern| matches(pattern, subject));
        let (publish, subscribe) = allowed(ProviderRole::Store, "shop.store.H1");
        assert_eq!(publish, ["_INBOX_UKEY.>"], "a store answers, and speaks to itself");
        assert!(may(&subscribe, "trellis.prod.rpc.prov.shop.store.H1"));
        for other in ["shop.other.H1", "shop.store.H2", "shop.store", "bank.store.H1"] {
            assert!(!may(&subscribe, &subjects.provider_call(other)), "{other}");
            assert!(!may(&subscribe, &subjects.provider_links(other)), "{other}");
        }
        let (publish, subscribe) = allowed(ProviderRole::Server, "shop.http.H1");
        assert!(may(&publish, "trellis.prod.rpc.actor.shop.cart") && !may(&publish, "edge.a"));
        assert!(!may(&publish, "trellis.prod.rpc.prov.shop.store.H1") && !may(&subscribe, "edge.a"));
        assert!(!may(&publish, "trellis.prod.rpc.kind.meter"), "only hosts speak for other actors");
        let (publish, subscribe) = allowed(ProviderRole::Broker, "shop.nats.H1");
        assert!(may(&publish, "edge.a") && may(&subscribe, "edge.a") && !may(&publish, "cloud.a"));
        for kind in crate::manifest::KNOWN_KINDS {
            let role = ProviderRole::of_kind(kind);
            assert_eq!(role == ProviderRole::Broker, kind.starts_with("messaging"), "{kind}");
            assert_eq!(role == ProviderRole::Server, *kind == "http-server", "{kind}");
        }
    }
}
