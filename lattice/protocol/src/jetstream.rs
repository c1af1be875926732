//! Subjects of NATS's own protocols, as every NATS client has them: JetStream's API, key-value
//! buckets, acknowledgements. What they carry is `lattice/io`'s business.

use crate::name::DomainName;

/// First token of answer subjects unless a user has one of its own.
pub const INBOX: &str = "_INBOX";

/// Prefix of JetStream's API: that of the server's own domain, or of another.
#[must_use]
pub fn api(domain: Option<&DomainName>) -> String {
    match domain {
        Some(domain) => format!("$JS.{domain}.API"),
        None => "$JS.API".to_owned(),
    }
}

/// What the subject of a request to a domain becomes at that domain's own servers, which name it so when they
/// refuse it; none for a subject that is no such request.
#[must_use]
pub fn at_home(domain: &DomainName, subject: &str) -> Option<String> {
    let rest = subject.strip_prefix(&api(Some(domain)))?.strip_prefix('.')?;
    Some(if rest.starts_with("$KV.") { rest.to_owned() } else { format!("{}.{rest}", api(None)) })
}

/// What the subjects of an object store's chunks and records begin with.
#[must_use]
pub fn object_prefix(store: &str) -> String {
    format!("$O.{store}.")
}

/// The stream behind an object store.
#[must_use]
pub fn object_stream(store: &str) -> String {
    format!("OBJ_{store}")
}

/// The stream behind a key-value bucket.
#[must_use]
pub fn kv_stream(bucket: &str) -> String {
    format!("KV_{bucket}")
}

/// What the subjects of a bucket's keys begin with, dot included.
#[must_use]
pub fn kv_prefix(bucket: &str) -> String {
    format!("$KV.{bucket}.")
}

/// The subject of a key.
#[must_use]
pub fn kv_key(bucket: &str, key: &str) -> String {
    format!("$KV.{bucket}.{key}")
}

/// The subjects of all keys of a bucket.
#[must_use]
pub fn kv_all(bucket: &str) -> String {
    format!("$KV.{bucket}.>")
}

/// Where a message that a consumer delivered stands, as its acknowledgement subject says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// Which delivery of it this is, from 1.
    pub attempt: u32,
    /// Its place in the stream.
    pub stream_sequence: u64,
    /// Its place among what the consumer delivered.
    pub consumer_sequence: u64,
    /// How many are still to come.
    pub pending: u64,
}

impl Delivered {
    /// Reads `$JS.ACK.<stream>.<consumer>.<attempt>.<stream seq>.<consumer seq>.<time>.<pending>`, or
    /// the longer form with `<domain>.<account>` in front and perhaps a token behind (ADR-15).
    #[must_use]
    pub fn parse(subject: &str) -> Option<Self> {
        let tokens: Vec<&str> = subject.strip_prefix("$JS.ACK.")?.split('.').collect();
        let fields = if tokens.len() >= 9 { tokens.get(2..)? } else { tokens.get(..)? };
        Some(Self {
            attempt: fields.get(2)?.parse().ok()?,
            stream_sequence: fields.get(3)?.parse().ok()?,
            consumer_sequence: fields.get(4)?.parse().ok()?,
            pending: fields.get(6)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_to_a_domain_is_known_by_what_it_becomes_there() {
        let factory: DomainName = "factory".parse().unwrap();
        for (subject, home) in [
            ("$JS.factory.API.STREAM.INFO.S", Some("$JS.API.STREAM.INFO.S")),
            ("$JS.factory.API.$KV.b.k", Some("$KV.b.k")),
            ("$JS.factory2.API.INFO", None),
            ("$JS.API.INFO", None),
            ("$KV.b.k", None),
        ] {
            assert_eq!(at_home(&factory, subject).as_deref(), home, "{subject}");
        }
    }

    #[test]
    fn both_forms_of_an_acknowledgement_subject_are_read() {
        let expected = Delivered { attempt: 1, stream_sequence: 42, consumer_sequence: 7, pending: 3 };
        for subject in [
            "$JS.ACK.KV_b.name.1.42.7.1700000000000000000.3",
            "$JS.ACK.hub.ACCOUNTHASH.KV_b.name.1.42.7.1700000000000000000.3",
            "$JS.ACK._.ACCOUNTHASH.KV_b.name.1.42.7.1700000000000000000.3.token",
        ] {
            assert_eq!(Delivered::parse(subject), Some(expected), "{subject}");
        }
        for bad in ["$JS.ACK.short", "other", "$JS.ACK.s.c.x.42.7.1.3"] {
            assert_eq!(Delivered::parse(bad), None, "{bad}");
        }
    }
}
