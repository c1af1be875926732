//! The subjects of the edge: by region and function, never one wildcard for all.

use thiserror::Error;

use crate::token::is_token;

/// What a message on a subject is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic<'a> {
    /// `edge.sensor.<region>`: a reading.
    Sensor {
        /// Where it was taken.
        region: &'a str,
    },
    /// `cloud.cmd.<node>`: a command.
    Command {
        /// Who shall obey.
        node: &'a str,
    },
}

/// A subject that means nothing here.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("subject {subject}: neither edge.sensor.<region> nor cloud.cmd.<node>; correct the subscription")]
pub struct UnknownSubject {
    /// As received.
    pub subject: String,
}

/// What a message on `subject` is.
///
/// # Errors
/// [`UnknownSubject`], also when the last part is no [token](crate::token).
pub fn topic(subject: &str) -> Result<Topic<'_>, UnknownSubject> {
    let parts = (subject.strip_prefix("edge.sensor."), subject.strip_prefix("cloud.cmd."));
    match parts {
        (Some(region), _) if is_token(region) => Ok(Topic::Sensor { region }),
        (_, Some(node)) if is_token(node) => Ok(Topic::Command { node }),
        _ => Err(UnknownSubject { subject: subject.to_owned() }),
    }
}

/// Where alerts of a region are published.
pub fn alert(region: &str) -> String {
    format!("edge.alert.{region}")
}

/// Where a node awaits acknowledgements.
pub fn acknowledgement(node: &str) -> String {
    format!("edge.ack.{node}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_say_what_they_carry() {
        assert_eq!(topic("edge.sensor.ap-east-1"), Ok(Topic::Sensor { region: "ap-east-1" }));
        assert_eq!(topic("cloud.cmd.edge-1"), Ok(Topic::Command { node: "edge-1" }));
        for unknown in ["", "edge.sensor.", "edge.sensor.a.b", "edge.sensor.*", "cloud.cmd.>", "edge.alert.a"]
        {
            assert!(topic(unknown).is_err(), "{unknown}");
        }
    }
}
