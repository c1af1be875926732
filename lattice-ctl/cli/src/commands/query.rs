//! `trellis query KIND/ID NAME`: an answer from a persistent actor's state as it is; with `--stale` from
//! who stands by for it, when its owner does not answer, as it was.

use crate::args::Args;
use crate::client::Client;
use crate::commands::{Outcome, call, entity};
use crate::output;
use bytes::Bytes;
use lattice_protocol::entity::{EntityAnswer, EntityAsk};
use lattice_protocol::{Address, ErrorCode, Report};
use std::time::{Duration, Instant};

/// One attempt of a query that a standby may answer, milliseconds.
const ATTEMPT_MS: u64 = 2_500;

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
    /// Accept an answer of a standby when the owner does not answer: it says how old it may be.
    #[arg(long)]
    pub stale: bool,
    /// Patience, milliseconds.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub timeout: u64,
}

/// Runs it.
pub async fn run(args: &Args, query: &QueryArgs) -> Outcome {
    let body = call::data(query.data.as_deref())?;
    let client = Client::connect(args).await?;
    let answered = ask(&client, query, &body).await;
    client.close().await;
    let (answer, reply) = answered?;
    entity::show(args, &answer, &reply, None);
    if let Some(stale) = answer.stale {
        let age = match stale.age_ms {
            0 => "with everything that its log has".to_owned(),
            age_ms => format!("not known to be all for {age_ms} ms"),
        };
        output::note(&format!("a standby's answer, after record {} of the shard: {age}", stale.record));
    }
    Ok(())
}

/// Asks any host of the kind; one that does not answer a query that may be stale must not use up its time.
async fn ask(client: &Client, query: &QueryArgs, body: &[u8]) -> Result<(EntityAnswer, Bytes), Report> {
    let until = Instant::now() + Duration::from_millis(query.timeout);
    loop {
        let (key, name) = (query.actor.key.clone(), query.name.clone());
        let what = EntityAsk::Query { key, name, stale: query.stale };
        let left = until.saturating_duration_since(Instant::now());
        let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1);
        let most_ms = if query.stale { ATTEMPT_MS } else { query.timeout };
        match entity::ask(client, &query.actor, what, (body, left_ms.min(most_ms))).await {
            Err(report) if query.stale && report.code == ErrorCode::Timeout && left_ms > most_ms => {}
            answered => return answered,
        }
    }
}
