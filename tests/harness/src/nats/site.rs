//! A hub and a site: two servers, each with a JetStream of its own domain, and an uplink between them that can be
//! cut. The site's server is a leaf node of the hub's.

use super::{JetStream, Leaf, LeafRemote, NatsOptions, NatsServer};
use crate::{ChaosProxy, eventually, http};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Longest wait for a leaf connection to come or to go.
const SOON: Duration = Duration::from_secs(20);

/// What the two servers are told.
#[derive(Debug, Clone)]
pub struct SiteOptions {
    /// The hub's domain.
    pub hub: String,
    /// The site's domain.
    pub site: String,
    /// Users, or operator and accounts, of both servers.
    pub operator_config: Option<String>,
    /// `user:password` of the leaf connection, with users.
    pub user: Option<String>,
    /// The credentials of the leaf connection and the account that it is in, with an operator.
    pub account: Option<(PathBuf, String)>,
}

impl Default for SiteOptions {
    /// Open servers; the domains are `hub` and `factory`.
    fn default() -> Self {
        let (hub, site) = ("hub".to_owned(), "factory".to_owned());
        Self { hub, site, operator_config: None, user: None, account: None }
    }
}

/// The two servers.
#[derive(Debug)]
pub struct Site {
    /// The hub's.
    pub hub: NatsServer,
    /// The site's.
    pub site: NatsServer,
    uplink: Uplink,
}

impl Site {
    /// Starts both, and waits until they are connected.
    ///
    /// # Errors
    /// One does not start, or the site is not let in.
    pub async fn start(options: SiteOptions) -> Result<Self> {
        let hub = NatsServer::start(NatsOptions {
            name: options.hub.clone(),
            jetstream: Some(JetStream { domain: Some(options.hub.clone()) }),
            operator_config: options.operator_config.clone(),
            leaf: Leaf { listen: true, remotes: Vec::new() },
            ..NatsOptions::default()
        })
        .await?;
        let (site, uplink) = Uplink::join(&hub, options).await?;
        Ok(Self { hub, site, uplink })
    }

    /// See [`Uplink::cut`].
    ///
    /// # Errors
    /// The hub has not noticed.
    pub async fn cut(&self) -> Result<()> {
        self.uplink.cut().await
    }

    /// See [`Uplink::heal`].
    ///
    /// # Errors
    /// The site is not there again.
    pub async fn heal(&self) -> Result<()> {
        self.uplink.heal().await
    }
}

/// The connection of a site's server to its hub.
#[derive(Debug)]
pub struct Uplink {
    proxy: ChaosProxy,
    /// The hub's monitoring.
    monitor: SocketAddr,
}

impl Uplink {
    /// Starts the server of a site of this hub, which has no other, and waits until they are connected.
    ///
    /// # Errors
    /// The hub takes no leaf nodes, the server does not start, or it is not let in.
    pub async fn join(hub: &NatsServer, options: SiteOptions) -> Result<(NatsServer, Self)> {
        let proxy = ChaosProxy::start(hub.leaf_address().context("the hub takes no leaf nodes")?).await?;
        let user = options.user.map(|user| format!("{user}@")).unwrap_or_default();
        let (credentials, account) = options.account.unzip();
        let url = format!("nats-leaf://{user}{}", proxy.address());
        let site = NatsServer::start(NatsOptions {
            name: options.site.clone(),
            jetstream: Some(JetStream { domain: Some(options.site) }),
            operator_config: options.operator_config,
            leaf: Leaf { listen: false, remotes: vec![LeafRemote { url, credentials, account }] },
            ..NatsOptions::default()
        })
        .await?;
        let uplink = Self { proxy, monitor: hub.ports.monitor };
        uplink.has_leaf_nodes(1).await?;
        Ok((site, uplink))
    }

    /// Cuts it, and returns when the hub has noticed.
    ///
    /// # Errors
    /// It has not.
    pub async fn cut(&self) -> Result<()> {
        self.proxy.cut();
        self.has_leaf_nodes(0).await
    }

    /// Gives it back, and returns when the site is there again.
    ///
    /// # Errors
    /// It is not.
    pub async fn heal(&self) -> Result<()> {
        self.proxy.heal();
        self.has_leaf_nodes(1).await
    }

    async fn has_leaf_nodes(&self, wanted: u64) -> Result<()> {
        eventually(SOON, "the leaf connection to change", || async {
            let leafz: Value = serde_json::from_str(&http::get(self.monitor, "/leafz").await?)?;
            let count = leafz.pointer("/leafnodes").and_then(Value::as_u64).unwrap_or_default();
            ensure!(count == wanted, "{count} leaf nodes");
            Ok(())
        })
        .await
    }
}
