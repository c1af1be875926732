//! Every NATS subject, stream, bucket and queue-group name that Trellis uses; no other file has
//! one (I4). Names are single tokens by construction ([`crate::name`]), so nothing here can be
//! widened by data; text that comes from guests passes [`check_subject`].

mod device;
mod shards;

pub use device::DeviceCell;

use crate::error::{ErrorCode, Report};
use crate::name::{ActorId, DomainName, HostId, KindName, LatticeName};

/// Longest subject, bytes: the server's control line also carries reply and sizes.
pub const MAX_SUBJECT_BYTES: usize = 1_024;
/// Most tokens in a subject.
pub const MAX_SUBJECT_TOKENS: usize = 32;

/// Asked of every server, as a user of the system account: from now on this account is what its new
/// token says. Each server answers for itself.
#[must_use]
pub fn account_update(account: &str) -> String {
    format!("$SYS.REQ.ACCOUNT.{account}.CLAIMS.UPDATE")
}

/// Subjects and buckets of one lattice.
#[derive(Debug, Clone)]
pub struct Subjects {
    lattice: LatticeName,
    /// Where its shards are, if not in the lattice's own domain; see [`Self::in_domain`].
    domain: Option<DomainName>,
}

impl Subjects {
    /// Of this lattice.
    #[must_use]
    pub fn new(lattice: LatticeName) -> Self {
        Self { lattice, domain: None }
    }
    fn in_lattice(&self, rest: std::fmt::Arguments<'_>) -> String {
        format!("trellis.{}.{rest}", self.lattice)
    }
    /// A host's heartbeats.
    #[must_use]
    pub fn heartbeat(&self, host: &HostId) -> String {
        self.in_lattice(format_args!("hb.{host}"))
    }
    /// Everybody's heartbeats.
    #[must_use]
    pub fn heartbeats(&self) -> String {
        self.in_lattice(format_args!("hb.*"))
    }
    /// Requests to one host (`inventory`, `stop`, `probe`).
    #[must_use]
    pub fn host(&self, host: &HostId, operation: &str) -> String {
        self.in_lattice(format_args!("host.{host}.{operation}"))
    }
    /// What a host subscribes to for requests to it.
    #[must_use]
    pub fn host_all(&self, host: &HostId) -> String {
        self.in_lattice(format_args!("host.{host}.*"))
    }
    /// A question to every host at once; each answers with its heartbeat.
    #[must_use]
    pub fn hosts_ping(&self) -> String {
        self.in_lattice(format_args!("hosts.ping"))
    }
    /// How far are the regions? Hosts that have one subscribe in their region's queue group
    /// ([`region_group`]), so that one question has one answer from each region.
    #[must_use]
    pub fn regions_probe(&self) -> String {
        self.in_lattice(format_args!("regions.probe"))
    }
    /// One operation of the controllers' API, asked in a role by a user: both are tokens of their own,
    /// so that a user can be held to its role and its name, and a controller can believe them.
    #[must_use]
    pub fn api(&self, role: &str, user: &str, operation: &str) -> String {
        let (role, user, operation) = (encode_token(role), encode_token(user), encode_token(operation));
        self.in_lattice(format_args!("api.{role}.{user}.{operation}"))
    }
    /// Every operation that a user may ask for in a role.
    #[must_use]
    pub fn api_of(&self, role: &str, user: &str) -> String {
        let (role, user) = (encode_token(role), encode_token(user));
        self.in_lattice(format_args!("api.{role}.{user}.*"))
    }
    /// Every operation of everybody: what controllers subscribe to, in [`API_GROUP`].
    #[must_use]
    pub fn api_all(&self) -> String {
        self.in_lattice(format_args!("api.*.*.*"))
    }
    /// Role, user and operation of a request to [`Self::api`].
    #[must_use]
    pub fn parse_api(&self, subject: &str) -> Option<(String, String, String)> {
        let rest = subject.strip_prefix(&self.in_lattice(format_args!("api.")))?;
        let mut tokens = rest.split('.').map(decode_token);
        let parsed = (tokens.next()??, tokens.next()??, tokens.next()??);
        tokens.next().is_none().then_some(parsed)
    }
    /// Calls of an actor, whoever runs it (a queue group).
    #[must_use]
    pub fn actor_call(&self, actor: &ActorId) -> String {
        self.in_lattice(format_args!("rpc.actor.{}.{}", actor.app, actor.name))
    }
    /// Calls of any actor.
    #[must_use]
    pub fn actor_calls(&self) -> String {
        self.in_lattice(format_args!("rpc.actor.>"))
    }
    /// Calls of persistent actors of a kind, whoever runs it (a queue group).
    #[must_use]
    pub fn kind_call(&self, kind: &KindName) -> String {
        self.in_lattice(format_args!("rpc.kind.{kind}"))
    }
    /// Calls of persistent actors of any kind.
    #[must_use]
    pub fn kind_calls(&self) -> String {
        self.in_lattice(format_args!("rpc.kind.*"))
    }
    /// Calls of actors of a kind whose shard this host owns.
    #[must_use]
    pub fn owner_call(&self, kind: &KindName, host: &HostId) -> String {
        self.in_lattice(format_args!("rpc.shard.{kind}.{host}"))
    }
    /// Calls of actors of any kind whose shard this host owns.
    #[must_use]
    pub fn owner_calls(&self, host: &HostId) -> String {
        self.in_lattice(format_args!("rpc.shard.*.{host}"))
    }
    /// Calls of a provider's process, by its [`crate::provider::process_name`] (a queue group).
    #[must_use]
    pub fn provider_call(&self, process: &str) -> String {
        self.in_lattice(format_args!("rpc.prov.{process}"))
    }
    /// Which actors a provider's process shall call, and what it is: every process of the name gets
    /// each of these requests.
    #[must_use]
    pub fn provider_links(&self, process: &str) -> String {
        self.in_lattice(format_args!("rpc.links.{process}"))
    }
    /// One kind of CloudEvent of one origin (a host, a controller, a person's user): the origin is
    /// a token of its own, so that a user can be held to its own name.
    #[must_use]
    pub fn event(&self, origin: &str, kind: &str) -> String {
        let token = |text: &str| -> String {
            text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
        };
        self.in_lattice(format_args!("evt.{}.{}", token(origin), token(kind)))
    }
    /// Every CloudEvent of one host.
    #[must_use]
    pub fn events_of(&self, host: &HostId) -> String {
        self.in_lattice(format_args!("evt.{host}.*"))
    }
    /// Every CloudEvent.
    #[must_use]
    pub fn events(&self) -> String {
        self.in_lattice(format_args!("evt.>"))
    }
    /// The audit stream over [`Self::events`].
    #[must_use]
    pub fn audit_stream(&self) -> String {
        format!("TRELLIS_{}_audit", self.lattice)
    }
    /// KV bucket: desired applications, one key each.
    #[must_use]
    pub fn desired_bucket(&self) -> String {
        format!("TRELLIS_{}_desired", self.lattice)
    }
    /// KV bucket: placements, one key per application.
    #[must_use]
    pub fn placement_bucket(&self) -> String {
        format!("TRELLIS_{}_placement", self.lattice)
    }
    /// KV bucket: signed host specs, one key per host.
    #[must_use]
    pub fn spec_bucket(&self) -> String {
        format!("TRELLIS_{}_hostspec", self.lattice)
    }
    /// KV bucket: what controllers concluded, one key per host.
    #[must_use]
    pub fn observed_bucket(&self) -> String {
        format!("TRELLIS_{}_observed", self.lattice)
    }
    /// KV bucket: sealed secrets, one key each. Administrators write it; only the hosts that an
    /// entry is sealed to can open it.
    #[must_use]
    pub fn secrets_bucket(&self) -> String {
        format!("TRELLIS_{}_secrets", self.lattice)
    }
    /// KV bucket: people who may use the controllers' API, one key each: their public key.
    #[must_use]
    pub fn users_bucket(&self) -> String {
        format!("TRELLIS_{}_users", self.lattice)
    }
    /// KV bucket: nonces of changes that came with a signed token; each is used once.
    #[must_use]
    pub fn nonces_bucket(&self) -> String {
        format!("TRELLIS_{}_nonces", self.lattice)
    }
    /// KV bucket: what is true of the lattice as a whole; see [`crate::incarnation`].
    #[must_use]
    pub fn lattice_bucket(&self) -> String {
        format!("TRELLIS_{}_lattice", self.lattice)
    }
    /// Object store of artifacts, by digest.
    #[must_use]
    pub fn artifact_store(&self) -> String {
        format!("TRELLIS_{}_artifacts", self.lattice)
    }
    /// KV bucket behind a key-value link: never a shared one between applications.
    #[must_use]
    pub fn guest_bucket(&self, app: &crate::name::AppName, bucket: &str) -> String {
        format!("TRELLIS_{}_kv_{app}_{}", self.lattice, encode_token(bucket))
    }
    /// Calls of any actor or provider.
    #[must_use]
    pub fn calls(&self) -> String {
        self.in_lattice(format_args!("rpc.>"))
    }
}

