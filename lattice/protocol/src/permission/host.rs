//! What a host may. It can say only its own heartbeat, its own events and its own journal, and can write no
//! desired state, decision, spec, verdict, secret or artifact, nor change or delete a stream. Buckets of guests,
//! streams of shards and their stores cannot be told apart by NATS wildcards (a name is one token), so a host may
//! write `$KV` and `$O`, and purge (it trims the shards that it owns), except for the lattice's own.
//!
//! `$JS.API` and `$KV` are those of the JetStream domain of whichever server the host is connected to; any other
//! domain is asked as `$JS.<domain>.API` ([`HostDomains`]), and its keys are written under that too. A server holds
//! requests for its own domain to what they become there, `$JS.API.…` and `$KV.…`: what is denied is denied in
//! both forms. Of a site's domain a host may what persistent actors need and no more: make streams and stores, read,
//! trim, and write the keys of leases and owners. Records of shards in a domain that is not the host's it can write
//! nowhere.

use super::Permissions;
use crate::jetstream::{api, kv_stream, object_stream};
use crate::name::{DomainName, HostId};
use crate::subject::Subjects;
use std::collections::BTreeSet;

/// JetStream requests that change or remove what others rely on.
const DESTRUCTIVE: [&str; 5] =
    ["STREAM.DELETE.>", "STREAM.UPDATE.>", "STREAM.RESTORE.>", "STREAM.SNAPSHOT.>", "STREAM.MSG.DELETE.>"];

/// JetStream's API and keys in any domain that is asked for by its name.
const ANY_API: &str = "$JS.*.API";
const ANY_KEYS: &str = "$JS.*.API.";

/// JetStream requests of persistent actors.
const OF_ACTORS: [&str; 9] = [
    "INFO",
    "STREAM.INFO.*",
    "STREAM.CREATE.*",
    "STREAM.MSG.GET.*",
    "STREAM.PURGE.*",
    "DIRECT.GET.>",
    "CONSUMER.CREATE.>",
    "CONSUMER.DELETE.>",
    "CONSUMER.MSG.NEXT.>",
];

/// JetStream domains that a host reaches by their names, whichever server it is connected to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostDomains {
    /// The lattice's own, where it is named: without a name only hosts of its own servers reach it.
    pub lattice: Option<DomainName>,
    /// Those whose kinds it may run: of its site.
    pub kinds: BTreeSet<DomainName>,
}

