//! `trellis query KIND/ID NAME`: an answer from a persistent actor's state as it is.

use crate::args::Args;
use crate::client::Client;
use crate::commands::{Outcome, call, entity};
use lattice_protocol::Address;
use lattice_protocol::entity::EntityAsk;

/// Its arguments.
#[derive(Debug, clap::Args)]
pub struct QueryArgs {
    /// The actor: kind/id, or app/kind/id.
    pub actor: Address,
    /// What is asked.
    pub name: String,
    /// With what; @FILE reads a file.
    #[arg(long, value_name = "TEXT|@FILE")]
    pub data: Option<String>,
    /// Patience, milliseconds.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub timeout: u64,
}

/// Runs it.
pub async fn run(args: &Args, query: &QueryArgs) -> Outcome {
    let body = call::data(query.data.as_deref())?;
    let client = Client::connect(args).await?;
    let ask = EntityAsk::Query { key: query.actor.key.clone(), name: query.name.clone(), stale: false };
    let answered = entity::ask(&client, &query.actor, ask, (&body, query.timeout)).await;
    client.close().await;
    let (answer, reply) = answered?;
    entity::show(args, &answer, &reply, None);
    Ok(())
}