/// The queue group of everyone who serves one actor or provider.
pub const SERVE_GROUP: &str = "serve";

/// The queue group of the controllers that answer the API.
pub const API_GROUP: &str = "api";

/// The queue group of the hosts of one region that say how far it is.
#[must_use]
pub fn region_group(region: &str) -> String {
    format!("region-{}", encode_token(region))
}

/// One token from any text: unreserved bytes as they are, others as `=XX`.
#[must_use]
pub fn encode_token(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "={byte:02X}");
        }
        out
    })
}

/// The inverse of [`encode_token`]; `None` when the token is not one that it makes.
#[must_use]
pub fn decode_token(token: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.as_bytes().iter();
    while let Some(&byte) = rest.next() {
        if byte != b'=' {
            bytes.push(byte);
            continue;
        }
        let pair = [*rest.next()?, *rest.next()?];
        bytes.push(u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?);
    }
    let text = String::from_utf8(bytes).ok()?;
    (encode_token(&text) == token).then_some(text)
}

/// Is this a subject that a guest may name at all? Literal tokens only when `wildcards` is false;
/// never the server's own (`$…`) nor an inbox, nor the lattice's control subjects.
///
/// # Errors
/// `E_NAME` for a shape, `E_CAPABILITY_DENIED` for a reserved subject.
pub fn check_subject(subject: &str, wildcards: bool) -> Result<(), Report> {
    let bad = |what: &str| {
        Report::new(ErrorCode::Name, what.to_owned()).got(subject.chars().take(80).collect::<String>())
    };
    if subject.len() > MAX_SUBJECT_BYTES || subject.split('.').count() > MAX_SUBJECT_TOKENS {
        return Err(Report::new(ErrorCode::Name, "subject too long")
            .got(format!("{} bytes, {} tokens", subject.len(), subject.split('.').count()))
            .limit(format!("{MAX_SUBJECT_BYTES} bytes, {MAX_SUBJECT_TOKENS} tokens")));
    }
    let mut tokens = subject.split('.').peekable();
    while let Some(token) = tokens.next() {
        let last = tokens.peek().is_none();
        let wild = token == "*" || (token == ">" && last);
        if wild && wildcards {
            continue;
        }
        if token.is_empty() || token.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'*' || b == b'>') {
            return Err(bad("subject: want dot-separated tokens without spaces or wildcards"));
        }
    }
    let first = subject.split('.').next().unwrap_or_default();
    if first.starts_with('$')
        || first.starts_with("_INBOX")
        || first == "trellis"
        || (wildcards && matches!(first, "*" | ">"))
    {
        return Err(Report::new(
            ErrorCode::CapabilityDenied,
            format!("capability denied: {} {subject}", if wildcards { "subscribe" } else { "publish" }),
        )
        .hint("name your own subjects; those of the server and of the lattice are reserved"));
    }
    Ok(())
}

