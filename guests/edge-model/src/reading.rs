//! Which JSON is a sensor reading. Two forms are: the whole one, and the short one that small devices send,
//! `{"device":"sensor-001","temp":92.5}`, whose other fields the receiver fills in. Whatever is wrong is said of a
//! field by its name. Unknown fields are let be: devices send more than we read.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::token::is_token;

/// How much of a wrong value an error shows, in characters.
const SHOWN: usize = 40;

/// One reading of one device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SensorData {
    /// Which device.
    pub device_id: String,
    /// Degrees Celsius, finite.
    pub temperature: f64,
    /// Percent of relative humidity, finite.
    pub humidity: f64,
    /// Seconds since 1970.
    pub timestamp: u64,
    /// Where the device is.
    pub region: String,
}

/// What the receiver knows of a reading before it has read it.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// The region of the subject it came on; a reading from elsewhere is refused.
    pub subject_region: Option<&'a str>,
    /// The region of a short reading that came without a subject.
    pub default_region: &'a str,
    /// The time of a short reading, in seconds since 1970.
    pub now: u64,
}

/// Why something is no reading.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ReadingError {
    /// Not JSON, or not an object.
    #[error("body: not a JSON object: {reason}")]
    NotJson {
        /// Where and what.
        reason: String,
    },
    /// A field that must be there is not, or is null.
    #[error("{field}: missing; send {wanted}")]
    Missing {
        /// The field.
        field: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
    /// A field is of another kind.
    #[error("{field}: not {wanted} (got {got})")]
    Malformed {
        /// The field.
        field: &'static str,
        /// What it must be.
        wanted: &'static str,
        /// The beginning of what it is.
        got: String,
    },
    /// A name that could not stand in a subject or a key.
    #[error("{field}: only A-Za-z0-9_-, 1..64")]
    NotAToken {
        /// The field.
        field: &'static str,
    },
    /// Body and subject disagree.
    #[error("region: {body} (sent to edge.sensor.{subject}); send it to edge.sensor.{body}")]
    OtherRegion {
        /// The body's region.
        body: String,
        /// The subject's region.
        subject: String,
    },
}

/// The fields as sent, before any is believed.
#[derive(Deserialize)]
struct Raw {
    device_id: Option<Value>,
    temperature: Option<Value>,
    humidity: Option<Value>,
    timestamp: Option<Value>,
    region: Option<Value>,
    device: Option<Value>,
    temp: Option<Value>,
}

const NUMBER: &str = "a finite number";
const SECONDS: &str = "whole seconds since 1970";
const TEXT: &str = "a text";

/// Reads a reading.
///
/// # Errors
/// [`ReadingError`] of the first field that is wrong.
pub fn parse(body: &[u8], received: Received<'_>) -> Result<SensorData, ReadingError> {
    let raw: Raw =
        serde_json::from_slice(body).map_err(|error| ReadingError::NotJson { reason: error.to_string() })?;
    let data = if raw.device.is_some() || raw.temp.is_some() { short(raw, received)? } else { whole(raw)? };
    match received.subject_region {
        Some(subject) if subject != data.region => {
            Err(ReadingError::OtherRegion { body: data.region, subject: subject.to_owned() })
        }
        _ => Ok(data),
    }
}

fn whole(raw: Raw) -> Result<SensorData, ReadingError> {
    Ok(SensorData {
        device_id: token("device_id", raw.device_id)?,
        temperature: number("temperature", raw.temperature)?,
        humidity: number("humidity", raw.humidity)?,
        timestamp: seconds("timestamp", raw.timestamp)?,
        region: token("region", raw.region)?,
    })
}

/// A short reading says nothing of damp: its humidity counts as 0 when it is absent.
fn short(raw: Raw, received: Received<'_>) -> Result<SensorData, ReadingError> {
    let region = received.subject_region.unwrap_or(received.default_region);
    Ok(SensorData {
        device_id: token("device_id", raw.device.or(raw.device_id))?,
        temperature: number("temperature", raw.temp.or(raw.temperature))?,
        humidity: raw.humidity.map_or(Ok(0.0), |value| number("humidity", Some(value)))?,
        timestamp: raw.timestamp.map_or(Ok(received.now), |value| seconds("timestamp", Some(value)))?,
        region: raw.region.map_or(Ok(region.to_owned()), |value| token("region", Some(value)))?,
    })
}

fn present(field: &'static str, wanted: &'static str, value: Option<Value>) -> Result<Value, ReadingError> {
    match value {
        None | Some(Value::Null) => Err(ReadingError::Missing { field, wanted }),
        Some(value) => Ok(value),
    }
}

fn malformed(field: &'static str, wanted: &'static str, value: &Value) -> ReadingError {
    let got = value.to_string();
    let got = match got.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", got.get(..end).unwrap_or_default()),
        None => got,
    };
    ReadingError::Malformed { field, wanted, got }
}

fn number(field: &'static str, value: Option<Value>) -> Result<f64, ReadingError> {
    let value = present(field, NUMBER, value)?;
    match value.as_f64() {
        Some(number) if number.is_finite() => Ok(number),
        _ => Err(malformed(field, NUMBER, &value)),
    }
}

fn seconds(field: &'static str, value: Option<Value>) -> Result<u64, ReadingError> {
    let value = present(field, SECONDS, value)?;
    value.as_u64().ok_or_else(|| malformed(field, SECONDS, &value))
}

fn token(field: &'static str, value: Option<Value>) -> Result<String, ReadingError> {
    match present(field, TEXT, value)? {
        Value::String(text) if is_token(&text) => Ok(text),
        Value::String(_) => Err(ReadingError::NotAToken { field }),
        other => Err(malformed(field, TEXT, &other)),
    }
}

#[cfg(test)]
mod tests;
