//! `trellis publish SUBJECT --data …`: one message on the lattice's bus, as a device or a cloud
//! service would send it; with `--wait-ms`, the answer to it.

use crate::args::Args;
use crate::commands::Outcome;
use crate::context::Context;
use crate::output;
use lattice_io::BusMessage;
use lattice_protocol::subject::check_subject;
use std::time::Duration;

/// Its arguments.
#[derive(Debug, clap::Args)]
pub struct PublishArgs {
    /// Subject, without wildcards.
    pub subject: String,
    /// Body.
    #[arg(long, default_value = "")]
    pub data: String,
    /// Ask for an answer, and wait this long for it.
    #[arg(long, value_name = "MILLISECONDS")]
    pub wait_ms: Option<u64>,
}

/// Runs it.
pub async fn run(args: &Args, publish: &PublishArgs) -> Outcome {
    check_subject(&publish.subject, false)?;
    let context = Context::resolve(args)?;
    let nats = context.login.connect(false).await?;
    let bus = nats.lattice().bus;
    let message = BusMessage::new(publish.subject.clone(), publish.data.clone().into_bytes());
    match publish.wait_ms {
        Some(wait_ms) => {
            let answer = bus.request(message, Duration::from_millis(wait_ms)).await?;
            output::say(args, String::from_utf8_lossy(&answer.payload));
        }
        None => {
            bus.publish(message).await?;
            bus.flush().await?;
            output::say(args, format!("published {} bytes to {}", publish.data.len(), publish.subject));
        }
    }
    nats.close().await;
    Ok(())
}
