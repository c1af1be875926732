//! Answers each message with its own body, where an answer is awaited; a message without a reply subject is an
//! error, as in wasmCloud's echo example, so that a wrong subscription is seen.

use trellis_guest::{Error, Message};

#[trellis_guest::message]
fn echo(message: Message) -> Result<(), Error> {
    if message.reply(message.body.clone())? {
        Ok(())
    } else {
        Err(Error::bad_request(format!(
            "message {}: no reply subject; send it as a request",
            message.subject
        )))
    }
}
