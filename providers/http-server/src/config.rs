//! Configuration: what was typed, checked all at once, before anything is bound.
//!
//! | key | default | meaning |
//! |---|---|---|
//! | `address` | `127.0.0.1` | address to listen on; with `:port` it names the port too (0: any free one) |
//! | `port` | 8080 | port, 1 to 65535 |
//! | `tls_cert`, `tls_key` | none | PEM files: HTTPS instead of HTTP |
//! | `max_connections` | 4096 | connections at once |
//! | `max_connections_per_address` | 2048 | of one address, or one IPv6 /64 |
//! | `max_requests` | 4096 | requests at once |
//! | `idle_timeout_ms` | 10000 | for a request's head, and between requests |
//! | `min_body_bytes_per_s` | 1024 | a slower request body is answered 408 |

use crate::limits::Limits;
use lattice_protocol::{ErrorCode, Report};
use providers_sdk::Settings;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

const DEFAULT_PORT: u16 = 8_080;

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain, the leaf first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where to listen.
    pub address: SocketAddr,
    /// HTTPS.
    pub tls: Option<TlsFiles>,
    /// Bounds.
    pub limits: Limits,
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// Every problem.
    pub fn parse(map: &BTreeMap<String, String>) -> Result<Self, Vec<Report>> {
        let mut settings = Settings::new(map);
        let address = address(&mut settings);
        let tls = tls(&mut settings);
        let limits = limits(&mut settings);
        let problems = settings.finish();
        if problems.is_empty() { Ok(Self { address, tls, limits }) } else { Err(problems) }
    }
}

fn address(settings: &mut Settings<'_>) -> SocketAddr {
    let text = settings.text_or("address", "127.0.0.1");
    let port = settings.number("port", DEFAULT_PORT, 1..=u16::MAX);
    if let Ok(address) = text.parse::<SocketAddr>() {
        return address;
    }
    match text.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, port),
        Err(_) => {
            settings.problem(
                Report::new(ErrorCode::Config, "not an address")
                    .at("address")
                    .got(text)
                    .limit("an IP address, with an optional port"),
            );
            SocketAddr::from(([127, 0, 0, 1], port))
        }
    }
}

fn tls(settings: &mut Settings<'_>) -> Option<TlsFiles> {
    match (settings.text("tls_cert"), settings.text("tls_key")) {
        (Some(certificate), Some(key)) => Some(TlsFiles { certificate: certificate.into(), key: key.into() }),
        (None, None) => None,
        _ => {
            settings.problem(
                Report::new(ErrorCode::Config, "TLS needs both files")
                    .at("tls_cert, tls_key")
                    .hint("give both, or none"),
            );
            None
        }
    }
}

fn limits(settings: &mut Settings<'_>) -> Limits {
    let default = Limits::default();
    let idle_ms = settings.number("idle_timeout_ms", 10_000, 100..=3_600_000);
    let max_connections = settings.number("max_connections", default.max_connections, 1..=1_000_000);
    let per_address = (max_connections / 2).max(1);
    Limits {
        max_connections,
        max_connections_per_address: settings.number(
            "max_connections_per_address",
            per_address,
            1..=1_000_000,
        ),
        max_requests: settings.number("max_requests", default.max_requests, 1..=1_000_000),
        body_bytes_per_s: settings.number("min_body_bytes_per_s", default.body_bytes_per_s, 1..=1 << 30),
        idle: Duration::from_millis(idle_ms),
        ..default
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    #[test]
    fn defaults_are_loopback_and_every_form_of_an_address_is_read() {
        let address = |pairs: &[(&str, &str)]| Config::parse(&map(pairs)).unwrap().address.to_string();
        assert_eq!(address(&[]), "127.0.0.1:8080");
        assert_eq!(address(&[("port", "8081")]), "127.0.0.1:8081");
        assert_eq!(address(&[("address", "0.0.0.0:80")]), "0.0.0.0:80");
        assert_eq!(address(&[("address", "::1")]), "[::1]:8080");
        assert_eq!(address(&[("address", "127.0.0.1:0")]), "127.0.0.1:0");
    }

    #[test]
    fn every_problem_is_reported_with_its_place() {
        let problems = Config::parse(&map(&[
            ("port", "70000"),
            ("address", "localhost"),
            ("tls_cert", "a.pem"),
            ("prot", "1"),
        ]))
        .unwrap_err();
        let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(text.len(), 4, "{text:?}");
        assert!(text.iter().any(|line| line.contains("port (got 70000, expected 1..65535)")), "{text:?}");
        assert_eq!(Config::parse(&map(&[("port", "0")])).unwrap_err().len(), 1);
    }
}
