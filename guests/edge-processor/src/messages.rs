//! What comes by message. Where an answer is awaited it gets one, of a failure too; the failure also goes to the
//! host, which counts it and may deliver the message again.

use edge_model::subject::{self, Topic};
use serde::Serialize;
use serde_json::Value;
use trellis_guest::{Error, Message, log};

use crate::settings::Node;
use crate::{commands, readings};

/// The answer to what failed.
#[derive(Serialize)]
struct Refusal<'a> {
    error: &'a str,
}

/// Handles one message.
///
/// # Errors
/// Of the reading or command in it, or of its answer.
pub fn receive(message: &Message) -> Result<(), Error> {
    let outcome = handle(message);
    let sent = match &outcome {
        Ok(answer) => message.reply_json(answer),
        Err(error) => {
            log::warn!("{}: {error}", message.subject);
            message.reply_json(&Refusal { error: error.message() })
        }
    };
    outcome?;
    sent?;
    Ok(())
}

fn handle(message: &Message) -> Result<Value, Error> {
    let topic = subject::topic(&message.subject).map_err(|error| Error::bad_request(error.to_string()))?;
    let node = Node::load()?;
    Ok(match topic {
        Topic::Sensor { region } => {
            serde_json::to_value(readings::accept(&node, &message.body, Some(region))?)?
        }
        Topic::Command { node: target } => {
            serde_json::to_value(commands::obey(&node, target, &message.body)?)?
        }
    })
}
