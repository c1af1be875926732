//! CloudEvents 1.0, structured mode: what happens in a lattice, for audit streams and consoles.

use crate::name::LatticeName;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Bytes of events that the audit stream keeps; the oldest go first.
pub const AUDIT_BYTES: u64 = 64 << 20;
/// How long the audit stream keeps an event.
pub const AUDIT_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// One CloudEvent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CloudEvent {
    /// Always `1.0`.
    pub specversion: String,
    /// Unique per source.
    pub id: String,
    /// `trellis://<lattice>/<host or controller>`.
    pub source: String,
    /// `dev.trellis.actor.started`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// RFC 3339.
    pub time: String,
    /// `application/json`.
    pub datacontenttype: String,
    /// What it is about: an actor, a host, an application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Details.
    pub data: serde_json::Value,
}

/// What happened, before it has a time and a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Happening {
    /// Last part of the type: `actor.started`.
    pub kind: &'static str,
    /// What it is about.
    pub subject: Option<String>,
    /// Details.
    pub data: serde_json::Value,
    /// When it happened, Unix milliseconds; it may be sent much later.
    pub at_unix_ms: u64,
}

impl CloudEvent {
    /// The kind without the namespace: `actor.started`.
    #[must_use]
    pub fn short_kind(&self) -> &str {
        self.kind.strip_prefix(NAMESPACE).unwrap_or(&self.kind)
    }
    /// Who said it: the last part of its source.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.source.rsplit('/').next().unwrap_or_default()
    }
}

impl Happening {
    /// The whole event. Time and `id` come from the caller: this crate has neither clock nor entropy.
    #[must_use]
    pub fn into_event(self, lattice: &LatticeName, origin: &str, id: String) -> CloudEvent {
        CloudEvent {
            specversion: "1.0".to_owned(),
            id,
            source: format!("trellis://{lattice}/{origin}"),
            kind: format!("{NAMESPACE}{}", self.kind),
            time: rfc3339(self.at_unix_ms),
            datacontenttype: "application/json".to_owned(),
            subject: self.subject,
            data: self.data,
        }
    }
}

/// What every kind begins with.
const NAMESPACE: &str = "dev.trellis.";

/// Unix milliseconds as RFC 3339 in UTC (days to civil date after Howard Hinnant's algorithm).
#[must_use]
pub fn rfc3339(unix_ms: u64) -> String {
    let (days, of_day) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second, milli) =
        (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1_000 % 60, of_day % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_dates() {
        for (unix_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_718_668_800_123, "2024-06-18T00:00:00.123Z"),
            (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(unix_ms), text);
        }
    }
}
