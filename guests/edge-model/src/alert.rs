//! How alarming a reading is. Temperature counts before humidity: what is too hot is critical, what is only too
//! damp is a warning. A value exactly at its threshold is normal.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::SensorData;

/// The thresholds of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActorConfig {
    /// Degrees Celsius above which a reading is critical.
    pub temp_threshold: f64,
    /// Percent of relative humidity above which a reading is a warning.
    pub humidity_threshold: f64,
    /// Whether alerts are published at all.
    pub alert_enabled: bool,
}

impl Default for ActorConfig {
    fn default() -> Self {
        Self { temp_threshold: 85.0, humidity_threshold: 90.0, alert_enabled: true }
    }
}

/// How alarming, from most to least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertLevel {
    /// Too hot.
    Critical,
    /// Too damp.
    Warning,
    /// Neither.
    Normal,
}

impl AlertLevel {
    /// Every level.
    pub const ALL: [Self; 3] = [Self::Critical, Self::Warning, Self::Normal];

    /// The level's name, as in JSON and in keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Normal => "normal",
        }
    }
}

impl fmt::Display for AlertLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What became of a reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessedResult {
    /// The device that was read.
    pub device_id: String,
    /// How alarming it was.
    pub alert_level: AlertLevel,
    /// The reading's own time, in seconds since 1970.
    pub processed_at: u64,
    /// The node that judged it.
    pub node_id: String,
}

/// Judges a reading.
pub fn process(data: &SensorData, config: &ActorConfig, node_id: &str) -> ProcessedResult {
    let alert_level = if data.temperature > config.temp_threshold {
        AlertLevel::Critical
    } else if data.humidity > config.humidity_threshold {
        AlertLevel::Warning
    } else {
        AlertLevel::Normal
    };
    ProcessedResult {
        device_id: data.device_id.clone(),
        alert_level,
        processed_at: data.timestamp,
        node_id: node_id.to_owned(),
    }
}

/// Whether a result is to be published.
pub fn is_alert(result: &ProcessedResult, config: &ActorConfig) -> bool {
    config.alert_enabled && result.alert_level != AlertLevel::Normal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(temperature: f64, humidity: f64) -> SensorData {
        SensorData {
            device_id: "sensor-001".into(),
            temperature,
            humidity,
            timestamp: 1_718_668_800,
            region: "ap-east-1".into(),
        }
    }

    #[test]
    fn the_example_of_the_pattern_is_critical() {
        let result = process(&reading(92.5, 78.3), &ActorConfig::default(), "edge-unknown");
        assert_eq!(
            serde_json::to_string(&result).unwrap(),
            r#"{"device_id":"sensor-001","alert_level":"critical","processed_at":1718668800,"node_id":"edge-unknown"}"#
        );
    }

    #[test]
    fn heat_counts_before_damp_and_a_threshold_is_normal() {
        let config = ActorConfig::default();
        for (temperature, humidity, level) in [
            (85.0, 90.0, AlertLevel::Normal),
            (85.1, 90.1, AlertLevel::Critical),
            (85.0, 90.1, AlertLevel::Warning),
            (-40.0, 0.0, AlertLevel::Normal),
        ] {
            let result = process(&reading(temperature, humidity), &config, "n");
            assert_eq!(result.alert_level, level, "{temperature} {humidity}");
            assert_eq!(is_alert(&result, &config), level != AlertLevel::Normal);
            let silent = ActorConfig { alert_enabled: false, ..config.clone() };
            assert!(!is_alert(&result, &silent));
        }
    }
}
