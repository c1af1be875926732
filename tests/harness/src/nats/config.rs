//! The server's configuration text and the ports file that it answers with.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Leaf, NatsOptions};

/// Where a server listens, once it has chosen.
#[derive(Debug, Clone)]
pub(super) struct Ports {
    pub client: SocketAddr,
    pub monitor: SocketAddr,
    pub leaf: Option<SocketAddr>,
}

/// Bounds that a production server has as well, so that tests meet them first. Its own pings end the
/// connection of a client that has vanished: until then it gives that one its share of a queue's calls.
const LIMITS: &str = r#"max_payload: 1048576
max_pending: 16777216
max_connections: 4096
max_subscriptions: 65536
max_control_line: 4096
write_deadline: "10s"
ping_interval: "5s"
ping_max: 2
"#;

/// The configuration. Without `ports` the server chooses free ones.
pub(super) fn render(options: &NatsOptions, dir: &Path, ports: Option<&Ports>) -> String {
    let listen = |port: Option<SocketAddr>| match port {
        Some(address) => quote(&address.to_string()),
        None => quote("127.0.0.1:-1"),
    };
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = writeln!(text, "server_name: {}", quote(&options.name));
    let _ = match (options.everywhere, ports) {
        (true, ports) => {
            let port = ports.map_or_else(|| "-1".to_owned(), |ports| ports.client.port().to_string());
            writeln!(text, "listen: {}", quote(&format!("0.0.0.0:{port}")))
        }
        (false, ports) => writeln!(text, "listen: {}", listen(ports.map(|p| p.client))),
    };
    let _ = writeln!(text, "http: {}", listen(ports.map(|p| p.monitor)));
    let _ = writeln!(text, "ports_file_dir: {}", quote_path(dir));
    text.push_str(LIMITS);
    if let Some(jetstream) = &options.jetstream {
        let _ = writeln!(text, "jetstream {{");
        let _ = writeln!(text, "  store_dir: {}", quote_path(&dir.join("jetstream")));
        let _ = writeln!(text, "  sync_interval: always");
        let _ = writeln!(text, "  max_memory_store: 268435456");
        let _ = writeln!(text, "  max_file_store: 4294967296");
        if let Some(domain) = &jetstream.domain {
            let _ = writeln!(text, "  domain: {}", quote(domain));
        }
        let _ = writeln!(text, "}}");
    }
    if let Some(cluster) = &options.cluster {
        let _ = writeln!(text, "cluster {{\n  name: {}", quote(&cluster.name));
        // Not advertised: a client that came through a proxy must not find a way round it.
        let _ = writeln!(text, "  listen: {}\n  no_advertise: true", quote(&cluster.listen.to_string()));
        text.push_str("  routes: [\n");
        for route in &cluster.routes {
            let _ = writeln!(text, "    {}", quote(&format!("nats-route://{route}")));
        }
        text.push_str("  ]\n}\n");
    }
    let leaf_port = ports.and_then(|p| p.leaf);
    text.push_str(&render_leaf(&options.leaf, &listen(leaf_port)));
    if let Some(operator) = &options.operator_config {
        text.push_str(operator);
        text.push('\n');
    }
    text
}

fn render_leaf(leaf: &Leaf, listen: &str) -> String {
    if !leaf.listen && leaf.remotes.is_empty() {
        return String::new();
    }
    let mut text = "leafnodes {\n".to_owned();
    if leaf.listen {
        // Not advertised: a leaf that came through a proxy must not find a way round it.
        let _ = writeln!(text, "  listen: {listen}\n  no_advertise: true");
    }
    let _ = writeln!(text, "  reconnect: 1\n  remotes: [");
    for remote in &leaf.remotes {
        let _ = write!(text, "    {{ url: {}", quote(&remote.url));
        if let Some(credentials) = &remote.credentials {
            let _ = write!(text, ", credentials: {}", quote_path(credentials));
        }
        if let Some(account) = &remote.account {
            let _ = write!(text, ", account: {}", quote(account));
        }
        let _ = writeln!(text, " }}");
    }
    text.push_str("  ]\n}\n");
    text
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn quote_path(path: &Path) -> String {
    quote(&path.to_string_lossy())
}

/// The client and monitoring addresses in `{"nats":["nats://…"],"monitoring":["http://…"]}`.
///
/// # Errors
/// The file is not there yet, or not written to its end.
pub(super) fn read_ports_file(path: &Path) -> Result<(SocketAddr, SocketAddr)> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let ports: Value = serde_json::from_str(&text).context("ports file")?;
    // One that listens everywhere names every address: loopback is the one for us.
    let client = SocketAddr::from((Ipv4Addr::LOCALHOST, address(&ports, "nats")?.port()));
    Ok((client, address(&ports, "monitoring")?))
}

fn address(ports: &Value, key: &str) -> Result<SocketAddr> {
    let url = ports
        .pointer(&format!("/{key}/0"))
        .and_then(Value::as_str)
        .with_context(|| format!("ports file has no {key} address"))?;
    let (_, address) = url.split_once("://").context("ports file: no URL")?;
    address.parse().with_context(|| format!("ports file: {address:?} is no address"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nats::LeafRemote;

    #[test]
    fn jetstream_always_syncs_and_the_limits_are_set() {
        let text = render(&NatsOptions::default(), Path::new("/dir"), None);
        for line in ["sync_interval: always", "max_payload: 1048576", "listen: \"127.0.0.1:-1\""] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("leafnodes"));
    }

    #[test]
    fn a_leaf_remote_carries_credentials_and_account() {
        let leaf = Leaf {
            listen: false,
            remotes: vec![LeafRemote {
                url: "nats-leaf://127.0.0.1:7422".to_owned(),
                credentials: Some("/dir/site.creds".into()),
                account: Some("ABC".to_owned()),
            }],
        };
        let text = render_leaf(&leaf, "unused");
        assert!(text.contains(
            r#"{ url: "nats-leaf://127.0.0.1:7422", credentials: "/dir/site.creds", account: "ABC" }"#
        ));
        assert!(!text.contains("listen"));
    }

    #[test]
    fn an_unfinished_ports_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.ports");
        fs::write(&path, r#"{"nats":["nats://127.0.0.1:4222"],"#).unwrap();
        assert!(read_ports_file(&path).is_err());
        fs::write(&path, r#"{"nats":["nats://127.0.0.1:4222"],"monitoring":["http://127.0.0.1:8222"]}"#)
            .unwrap();
        let (client, monitor) = read_ports_file(&path).unwrap();
        assert_eq!((client.port(), monitor.port()), (4222, 8222));
    }
}
