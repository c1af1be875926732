//! Which actor answers: an immutable table, swapped whole, read without a lock.
//!
//! A named host wins over any host, then the longest path prefix on segment borders. A route in
//! force is a [`Gate`] around its handler: it counts the requests in hand, so that it can be
//! drained, and refuses new ones once draining has begun.

use http::Uri;
use providers_sdk::http::{HttpHandler, RouteRequest};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Routes that one listener holds.
const MAX_ROUTES: usize = 10_000;

/// Why a route was not added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Another route has the same host and path.
    #[error(
        "route: host {host:?} with path {path:?} is taken by another link; give this one its own host or path"
    )]
    Taken {
        /// Host; `*` is every host.
        host: String,
        /// Prefix.
        path: String,
    },
    /// The path is none.
    #[error("route: path {0:?}: not an absolute path in normal form; write it like /api/v1")]
    Path(String),
    /// The host is none.
    #[error("route: host {0:?}: not a host name; write it without port and scheme")]
    Host(String),
    /// Too many.
    #[error("route: too many on one listener (limit {MAX_ROUTES}); use another port")]
    TooMany,
}

/// A handler with a count of what it has in hand.
pub struct Gate {
    /// Who answers.
    pub handler: Arc<dyn HttpHandler>,
    /// Largest request body.
    pub max_body_bytes: u64,
    in_hand: AtomicUsize,
    closed: AtomicBool,
    idle: Notify,
}

impl Gate {
    /// Takes one request in; none when draining.
    pub fn enter(self: &Arc<Self>) -> Option<Entered> {
        // Counted before looking: whoever closes then either sees the count or is seen.
        self.in_hand.fetch_add(1, Ordering::SeqCst);
        let entered = Entered(Arc::clone(self));
        (!self.closed.load(Ordering::SeqCst)).then_some(entered)
    }

    /// Refuses new requests and waits until none is in hand.
    pub async fn drain(&self) {
        self.closed.store(true, Ordering::SeqCst);
        loop {
            let idle = self.idle.notified();
            if self.in_hand.load(Ordering::SeqCst) == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// One request in hand; dropping it lets it go.
pub struct Entered(Arc<Gate>);

impl std::ops::Deref for Entered {
    type Target = Gate;
    fn deref(&self) -> &Gate {
        &self.0
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if self.0.in_hand.fetch_sub(1, Ordering::SeqCst) == 1 && self.0.closed.load(Ordering::SeqCst) {
            self.0.idle.notify_waiters();
        }
    }
}

/// Prefixes of one host, the longest first.
type Prefixes = Vec<(Box<str>, Arc<Gate>)>;

/// All routes of one listener.
#[derive(Clone, Default)]
pub struct Table {
    named: BTreeMap<Box<str>, Prefixes>,
    any: Prefixes,
}

fn normal_host(host: &str) -> Result<Box<str>, RouteError> {
    let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let good = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.len() <= 255 && host.bytes().all(named),
    };
    let lower = host.trim_end_matches('.').to_ascii_lowercase();
    if good && !lower.is_empty() { Ok(lower.into()) } else { Err(RouteError::Host(host.to_owned())) }
}

/// Without its last slash; the root is the empty prefix.
fn normal_prefix(path: &str) -> Result<&str, RouteError> {
    let refused = || RouteError::Path(path.to_owned());
    if path.is_empty() || path == "/" {
        return Ok("");
    }
    let prefix = path.strip_suffix('/').unwrap_or(path);
    let inner = prefix.strip_prefix('/').ok_or_else(refused)?;
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'\\');
    let good = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(plain);
    if inner.split('/').all(good) { Ok(prefix) } else { Err(refused()) }
}

fn insert(prefixes: &mut Prefixes, prefix: &str, gate: &Arc<Gate>) -> bool {
    if prefixes.iter().any(|(other, _)| **other == *prefix) {
        return false;
    }
    let at = prefixes.partition_point(|(other, _)| other.len() >= prefix.len());
    prefixes.insert(at, (prefix.into(), Arc::clone(gate)));
    true
}

fn longest<'table>(prefixes: &'table Prefixes, path: &str) -> Option<&'table Arc<Gate>> {
    let covers =
        |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    prefixes.iter().find(|(prefix, _)| covers(prefix)).map(|(_, gate)| gate)
}

impl Table {
    /// This table with one route more, and the gate that stands for it.
    ///
    /// # Errors
    /// [`RouteError`]; nothing is added then.
    pub fn with(
        &self,
        request: &RouteRequest,
        handler: Arc<dyn HttpHandler>,
    ) -> Result<(Self, Arc<Gate>), RouteError> {
        let prefix = normal_prefix(&request.path)?;
        let hosts = request.hosts.iter().map(|host| normal_host(host)).collect::<Result<Vec<_>, _>>()?;
        let gate = Arc::new(Gate {
            handler,
            max_body_bytes: request.max_body_bytes,
            in_hand: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            idle: Notify::new(),
        });
        if self.len() + hosts.len().max(1) > MAX_ROUTES {
            return Err(RouteError::TooMany);
        }
        let taken = |host: &str| RouteError::Taken { host: host.to_owned(), path: request.path.clone() };
        let mut next = self.clone();
        if hosts.is_empty() && !insert(&mut next.any, prefix, &gate) {
            return Err(taken("*"));
        }
        for host in hosts {
            if !insert(next.named.entry(host.clone()).or_default(), prefix, &gate) {
                return Err(taken(&host));
            }
        }
        Ok((next, gate))
    }

