//! `trellis migrate KIND/ID --to HOST`: another host of the kind takes the actor's shard over, with every
//! turn before it done and none lost.

use crate::args::Args;
use crate::client::Client;
use crate::commands::{Outcome, entity};
use crate::output;
use lattice_protocol::entity::EntityAsk;
use lattice_protocol::{Address, ErrorCode, HostId, Report};

/// Its arguments.
#[derive(Debug, clap::Args)]
pub struct MigrateArgs {
    /// The actor: kind/id, or app/kind/id. What shares its shard moves with it.
    pub actor: Address,
    /// The host: one that runs the kind.
    #[arg(long, value_name = "HOST")]
    pub to: HostId,
    /// Patience, milliseconds.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub timeout: u64,
}

/// Runs it.
pub async fn run(args: &Args, migrate: &MigrateArgs) -> Outcome {
    let client = Client::connect(args).await?;
    let ask = EntityAsk::Move { key: migrate.actor.key.clone(), to: migrate.to.clone() };
    let moved = entity::ask(&client, &migrate.actor, ask, (&[], migrate.timeout)).await;
    if moved.is_ok() {
        let data = serde_json::json!({ "to": migrate.to });
        client.audit("admin.actor-migrate", &migrate.actor.to_string(), data).await;
    }
    client.close().await;
    let (_, reply) = moved?;
    let shown: serde_json::Value = serde_json::from_slice(&reply)
        .map_err(|error| Report::new(ErrorCode::Malformed, format!("answer of the host: {error}")))?;
    output::say(args, format!("{} is on {}", migrate.actor, migrate.to));
    if args.output == output::Format::Json {
        output::json(&shown);
    }
    Ok(())
}
