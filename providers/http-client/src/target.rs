//! Where a request goes, and whether its link allows that. Pure.

use crate::address::special;
use http::{Method, Uri};
use providers_sdk::http::Allowed;
use providers_sdk::{ProviderError, ProviderErrorKind};
use std::net::IpAddr;
use std::str::FromStr;

/// The word that admits addresses that are not public.
const PRIVATE: &str = "private";

/// Scheme, host and port, in normal form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    /// `https`.
    pub(crate) tls: bool,
    /// Lower case, without a last dot; an IPv6 address without brackets.
    pub(crate) host: String,
    /// As given, or the scheme's own.
    pub(crate) port: u16,
}

fn invalid(what: impl std::fmt::Display) -> ProviderError {
    ProviderError::new(ProviderErrorKind::Invalid, format!("outgoing HTTP: {what}"))
}

fn denied(what: impl std::fmt::Display) -> ProviderError {
    ProviderError::new(ProviderErrorKind::Denied, format!("capability denied: {what}"))
}

impl Target {
    /// Of a request's URI.
    ///
    /// # Errors
    /// Not an absolute HTTP URL, or one with user information.
    pub(crate) fn of(uri: &Uri) -> Result<Self, ProviderError> {
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(invalid("only http and https are sent; give an absolute URL")),
        };
        let authority = uri.authority().ok_or_else(|| invalid("no host in the URL"))?;
        if authority.as_str().contains('@') {
            return Err(invalid("user information in the URL; send an Authorization header"));
        }
        // Not `authority.port()`: it takes a number that is too large for none.
        let after_host = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
        let port = match after_host.strip_prefix(':') {
            None if tls => 443,
            None => 80,
            Some(port) => port.parse().map_err(|_| invalid("port out of range (limit 65535)"))?,
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if host.is_empty() || port == 0 {
            return Err(invalid("no host or no port in the URL"));
        }
        Ok(Self { tls, host, port })
    }

    /// The address that the host is, if it is none that must be resolved. Old forms (`0x7f.1`,
    /// `2130706433`) are names to us; resolvers that read them as addresses do not help, because
    /// what they give is checked.
    pub(crate) fn literal(&self) -> Option<IpAddr> {
        IpAddr::from_str(&self.host).ok()
    }

    /// As the `Host` header says it.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == if self.tls { 443 } else { 80 } { host } else { format!("{host}:{}", self.port) }
    }

    /// What a link allows to be sent there.
    ///
    /// # Errors
    /// `capability denied: …`.
    pub(crate) fn check(&self, allowed: &Allowed, method: &Method) -> Result<Reach, ProviderError> {
        if method == Method::CONNECT {
            return Err(invalid("method CONNECT is not sent"));
        }
        let methods = &allowed.methods;
        if !methods.is_empty() && !methods.iter().any(|name| name.eq_ignore_ascii_case(method.as_str())) {
            return Err(denied(format!("method {method}")));
        }
        let mut matching = allowed.hosts.iter().filter(|pattern| self.matches(pattern)).peekable();
        if matching.peek().is_none() {
            return Err(denied(format!("host {}", self.authority())));
        }
        let literal = self.literal();
        let named = literal.is_some() && matching.any(|pattern| !pattern.starts_with('*'));
        let private = allowed.hosts.iter().any(|word| word == PRIVATE);
        Ok(if named || private { Reach::Everywhere } else { Reach::Public })
    }

    /// `host`, `host:port`, `*.domain`, `*.domain:port`, `*`.
    fn matches(&self, pattern: &str) -> bool {
        let pattern = pattern.to_ascii_lowercase();
        let (name, port) = match pattern.rsplit_once(':') {
            // Bare IPv6 addresses have colons of their own.
            Some((name, port)) if !name.contains(':') || name.ends_with(']') => match port.parse::<u16>() {
                Ok(port) => (name, Some(port)),
                Err(_) => return false,
            },
            _ => (pattern.as_str(), None),
        };
        if port.is_some_and(|port| port != self.port) || name == PRIVATE {
            return false;
        }
        if name == "*" {
            return true;
        }
        if let Some(domain) = name.strip_prefix("*.") {
            return self
                .host
                .strip_suffix(domain)
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|labels| !labels.is_empty() && !domain.is_empty());
        }
        let name = name.trim_start_matches('[').trim_end_matches(']');
        match (IpAddr::from_str(name), self.literal()) {
            (Ok(one), Some(other)) => one == other,
            (Err(_), None) => name == self.host,
            _ => false,
        }
    }
}

/// Which addresses a request may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Public ones.
    Public,
    /// Any: the link says `private`, or names this very address.
    Everywhere,
}