impl Subjects {
    /// Of a host; `applications` are the subjects that its guests may be linked to (`edge.>`).
    #[must_use]
    pub fn host_permissions(
        &self,
        host: &HostId,
        applications: &[String],
        domains: &HostDomains,
    ) -> Permissions {
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
        publish.extend(domains.lattice.as_ref().map(|domain| format!("{}.>", api(Some(domain)))));
        for domain in &domains.kinds {
            publish.extend(self.of_actors(domain));
        }
        publish.extend_from_slice(applications);
        let mut publish_deny = self.denied(&api(None), "", domains);
        if domains.lattice.is_some() || !domains.kinds.is_empty() {
            // In any domain, so that the list is as long for several: a user's token has to fit one line.
            publish_deny.extend(self.denied(ANY_API, ANY_KEYS, domains));
        }
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

    /// What persistent actors of a domain need of it.
    fn of_actors(&self, domain: &DomainName) -> Vec<String> {
        let (there, api) = (self.in_domain(Some(domain.clone())), api(Some(domain)));
        let mut needed: Vec<String> =
            OF_ACTORS.iter().map(|operation| format!("{api}.{operation}")).collect();
        let buckets = [there.sessions_bucket(), there.shards_bucket()];
        needed.extend(buckets.map(|bucket| format!("{api}.$KV.{bucket}.>")));
        needed.push(there.shards());
        needed
    }

    /// What no host may under this API of JetStream, with its keys.
    fn denied(&self, api: &str, keys: &str, domains: &HostDomains) -> Vec<String> {
        let mut denied: Vec<String> =
            DESTRUCTIVE.iter().map(|operation| format!("{api}.{operation}")).collect();
        denied.extend(self.control_buckets().map(|bucket| format!("{keys}$KV.{bucket}.>")));
        let purge = |stream: &str| format!("{api}.STREAM.PURGE.{stream}");
        let mut kept: Vec<String> = self.control_buckets().into();
        for place in [None].into_iter().chain(domains.kinds.iter().cloned().map(Some)) {
            let there = self.in_domain(place);
            kept.extend([there.sessions_bucket(), there.shards_bucket()]);
        }
        denied.extend(kept.iter().map(|bucket| purge(&kv_stream(bucket))));
        denied.push(purge(&object_stream(&self.artifact_store())));
        denied.push(purge(&self.audit_stream()));
        // Who has a host has not what it has done.
        denied.push(purge(&self.device_stream()));
        denied.push(purge(&self.device_state_stream()));
        denied
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

    fn may(granted: &Permissions, subject: &str) -> bool {
        granted.publish.iter().any(|pattern| matches(pattern, subject))
            && !granted.publish_deny.iter().any(|pattern| matches(pattern, subject))
    }

    #[test]
    fn a_host_says_only_its_own_heartbeat_and_writes_no_decision() {
        let subjects = Subjects::new("prod".parse().unwrap());
        let host = "NEDGE01".parse().unwrap();
        let granted = subjects.host_permissions(&host, &["edge.>".to_owned()], &HostDomains::default());
        let may = |subject: &str| may(&granted, subject);
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
            "$JS.factory.API.INFO",
            "$JS.factory.API.STREAM.PURGE.TRELLIS_prod_shard_meter_3_factory",
            "trellis.prod.shard.meter.3.factory",
        ] {
            assert!(!may(no), "{no}");
        }
        let hears = |subject: &str| granted.subscribe.iter().any(|pattern| matches(pattern, subject));
        assert!(hears("trellis.prod.rpc.actor.edge.processor") && hears("trellis.prod.rpc.kind.meter"));
        assert!(!hears("trellis.prod.rpc.prov.edge.store"), "providers' calls are the providers'");
    }

    #[test]
    fn a_host_of_a_site_may_what_its_actors_need_there_and_reads_the_lattice_by_its_domains_name() {
        let subjects = Subjects::new("prod".parse().unwrap());
        let domains = HostDomains {
            lattice: Some("hub".parse().unwrap()),
            kinds: BTreeSet::from(["factory".parse().unwrap()]),
        };
        let granted = subjects.host_permissions(&"NEDGE01".parse().unwrap(), &[], &domains);
        for yes in [
            "$JS.hub.API.CONSUMER.CREATE.KV_TRELLIS_prod_hostspec.x.$KV.TRELLIS_prod_hostspec.NEDGE01",
            "$JS.hub.API.$KV.TRELLIS_prod_kv_edge_data.sensor-001",
            "$JS.hub.API.$KV.TRELLIS_prod_sessions.NEDGE01",
            "$JS.factory.API.INFO",
            "$JS.factory.API.STREAM.CREATE.TRELLIS_prod_shard_meter_3_factory",
            "$JS.factory.API.STREAM.PURGE.TRELLIS_prod_shard_meter_3_factory",
            "$JS.factory.API.$KV.TRELLIS_prod_sessions_factory.NEDGE01",
            "$JS.factory.API.$KV.TRELLIS_prod_shards_factory.meter.3",
            "trellis.prod.shard.meter.3.factory",
            // What requests to its own server's domain become there.
            "$JS.API.STREAM.PURGE.TRELLIS_prod_shard_meter_3_factory",
            "$KV.TRELLIS_prod_shards_factory.meter.3",
        ] {
            assert!(may(&granted, yes), "{yes}");
        }
        for no in [
            "$JS.hub.API.$KV.TRELLIS_prod_desired.edge",
            "$JS.hub.API.$KV.TRELLIS_prod_hostspec.NEDGE01",
            "$JS.hub.API.STREAM.DELETE.KV_TRELLIS_prod_hostspec",
            "$JS.hub.API.STREAM.PURGE.KV_TRELLIS_prod_secrets",
            "$JS.hub.API.STREAM.PURGE.TRELLIS_prod_devices",
            "$JS.factory.API.STREAM.DELETE.TRELLIS_prod_shard_meter_3_factory",
            "$JS.factory.API.STREAM.UPDATE.TRELLIS_prod_shard_meter_3_factory",
            "$JS.factory.API.STREAM.PURGE.KV_TRELLIS_prod_shards_factory",
            "$JS.API.STREAM.PURGE.KV_TRELLIS_prod_shards_factory",
            "$JS.factory.API.STREAM.NAMES",
            "$JS.factory.API.$KV.anything.x",
            "$JS.depot.API.INFO",
            "$JS.depot.API.STREAM.MSG.GET.TRELLIS_prod_shard_meter_3_depot",
            "$JS.depot.API.$KV.TRELLIS_prod_shards_depot.meter.3",
            "trellis.prod.shard.meter.3.depot",
        ] {
            assert!(!may(&granted, no), "{no}");
        }
    }

    /// Servers take a first line of 16 KiB from a client (`max_control_line` in the lattice's `auth.conf`): the token in it
    /// is four thirds as long as what it says.
    #[test]
    fn a_hosts_token_fits_the_first_line_with_the_longest_name_of_a_lattice() {
        let subjects = Subjects::new("x".repeat(64).parse().unwrap());
        let domains = HostDomains {
            lattice: Some("y".repeat(32).parse().unwrap()),
            kinds: (0..2).map(|n| format!("{}{n}", "z".repeat(31)).parse().unwrap()).collect(),
        };
        let host = "N".repeat(56).parse().unwrap();
        let granted = subjects.host_permissions(&host, &["edge.>".to_owned()], &domains);
        let all = [granted.publish, granted.publish_deny, granted.subscribe].concat();
        let bytes: usize = all.iter().map(|subject| subject.len() + 3).sum();
        assert!(bytes < (16_384 - 1_500) / 4 * 3, "{bytes}");
    }

    /// A domain may be named that is the lattice's own: what is the lattice's is kept there too.
    #[test]
    fn a_kinds_domain_opens_nothing_of_the_lattices_that_lives_in_it() {
        let subjects = Subjects::new("prod".parse().unwrap());
        let domains = HostDomains { lattice: None, kinds: BTreeSet::from(["hub".parse().unwrap()]) };
        let granted = subjects.host_permissions(&"H1".parse().unwrap(), &[], &domains);
        for no in [
            "$JS.hub.API.STREAM.PURGE.KV_TRELLIS_prod_desired",
            "$JS.hub.API.STREAM.PURGE.KV_TRELLIS_prod_shards",
            "$JS.hub.API.STREAM.PURGE.TRELLIS_prod_audit",
            "$JS.hub.API.$KV.TRELLIS_prod_desired.edge",
        ] {
            assert!(!may(&granted, no), "{no}");
        }
    }
}
