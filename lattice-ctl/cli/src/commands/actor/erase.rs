//! `trellis actor erase`: what a deleted actor had done, erased from what its host had forwarded into the lattice.

use super::copy::{self, CopyArgs};
use crate::args::Args;
use crate::client::Client;
use crate::commands::Outcome;
use crate::output;
use host_actors::forward::erase::{Erasure, erase};
use lattice_protocol::{Address, ErrorCode, HostId, Report};
use serde_json::json;

/// Runs it, on the host that is named or on each that may have something of it.
pub async fn run(args: &Args, client: &Client, (actor, host): (&Address, Option<&HostId>)) -> Outcome {
    let key = &actor.key;
    let from = CopyArgs { host: host.cloned(), ..CopyArgs::default() };
    let mut erased: Vec<(HostId, Erasure)> = Vec::new();
    let mut refused: Option<Report> = None;
    for host in copy::candidates(client, key, &from).await? {
        match erase(&client.lattice, &client.subjects, (&host, key)).await {
            Ok(erasure) => erased.push((host, erasure)),
            // Another host may have it.
            Err(report) if matches!(report.code, ErrorCode::Conflict | ErrorCode::NotFound) => {
                refused = Some(worse(refused, report));
            }
            Err(report) => return Err(report),
        }
    }
    if erased.is_empty() {
        let nothing = || Report::new(ErrorCode::NotFound, "no host has forwarded anything").at(key);
        return Err(refused.unwrap_or_else(nothing));
    }
    for (host, erasure) in erased.iter().filter(|(_, erasure)| erasure.messages > 0) {
        let data = json!({ "host": host, "messages": erasure.messages, "records": erasure.records });
        client.audit("admin.actor-erase", &key.to_string(), data).await;
    }
    if args.output == output::Format::Json {
        let line = |(host, erasure): &(HostId, Erasure)| json!({ "key": key, "host": host, "messages": erasure.messages, "records": erasure.records });
        output::json(&erased.iter().map(line).collect::<Vec<_>>());
        return Ok(());
    }
    for (host, Erasure { messages, records }) in &erased {
        output::say(
            args,
            match messages {
                0 => format!("{host}: nothing of {key} is in its forwarded journal (any more)"),
                _ => format!(
                    "{host}: {messages} messages with {records} records erased, of {key} and of others"
                ),
            },
        );
    }
    Ok(())
}

/// The refusal that says more: that there is nothing says least.
fn worse(before: Option<Report>, now: Report) -> Report {
    match before {
        Some(before) if before.code == ErrorCode::Conflict => before,
        _ => now,
    }
}
