//! Bytes through `wasi:io` streams. Every read has a limit; every write takes what the host permits at a time.

use wasip2::http::types::{IncomingBody, OutgoingBody};
use wasip2::io::streams::StreamError;

/// What one read may bring, in bytes.
const READ_STEP: u64 = 64 * 1024;

/// Why a body could not be read.
pub(super) enum ReadError {
    /// More than the limit.
    TooLarge,
    /// The sender stopped before the end; the host's words.
    Broken(String),
}

/// Reads a body to its end.
pub(super) fn read(body: IncomingBody, limit: usize) -> Result<Vec<u8>, ReadError> {
    let stream = body.stream().map_err(|()| ReadError::Broken("its stream was already taken".to_owned()))?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(READ_STEP) {
            Ok(chunk) if bytes.len() + chunk.len() > limit => return Err(ReadError::TooLarge),
            Ok(chunk) if bytes.is_empty() => bytes = chunk,
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(ReadError::Broken(error.to_debug_string()));
            }
        }
    }
}

/// Writes a body and finishes it.
///
/// # Errors
/// The host's words, when the other side stopped reading.
pub(super) fn write(body: OutgoingBody, bytes: &[u8]) -> Result<(), String> {
    if !bytes.is_empty() {
        let stream = body.write().map_err(|()| "its stream was already taken".to_owned())?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let permit = stream.check_write().map_err(explain)?;
            if permit == 0 {
                stream.subscribe().block();
                continue;
            }
            let step = usize::try_from(permit).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = rest.split_at(step);
            stream.write(now).map_err(explain)?;
            rest = later;
        }
        stream.blocking_flush().map_err(explain)?;
    }
    OutgoingBody::finish(body, None).map_err(|code| code.to_string())
}

fn explain(error: StreamError) -> String {
    match error {
        StreamError::Closed => "the other side closed it".to_owned(),
        StreamError::LastOperationFailed(error) => error.to_debug_string(),
    }
}
