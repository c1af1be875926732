//! What each kind of NATS user may publish to and subscribe to: templates over the lattice's own
//! subjects. `deny` wins over `allow`; what is in neither is denied.
//!
//! A host can say only its own heartbeat, its own events and its own journal, and can write no desired state, decision,
//! spec, verdict, secret or artifact, nor change or delete a stream. Buckets of guests, streams of shards and their
//! stores cannot be told apart by NATS wildcards (a name is one token), so a host may write `$KV` and `$O`, and purge
//! (it trims the shards that it owns), except for the lattice's own.
//!
//! A provider's process answers calls on its own two subjects and reaches nothing else; what calls
//! actors may do that too, and a broker has the applications' subjects. These are *roles*: templates
//! that the account holds, so that a host can make a user for each process it starts and can give
//! it no more than its role. See [`ProviderRole`].
//!
//! A person may ask controllers for operations, in its own role and under its own name, and reads and
//! writes no record by itself; a deployer may also store artifacts. See [`PersonRole`].

use crate::interface::Selector;
use crate::jetstream::{kv_stream, object_stream};
use crate::manifest::kind_serves;
use crate::name::HostId;
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

/// JetStream requests that change or remove what others rely on.
const DESTRUCTIVE: [&str; 5] = [
    "$JS.API.STREAM.DELETE.>",
    "$JS.API.STREAM.UPDATE.>",
    "$JS.API.STREAM.RESTORE.>",
    "$JS.API.STREAM.SNAPSHOT.>",
    "$JS.API.STREAM.MSG.DELETE.>",
];

impl Subjects {
    /// Of a host; `applications` are the subjects that its guests may be linked to (`edge.>`).
    #[must_use]
    pub fn host_permissions(&self, host: &HostId, applications: &[String]) -> Permissions {
        let inbox_prefix = format!("_INBOX_{host}");
        let mut publish = vec![
            self.heartbeat(host),
            // Asked before its first heartbeat: does another have this id?
            self.host(host, "probe"),
            self.regions_probe(),
            self.calls(),
            self.events_of(host),
            // Which host's records count is decided in the stream itself, by their epochs.
            self.shards(),
            // Nobody else can say what happened on this host.
            self.device_journal(host),
            // Nor what stands for the older part of that; what was erased is an administrator's to say.
            self.device_head(host),
            self.device_cells(host),
            "$JS.API.>".to_owned(),
            "$JS.ACK.>".to_owned(),
            "$JS.FC.>".to_owned(),
            "$KV.>".to_owned(),
            // Checkpoints of shards.
            "$O.>".to_owned(),
            // Its own answers: ordered consumers are flow-controlled through them.
            format!("{inbox_prefix}.>"),
        ];
        publish.extend_from_slice(applications);
        let mut publish_deny: Vec<String> = DESTRUCTIVE.iter().map(|subject| (*subject).to_owned()).collect();
        for bucket in self.control_buckets() {
            publish_deny.push(format!("$KV.{bucket}.>"));
        }
        let purge = |stream: &str| format!("$JS.API.STREAM.PURGE.{stream}");
        let buckets =
            self.control_buckets().into_iter().chain([self.sessions_bucket(), self.shards_bucket()]);
        publish_deny.extend(buckets.map(|bucket| purge(&kv_stream(&bucket))));
        publish_deny.push(purge(&object_stream(&self.artifact_store())));
        publish_deny.push(purge(&self.audit_stream()));
        // Who has a host has not what it has done.
        publish_deny.push(purge(&self.device_stream()));
        publish_deny.push(purge(&self.device_state_stream()));
        publish_deny.push(format!("$O.{}.>", self.artifact_store()));
        let mut subscribe = vec![
            self.hosts_ping(),
            self.regions_probe(),
            self.host_all(host),
            self.actor_calls(),
            self.kind_calls(),
            self.owner_calls(host),
            format!("{inbox_prefix}.>"),
        ];
        subscribe.extend_from_slice(applications);
        Permissions { publish, publish_deny, subscribe, inbox_prefix }
    }

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

