//! `trellis link put|del|query`: links, effective on running actors within a second.

use crate::args::Args;
use crate::client::Client;
use crate::commands::{Outcome, get, start::accepted};
use crate::reference;
use clap::Subcommand;
use lattice_ctl_planner::edit::{Change, DeleteLink, PutLink};
use lattice_protocol::{CallPolicy, Grants, LinkName, Selector};
use std::collections::BTreeMap;

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum LinkCommand {
    /// Link an actor to a provider or to another actor.
    Put(Box<PutArgs>),
    /// Delete a link.
    #[command(visible_alias = "delete")]
    Del {
        /// The actor.
        actor: String,
        /// Interface, package or contract id.
        contract: Selector,
        /// The link's name.
        name: Option<LinkName>,
    },
    /// List links.
    #[command(visible_alias = "list")]
    Query,
}

/// The link.
#[derive(Debug, clap::Args)]
pub struct PutArgs {
    /// The actor: app/name, a bare name, or its module key.
    pub actor: String,
    /// The other end: a provider or an actor, by name, kind, or app/name.
    pub target: String,
    /// Interface, package or contract id (`wasi:keyvalue`, `wasmcloud:httpserver`).
    pub contract: Selector,
    /// The link's name.
    pub name: Option<LinkName>,
    /// Bucket of a key-value or blob store.
    #[arg(long)]
    pub bucket: Option<String>,
    /// Region.
    #[arg(long)]
    pub region: Option<String>,
    /// Port of an HTTP server.
    #[arg(long)]
    pub port: Option<u16>,
    /// Subjects to receive, separated by commas.
    #[arg(long)]
    pub subscription: Option<String>,
    /// Address of the provider's server.
    #[arg(long, value_name = "URL")]
    pub cluster_uri: Option<String>,
    /// Another value of its configuration; may be repeated.
    #[arg(long = "config", value_name = "KEY=VALUE", value_parser = crate::commands::host::label)]
    pub config: Vec<(String, String)>,
    /// Patience per attempt, milliseconds.
    #[arg(long, value_name = "MS", default_value_t = CallPolicy::default().timeout_ms)]
    pub timeout: u64,
    /// Further attempts, where that is safe.
    #[arg(long, value_name = "N", default_value_t = CallPolicy::default().retries)]
    pub retry_count: u32,
    /// Pause before a further attempt, milliseconds.
    #[arg(long, value_name = "MS", default_value_t = CallPolicy::default().retry_delay_ms)]
    pub retry_delay: u64,
    /// The target may be called twice with the same request.
    #[arg(long)]
    pub idempotent: bool,
    /// Narrow it: only these buckets.
    #[arg(long, value_delimiter = ',', value_name = "BUCKET,…")]
    pub grant_buckets: Vec<String>,
    /// Narrow it: only keys that begin so.
    #[arg(long, value_delimiter = ',', value_name = "PREFIX,…")]
    pub grant_key_prefixes: Vec<String>,
    /// Narrow it: publish only there.
    #[arg(long, value_delimiter = ',', value_name = "SUBJECT,…")]
    pub grant_publish: Vec<String>,
    /// Narrow it: receive only from there.
    #[arg(long, value_delimiter = ',', value_name = "SUBJECT,…")]
    pub grant_subscribe: Vec<String>,
    /// Hosts that outgoing HTTP may reach.
    #[arg(long, value_delimiter = ',', value_name = "HOST,…")]
    pub grant_hosts: Vec<String>,
    /// Narrow it: only these HTTP methods.
    #[arg(long, value_delimiter = ',', value_name = "METHOD,…")]
    pub grant_methods: Vec<String>,
    /// Narrow it: reads only.
    #[arg(long)]
    pub read_only: bool,
    /// Put it in the place of one with other values.
    #[arg(long)]
    pub replace: bool,
}

impl PutArgs {
    fn config(&self) -> BTreeMap<String, String> {
        let mut config: BTreeMap<String, String> = self.config.iter().cloned().collect();
        let named = [
            ("bucket", self.bucket.clone()),
            ("region", self.region.clone()),
            ("port", self.port.map(|port| port.to_string())),
            ("subscription", self.subscription.clone()),
            ("cluster_uri", self.cluster_uri.clone()),
        ];
        config.extend(named.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
        config
    }

    fn grants(&self) -> Grants {
        Grants {
            buckets: self.grant_buckets.clone(),
            key_prefixes: self.grant_key_prefixes.clone(),
            publish: self.grant_publish.clone(),
            subscribe: self.grant_subscribe.clone(),
            hosts: self.grant_hosts.clone(),
            methods: self.grant_methods.clone(),
            read_only: self.read_only,
        }
    }
}

/// Runs it.
pub async fn run(args: &Args, command: &LinkCommand) -> Outcome {
    if let LinkCommand::Put(put) = command
        && let Some(problem) = policy(put).problems().into_iter().next()
    {
        return Err(problem);
    }
    let client = Client::connect(args).await?;
    let result = match command {
        LinkCommand::Put(put) => self::put(args, &client, put).await,
        LinkCommand::Del { actor, contract, name } => {
            delete(args, &client, (actor, contract, name.clone())).await
        }
        LinkCommand::Query => get::links(args, &client).await,
    };
    client.close().await;
    result
}

fn policy(put: &PutArgs) -> CallPolicy {
    CallPolicy {
        timeout_ms: put.timeout,
        retries: put.retry_count,
        retry_delay_ms: put.retry_delay,
        idempotent: put.idempotent,
    }
}

async fn put(args: &Args, client: &Client, put: &PutArgs) -> Outcome {
    let id = reference::find_actor(client, &put.actor).await?;
    let target = reference::provider(&put.target, Some(&client.app(&id.app).await?))?;
    let command = PutLink {
        actor: id.name.clone(),
        target: target.clone(),
        contract: put.contract.clone(),
        name: put.name.clone(),
        config: put.config(),
        policy: policy(put),
        grants: put.grants(),
        replace: put.replace,
    };
    let applied = client.change(&id.app, &Change::PutLink(Box::new(command))).await?;
    accepted(args, &format!("link put {id} -> {target} [{}]", put.contract), &applied);
    Ok(())
}

async fn delete(
    args: &Args,
    client: &Client,
    (actor, contract, name): (&str, &Selector, Option<LinkName>),
) -> Outcome {
    let id = reference::find_actor(client, actor).await?;
    let command = DeleteLink { actor: id.name.clone(), contract: contract.clone(), name };
    let applied = client.change(&id.app, &Change::DeleteLink(command)).await?;
    accepted(args, &format!("link del {id} [{contract}]"), &applied);
    Ok(())
}
