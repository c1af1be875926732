//! The last five seconds, by the meters' own time.

use std::collections::BTreeMap;

/// How far back it reaches, milliseconds.
pub(crate) const SPAN_MS: u64 = 5_000;

/// Power by time. It holds at most one value for each millisecond; the later one stays.
#[trellis_guest::state]
#[derive(Default)]
pub(crate) struct Window {
    power_kw: BTreeMap<u64, f64>,
}

impl Window {
    /// Time of the newest measurement.
    pub(crate) fn latest(&self) -> Option<u64> {
        self.power_kw.last_key_value().map(|(timestamp, _)| *timestamp)
    }

    /// Takes a measurement in, unless it is older than the window; drops those that are now.
    pub(crate) fn add(&mut self, timestamp: u64, power_kw: f64) {
        self.power_kw.insert(timestamp, power_kw);
        let oldest = self.latest().unwrap_or_default().saturating_sub(SPAN_MS);
        // The window is open at its old end: five seconds, and not a millisecond more.
        self.power_kw.retain(|timestamp, _| *timestamp > oldest);
    }

    /// The mean of what is in it. Summed anew each time, in order of time: a running sum would gather errors, and
    /// differ between hosts.
    pub(crate) fn average(&self) -> Option<f64> {
        let count = u32::try_from(self.power_kw.len()).ok().filter(|count| *count > 0)?;
        Some(self.power_kw.values().sum::<f64>() / f64::from(count))
    }
}