    /// This table without what leads to this gate.
    #[must_use]
    pub fn without(&self, gate: &Arc<Gate>) -> Self {
        let mut next = self.clone();
        next.any.retain(|(_, other)| !Arc::ptr_eq(other, gate));
        next.named.values_mut().for_each(|prefixes| prefixes.retain(|(_, other)| !Arc::ptr_eq(other, gate)));
        next.named.retain(|_, prefixes| !prefixes.is_empty());
        next
    }

    fn len(&self) -> usize {
        self.any.len() + self.named.values().map(Vec::len).sum::<usize>()
    }

    /// The route for a URI that has an authority and a path in normal form.
    #[must_use]
    pub fn find(&self, uri: &Uri) -> Option<&Arc<Gate>> {
        if !self.named.is_empty()
            && let Some(host) = uri.host()
        {
            let host = host.strip_suffix('.').unwrap_or(host);
            let prefixes = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
                self.named.get(host.to_ascii_lowercase().as_str())
            } else {
                self.named.get(host)
            };
            if let Some(gate) = prefixes.and_then(|prefixes| longest(prefixes, uri.path())) {
                return Some(gate);
            }
        }
        longest(&self.any, uri.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use providers_sdk::BoxFuture;
    use providers_sdk::http::{Body, full};

    struct Nobody;
    impl HttpHandler for Nobody {
        fn handle(&self, _: http::Request<Body>) -> BoxFuture<'_, http::Response<Body>> {
            Box::pin(async { http::Response::new(full("")) })
        }
    }

    fn route(hosts: &[&str], path: &str, max_body_bytes: u64) -> RouteRequest {
        RouteRequest {
            hosts: hosts.iter().map(|host| (*host).into()).collect(),
            path: path.into(),
            max_body_bytes,
        }
    }

    fn add(table: &mut Table, hosts: &[&str], path: &str, mark: u64) -> Arc<Gate> {
        let (next, gate) = table.with(&route(hosts, path, mark), Arc::new(Nobody)).unwrap();
        *table = next;
        gate
    }

    #[test]
    fn a_named_host_wins_then_the_longest_path_on_segment_borders() {
        let mut table = Table::default();
        add(&mut table, &[], "/", 1);
        add(&mut table, &[], "/api", 2);
        add(&mut table, &[], "/api/v1/", 3);
        add(&mut table, &["Shop.example", "[::1]"], "/api", 4);
        let mark = |uri: &str| table.find(&uri.parse().unwrap()).map(|gate| gate.max_body_bytes);
        assert_eq!(mark("http://a/"), Some(1));
        assert_eq!(mark("http://a/apix"), Some(1));
        assert_eq!(mark("http://a/api"), Some(2));
        assert_eq!(mark("http://a/api/v2"), Some(2));
        assert_eq!(mark("http://a/api/v1"), Some(3));
        assert_eq!(mark("http://a/api/v1/x?y"), Some(3));
        assert_eq!(mark("http://SHOP.example.:8080/api/v1/x"), Some(4));
        assert_eq!(mark("http://[::1]:80/api"), Some(4));
        assert_eq!(mark("http://shop.example/other"), Some(1), "any host takes what the named one leaves");
    }

    #[test]
    fn what_is_taken_or_no_route_is_refused_and_what_is_removed_is_free() {
        let mut table = Table::default();
        let gate = add(&mut table, &["a"], "/x", 1);
        let again = |table: &Table, hosts: &[&str], path: &str| {
            table.with(&route(hosts, path, 2), Arc::new(Nobody)).err()
        };
        assert!(matches!(again(&table, &["b", "A"], "/x/"), Some(RouteError::Taken { .. })));
        assert_eq!(again(&table, &[], "/x"), None);
        for path in ["x", "/a//b", "/../a", "/a?b", "/a b"] {
            assert!(matches!(again(&table, &[], path), Some(RouteError::Path(_))), "{path}");
        }
        for host in ["a:80", "http://a", "", ".", "*"] {
            assert!(matches!(again(&table, &[host], "/"), Some(RouteError::Host(_))), "{host}");
        }
        let table = table.without(&gate);
        assert!(table.find(&"http://a/x".parse().unwrap()).is_none());
        assert_eq!(again(&table, &["a"], "/x"), None);
    }

    #[tokio::test]
    async fn draining_waits_for_what_is_in_hand_and_takes_nothing_new() {
        let gate = add(&mut Table::default(), &[], "/", 1);
        let entered = gate.enter().unwrap();
        let mut drain = std::pin::pin!(gate.drain());
        assert!(futures::poll!(drain.as_mut()).is_pending());
        assert!(gate.enter().is_none());
        assert!(futures::poll!(drain.as_mut()).is_pending());
        drop(entered);
        drain.await;
    }
}