    /// Of a person in a role; an administrator's are [`Self::operator_permissions`].
    #[must_use]
    pub fn person_permissions(&self, role: PersonRole, user: &str) -> Permissions {
        if role == PersonRole::Admin {
            return self.operator_permissions(user);
        }
        let inbox_prefix = inbox_of(user);
        let mut publish = vec![self.api_of(role.as_str(), user), format!("{inbox_prefix}.>")];
        if role == PersonRole::Deployer {
            let store = self.artifact_store();
            publish.extend([
                format!("$O.{store}.>"),
                "$JS.API.INFO".to_owned(),
                format!("$JS.API.STREAM.INFO.OBJ_{store}"),
                format!("$JS.API.STREAM.MSG.GET.OBJ_{store}"),
                format!("$JS.API.DIRECT.GET.OBJ_{store}.>"),
                format!("$JS.API.DIRECT.GET.OBJ_{store}"),
                format!("$JS.API.CONSUMER.CREATE.OBJ_{store}.>"),
                format!("$JS.API.CONSUMER.DELETE.OBJ_{store}.>"),
                format!("$JS.API.CONSUMER.MSG.NEXT.OBJ_{store}.>"),
                // What is larger than a window is read back under flow control.
                format!("$JS.FC.OBJ_{store}.>"),
            ]);
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

    fn control_buckets(&self) -> [String; 8] {
        [
            self.desired_bucket(),
            self.placement_bucket(),
            self.spec_bucket(),
            self.observed_bucket(),
            self.secrets_bucket(),
            self.users_bucket(),
            self.nonces_bucket(),
            self.lattice_bucket(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::matches;

    #[test]
    fn a_host_says_only_its_own_heartbeat_and_writes_no_decision() {
        let subjects = Subjects::new("prod".parse().unwrap());
        let host = "NEDGE01".parse().unwrap();
        let granted = subjects.host_permissions(&host, &["edge.>".to_owned()]);
        let may = |subject: &str| {
            granted.publish.iter().any(|pattern| matches(pattern, subject))
                && !granted.publish_deny.iter().any(|pattern| matches(pattern, subject))
        };
        for yes in [
            "trellis.prod.hb.NEDGE01",
            "trellis.prod.rpc.actor.edge.processor",
            "trellis.prod.evt.NEDGE01.actor_started",
            "trellis.prod.device.NEDGE01",
            "trellis.prod.device-state.NEDGE01.head",
            "trellis.prod.device-state.NEDGE01.cell.00ff.0.1",
            "edge.alert.a",
            "$KV.TRELLIS_prod_kv_edge_data.sensor-001",
            "$JS.API.STREAM.INFO.KV_TRELLIS_prod_hostspec",
            "$JS.API.STREAM.PURGE.TRELLIS_prod_shard_meter_3",
            "$JS.API.STREAM.PURGE.OBJ_TRELLIS_prod_snapshots_meter_3",
            "$O.TRELLIS_prod_snapshots_meter_3.C.x",
        ] {
            assert!(may(yes), "{yes}");
        }
        for no in [
            "trellis.prod.hb.NEDGE02",
            "trellis.prod.host.NEDGE02.probe",
            "trellis.prod.host.NEDGE01.stop",
            "trellis.prod.evt.NEDGE02.actor_started",
            "trellis.prod.evt.controller.host_lost",
            "trellis.prod.device.NEDGE02",
            "trellis.prod.device-state.NEDGE02.head",
            "trellis.prod.device-state.NEDGE02.cell.00ff.0.1",
            "trellis.prod.device-state.NEDGE01.erased",
            "$JS.API.STREAM.PURGE.TRELLIS_prod_device_states",
            "$JS.API.STREAM.PURGE.TRELLIS_prod_devices",
            "$JS.API.STREAM.MSG.DELETE.TRELLIS_prod_devices",
            "$KV.TRELLIS_prod_secrets.redis",
            "trellis.prod.host.NEDGE02.stop",
            "trellis.other.rpc.actor.a.b",
            "cloud.cmd.a",
            "$KV.TRELLIS_prod_hostspec.NEDGE01",
            "$KV.TRELLIS_prod_desired.edge",
            "$O.TRELLIS_prod_artifacts.C.x",
            "$JS.API.STREAM.DELETE.KV_TRELLIS_prod_hostspec",
            "$JS.API.STREAM.PURGE.KV_TRELLIS_prod_hostspec",
            "$JS.API.STREAM.PURGE.KV_TRELLIS_prod_secrets",
            "$JS.API.STREAM.PURGE.KV_TRELLIS_prod_shards",
            "$JS.API.STREAM.PURGE.OBJ_TRELLIS_prod_artifacts",
            "$JS.API.STREAM.PURGE.TRELLIS_prod_audit",
            "$JS.API.STREAM.UPDATE.TRELLIS_prod_shard_meter_3",
            "$SYS.REQ.SERVER.PING",
        ] {
            assert!(!may(no), "{no}");
        }
        let hears = |subject: &str| granted.subscribe.iter().any(|pattern| matches(pattern, subject));
        assert!(hears("trellis.prod.rpc.actor.edge.processor") && hears("trellis.prod.rpc.kind.meter"));
        assert!(!hears("trellis.prod.rpc.prov.edge.store"), "providers' calls are the providers'");
    }

    #[test]
    fn a_person_asks_in_its_own_role_and_name_and_only_an_administrator_reaches_records() {
        let subjects = Subjects::new("prod".parse().unwrap());
        let may = |role, subject: &str| {
            let granted = subjects.person_permissions(role, "bob");
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
            (PersonRole::Deployer, "$JS.FC.KV_TRELLIS_prod_desired.reader.x", false),
            (PersonRole::Viewer, "$JS.FC.OBJ_TRELLIS_prod_artifacts.reader.x", false),
            (PersonRole::Deployer, "$KV.TRELLIS_prod_desired.shop", false),
            (PersonRole::Deployer, "$JS.API.STREAM.DELETE.OBJ_TRELLIS_prod_artifacts", false),
            (PersonRole::Deployer, "trellis.prod.hosts.ping", false),
            (PersonRole::Admin, "$KV.TRELLIS_prod_desired.shop", true),
        ] {
            assert_eq!(may(role, subject), yes, "{role} {subject}");
        }
        let host = subjects.host_permissions(&"H1".parse().unwrap(), &[]);
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