impl Reach {
    /// Those of the addresses that may be connected to.
    ///
    /// # Errors
    /// None may: `capability denied`, with what kind of address it is.
    pub(crate) fn admit(self, host: &str, addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, ProviderError> {
        if self == Self::Everywhere {
            return Ok(addresses);
        }
        let reason = addresses.iter().find_map(|address| special(*address));
        let public: Vec<IpAddr> = addresses.into_iter().filter(|one| special(*one).is_none()).collect();
        match reason {
            Some(reason) if public.is_empty() => Err(denied(format!(
                "host {host}: its address is not public ({reason}); add \"private\" to the link's hosts if this is meant to be"
            ))),
            _ => Ok(public),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uri: &str) -> Result<Target, ProviderError> {
        Target::of(&uri.parse().unwrap())
    }

    fn reach(uri: &str, hosts: &[&str]) -> Option<Reach> {
        let allowed = Allowed { hosts: hosts.iter().map(|host| (*host).into()).collect(), methods: vec![] };
        target(uri).unwrap().check(&allowed, &Method::GET).ok()
    }

    #[test]
    fn hosts_match_as_a_link_names_them() {
        let public = Some(Reach::Public);
        assert_eq!(reach("https://API.example.com./x", &["api.Example.com"]), public);
        assert_eq!(reach("https://api.example.com/x", &["api.example.com:443"]), public);
        assert_eq!(reach("http://api.example.com/x", &["api.example.com:443"]), None);
        assert_eq!(reach("https://a.b.example.com/", &["*.example.com"]), public);
        assert_eq!(reach("https://example.com/", &["*.example.com"]), None);
        assert_eq!(reach("https://badexample.com/", &["*.example.com"]), None);
        assert_eq!(reach("https://example.com.evil/", &["example.com"]), None);
        assert_eq!(reach("https://anything/", &["*"]), public);
        assert_eq!(reach("https://anything/", &[]), None);
        assert_eq!(reach("https://private/", &["private"]), None);
        assert_eq!(reach("https://anything/", &["*", "private"]), Some(Reach::Everywhere));
        assert_eq!(reach("http://a/", &["a:b"]), None);
    }

    #[test]
    fn only_an_address_that_is_named_itself_may_be_private() {
        let everywhere = Some(Reach::Everywhere);
        assert_eq!(reach("http://127.0.0.1:8080/", &["127.0.0.1:8080"]), everywhere);
        assert_eq!(reach("http://127.0.0.1:8081/", &["127.0.0.1:8080"]), None);
        assert_eq!(reach("http://[::1]/", &["[::1]:80"]), everywhere);
        assert_eq!(reach("http://[::1]/", &["::1"]), everywhere);
        assert_eq!(reach("http://[0:0:0::1]/", &["::1"]), everywhere);
        assert_eq!(reach("http://127.0.0.1/", &["*"]), Some(Reach::Public));
        assert_eq!(reach("http://localhost/", &["localhost"]), Some(Reach::Public));
        assert_eq!(reach("http://127.1/", &["127.0.0.1"]), None, "a name, not an address");
    }

    #[test]
    fn addresses_that_are_not_public_are_left_out_and_none_left_is_a_denial() {
        let all = |list: &[&str]| list.iter().map(|one| one.parse().unwrap()).collect::<Vec<IpAddr>>();
        let mixed = all(&["10.0.0.1", "1.1.1.1", "64:ff9b::101:101"]);
        assert_eq!(Reach::Public.admit("h", mixed.clone()).unwrap(), all(&["1.1.1.1"]));
        assert_eq!(Reach::Everywhere.admit("h", mixed.clone()).unwrap(), mixed);
        let denied = Reach::Public.admit("h", all(&["169.254.169.254"])).unwrap_err();
        assert_eq!(denied.kind, ProviderErrorKind::Denied);
        assert!(
            denied.message.starts_with("capability denied: host h: ")
                && denied.message.contains("link-local")
        );
    }

    #[test]
    fn what_is_no_plain_http_url_is_refused() {
        for uri in ["ftp://a/", "/path", "http://u:p@a/", "http://a:99999/", "http://a:0/", "a:80"] {
            assert!(uri.parse::<Uri>().is_err() || target(uri).is_err(), "{uri}");
        }
        assert_eq!(target("http://a:8080/x").unwrap().authority(), "a:8080");
        assert_eq!(target("https://[2001:DB8::1]/x").unwrap().authority(), "[2001:db8::1]");
        let allowed = Allowed { hosts: vec!["a".into()], methods: vec!["get".into()] };
        let a = target("http://a/").unwrap();
        assert!(a.check(&allowed, &Method::GET).is_ok());
        assert_eq!(a.check(&allowed, &Method::POST).unwrap_err().message, "capability denied: method POST");
        assert!(a.check(&Allowed { methods: vec![], ..allowed }, &Method::CONNECT).is_err());
    }
}
