//! What a link narrows its capability to: buckets, keys, subjects, hosts, methods. Pure checks on a
//! [`LinkDefinition`]; each refusal is `capability denied: …` with the link as its place.
//!
//! An empty list narrows nothing, but for outgoing HTTP, where hosts must be named.

use lattice_protocol::subject::{check_subject, matches};
use lattice_protocol::{ErrorCode, LinkDefinition, Report};

/// Longest bucket or container name, bytes.
pub(crate) const MAX_BUCKET_BYTES: usize = 200;
/// Longest key or object name, bytes.
pub(crate) const MAX_KEY_BYTES: usize = 1_024;
/// The bucket of a link that names none.
const DEFAULT_BUCKET: &str = "default";

fn denied(link: &LinkDefinition, what: &str) -> Report {
    Report::new(ErrorCode::CapabilityDenied, format!("capability denied: {what}"))
        .at(link)
        .hint("widen the link's grants if this is meant to be")
}

fn name(what: &str, text: &str, limit: usize) -> Result<(), Report> {
    if text.is_empty() || text.len() > limit || text.chars().any(char::is_control) {
        return Err(Report::new(ErrorCode::Name, format!("{what}: bad name"))
            .got(format!("{:?}", text.chars().take(80).collect::<String>()))
            .limit(format!("1..{limit} bytes without control characters")));
    }
    Ok(())
}

/// The bucket (or container) that a guest means by `asked`. The link's own `bucket` answers to
/// its name, to `default` and to no name at all; others must be granted, unless the link neither
/// names nor grants any.
pub(crate) fn bucket(link: &LinkDefinition, asked: &str) -> Result<String, Report> {
    let own = link.config.get("bucket").map(String::as_str);
    let granted = &link.grants.buckets;
    let wanted = match own {
        Some(own) if asked.is_empty() || asked == DEFAULT_BUCKET => own,
        None if asked.is_empty() => granted.first().map_or(DEFAULT_BUCKET, String::as_str),
        _ => asked,
    };
    name("bucket", wanted, MAX_BUCKET_BYTES)?;
    let free = own.is_none() && granted.is_empty();
    if free || own == Some(wanted) || granted.iter().any(|bucket| bucket == wanted) {
        Ok(wanted.to_owned())
    } else {
        Err(denied(link, &format!("bucket {wanted}")))
    }
}

/// May this key be touched? With prefixes granted, a key with dot segments is refused as well:
/// a store that reads keys as paths must not be led out of its prefix.
pub(crate) fn key(link: &LinkDefinition, key: &str) -> Result<(), Report> {
    name("key", key, MAX_KEY_BYTES)?;
    if !in_prefix(link, key) {
        return Err(denied(link, &format!("key {key}")));
    }
    Ok(())
}

/// Does the key begin with a granted prefix, without dot segments?
pub(crate) fn in_prefix(link: &LinkDefinition, key: &str) -> bool {
    let prefixes = &link.grants.key_prefixes;
    prefixes.is_empty()
        || (prefixes.iter().any(|prefix| key.starts_with(prefix.as_str()))
            && !key.split('/').any(|segment| matches!(segment, "." | "..")))
}

/// May anything be changed?
pub(crate) fn write(link: &LinkDefinition) -> Result<(), Report> {
    if link.grants.read_only { Err(denied(link, "the link is read-only")) } else { Ok(()) }
}

/// May a message go to this subject?
pub(crate) fn publish(link: &LinkDefinition, subject: &str) -> Result<(), Report> {
    check_subject(subject, false)?;
    let granted = &link.grants.publish;
    if granted.is_empty() || granted.iter().any(|pattern| matches(pattern, subject)) {
        Ok(())
    } else {
        Err(denied(link, &format!("publish {subject}")))
    }
}

/// May a message go to this subject, as the answer to a message that asked for one there? An inbox
/// is the asker's own and may be answered; any other reply subject is a publish like others, or a
/// message could make the actor publish where its sender may not.
pub(crate) fn reply(link: &LinkDefinition, subject: &str) -> Result<(), Report> {
    match subject.split_once('.') {
        Some((first, rest)) if first.starts_with("_INBOX") => check_subject(rest, false),
        _ => publish(link, subject),
    }
}

/// May a request go to this authority with this method?
pub(crate) fn request(link: &LinkDefinition, method: &str, uri: &http::Uri) -> Result<(), Report> {
    let methods = &link.grants.methods;
    if !methods.is_empty() && !methods.iter().any(|granted| granted.eq_ignore_ascii_case(method)) {
        return Err(denied(link, &format!("method {method}")));
    }
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    let port = uri.port_u16().or_else(|| match uri.scheme_str() {
        Some("http") => Some(80),
        Some("https") => Some(443),
        _ => None,
    });
    if link.grants.hosts.iter().any(|granted| host_matches(&granted.to_ascii_lowercase(), &host, port)) {
        Ok(())
    } else {
        Err(denied(link, &format!("host {}", uri.authority().map_or("", |authority| authority.as_str()))))
    }
}

/// `host`, `host:port`, `*.domain` or `*`; `private` names no host (it is about addresses).
fn host_matches(granted: &str, host: &str, port: Option<u16>) -> bool {
    let (name, wanted_port) = match granted.rsplit_once(':') {
        // `[::1]` and `::1` have colons of their own.
        Some((name, digits)) if !name.contains(':') || name.ends_with(']') => match digits.parse::<u16>() {
            Ok(number) => (name, Some(number)),
            Err(_) => (granted, None),
        },
        _ => (granted, None),
    };
    if wanted_port.is_some() && wanted_port != port {
        return false;
    }
    match name.strip_prefix("*.") {
        Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        None => name == "*" || (name == host && name != "private"),
    }
}

#[cfg(test)]
mod tests;
