//! What each kind of NATS user may publish to and subscribe to: templates over the lattice's own
//! subjects. `deny` wins over `allow`; what is in neither is denied.
//!
//! A host can say only its own heartbeat, and can write no desired state, decision, spec, verdict
//! or artifact, nor change or delete a stream. Buckets of guests cannot be told apart by NATS
//! wildcards (a bucket is one token), so a host may write `$KV` except for the lattice's own.

use crate::name::HostId;
use crate::subject::Subjects;

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

/// JetStream requests that change or remove what others rely on.
const DESTRUCTIVE: [&str; 6] = [
    "$JS.API.STREAM.DELETE.>",
    "$JS.API.STREAM.PURGE.>",
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
            self.calls(),
            self.events(),
            "$JS.API.>".to_owned(),
            "$JS.ACK.>".to_owned(),
            "$JS.FC.>".to_owned(),
            "$KV.>".to_owned(),
            // Its own answers: ordered consumers are flow-controlled through them.
            format!("{inbox_prefix}.>"),
        ];
        publish.extend_from_slice(applications);
        let mut publish_deny: Vec<String> = DESTRUCTIVE.iter().map(|subject| (*subject).to_owned()).collect();
        for bucket in self.control_buckets() {
            publish_deny.push(format!("$KV.{bucket}.>"));
        }
        publish_deny.push(format!("$O.{}.>", self.artifact_store()));
        let mut subscribe =
            vec![self.hosts_ping(), self.host_all(host), self.calls(), format!("{inbox_prefix}.>")];
        subscribe.extend_from_slice(applications);
        Permissions { publish, publish_deny, subscribe, inbox_prefix }
    }

    /// Of controllers and of people who administer: everything but the server's own account.
    #[must_use]
    pub fn operator_permissions(&self, user: &str) -> Permissions {
        let everything = vec![">".to_owned()];
        Permissions {
            publish: everything.clone(),
            publish_deny: vec!["$SYS.>".to_owned()],
            subscribe: everything,
            inbox_prefix: format!("_INBOX_{}", crate::subject::encode_token(user).replace('=', "_")),
        }
    }

    fn control_buckets(&self) -> [String; 4] {
        [self.desired_bucket(), self.placement_bucket(), self.spec_bucket(), self.observed_bucket()]
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
            "edge.alert.a",
            "$KV.TRELLIS_prod_kv_edge_data.sensor-001",
            "$JS.API.STREAM.INFO.KV_TRELLIS_prod_hostspec",
        ] {
            assert!(may(yes), "{yes}");
        }
        for no in [
            "trellis.prod.hb.NEDGE02",
            "trellis.prod.host.NEDGE02.probe",
            "trellis.prod.host.NEDGE01.stop",
            "trellis.other.rpc.actor.a.b",
            "cloud.cmd.a",
            "$KV.TRELLIS_prod_hostspec.NEDGE01",
            "$KV.TRELLIS_prod_desired.edge",
            "$O.TRELLIS_prod_artifacts.C.x",
            "$JS.API.STREAM.DELETE.KV_TRELLIS_prod_hostspec",
            "$SYS.REQ.SERVER.PING",
        ] {
            assert!(!may(no), "{no}");
        }
    }
}