/// Does a subject match a pattern with NATS wildcards?
#[must_use]
pub fn matches(pattern: &str, subject: &str) -> bool {
    let mut pattern = pattern.split('.');
    let mut subject = subject.split('.');
    loop {
        match (pattern.next(), subject.next()) {
            (Some(">"), Some(_)) => return true,
            (Some("*"), Some(_)) => {}
            (Some(want), Some(have)) if want == have => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn guests_cannot_name_reserved_or_broken_subjects() {
        for bad in [
            "",
            ".",
            "a..b",
            "a.*",
            "a.>",
            ">",
            "a b",
            "a\r\nPUB x",
            "$SYS.a",
            "$JS.API.x",
            "_INBOX.x",
            "_INBOX_admin.x",
            "trellis.a.rpc",
        ] {
            assert!(check_subject(bad, false).is_err(), "{bad:?}");
        }
        assert!(check_subject(&"a.".repeat(40), false).unwrap_err().what.contains("too long"));
        for good in ["edge.sensor.ap-east-1", "a"] {
            assert!(check_subject(good, false).is_ok(), "{good}");
        }
        assert!(check_subject("edge.sensor.*", true).is_ok());
        assert!(check_subject(">", true).is_err());
        assert!(check_subject("a.>.b", true).is_err());
    }

    #[test]
    fn patterns_match_as_nats_matches() {
        for (pattern, subject, yes) in [
            ("edge.sensor.*", "edge.sensor.a", true),
            ("edge.sensor.*", "edge.sensor.a.b", false),
            ("edge.>", "edge.sensor.a", true),
            ("edge.>", "edge", false),
            ("edge", "edge", true),
        ] {
            assert_eq!(matches(pattern, subject), yes, "{pattern} {subject}");
        }
    }

    #[test]
    fn an_api_subject_reads_back_whatever_the_names_hold() {
        let subjects = Subjects::new("prod".parse().unwrap());
        for user in ["bob", "a.b", "*", "ü x", ">"] {
            let subject = subjects.api("viewer", user, "app.list");
            assert!(matches(&subjects.api_all(), &subject), "{subject}");
            assert!(matches(&subjects.api_of("viewer", user), &subject), "{subject}");
            let parsed = subjects.parse_api(&subject).unwrap();
            assert_eq!(parsed, ("viewer".to_owned(), user.to_owned(), "app.list".to_owned()));
        }
        for other in [
            "trellis.prod.api.viewer.bob",
            "trellis.prod.api.a.b.c.d",
            "trellis.x.api.a.b.c",
            "trellis.prod.api.=zz.b.c",
        ] {
            assert_eq!(subjects.parse_api(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn an_encoded_token_is_one_token_and_reads_back(text in ".{0,80}") {
            let token = encode_token(&text);
            prop_assert!(!token.contains(['.', '*', '>', ' ', '\r', '\n', '/', '\0']));
            prop_assert_eq!(decode_token(&token), Some(text));
        }
    }
}
