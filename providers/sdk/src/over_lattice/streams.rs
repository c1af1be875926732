//! The setting `streams`: `ORDERS=orders.> returns.>, AUDIT=audit.>`.

use crate::Settings;
use lattice_protocol::name::is_token;
use lattice_protocol::subject::check_subject;
use lattice_protocol::{ErrorCode, Report};

/// A stream that a configuration asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSpec {
    /// Its name.
    pub name: String,
    /// What it stores.
    pub subjects: Vec<String>,
}

impl StreamSpec {
    /// Reads the setting `streams`; problems go into the settings.
    pub fn read(settings: &mut Settings<'_>) -> Vec<Self> {
        let mut streams = Vec::new();
        for item in settings.list("streams") {
            match Self::parse(&item) {
                Ok(stream) => streams.push(stream),
                Err(problem) => settings.problem(problem.at(format_args!("streams: {item}"))),
            }
        }
        streams
    }

    fn parse(item: &str) -> Result<Self, Report> {
        let wanted = || Report::new(ErrorCode::Config, "want NAME=subject, several subjects with spaces");
        let (name, subjects) = item.split_once('=').ok_or_else(wanted)?;
        let subjects: Vec<String> = subjects.split_whitespace().map(str::to_owned).collect();
        if !is_token(name.trim()) || subjects.is_empty() {
            return Err(wanted());
        }
        subjects.iter().try_for_each(|subject| check_subject(subject, true))?;
        Ok(Self { name: name.trim().to_owned(), subjects })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn read(streams: &str) -> Result<Vec<StreamSpec>, Vec<Report>> {
        let map = BTreeMap::from([("streams".to_owned(), streams.to_owned())]);
        let mut settings = Settings::new(&map);
        let streams = StreamSpec::read(&mut settings);
        let problems = settings.finish();
        if problems.is_empty() { Ok(streams) } else { Err(problems) }
    }

    #[test]
    fn streams_are_read_with_their_subjects() {
        let named = |name: &str, subjects: &[&str]| StreamSpec {
            name: name.to_owned(),
            subjects: subjects.iter().map(|subject| (*subject).to_owned()).collect(),
        };
        let streams = read("ORDERS=orders.> returns.*, AUDIT=audit.x").unwrap();
        assert_eq!(streams, [named("ORDERS", &["orders.>", "returns.*"]), named("AUDIT", &["audit.x"])]);
        assert!(read("").unwrap().is_empty());
    }

    #[test]
    fn a_stream_over_the_servers_or_the_lattices_own_subjects_is_refused() {
        for bad in ["X=$JS.API.>", "X=trellis.>", "X=>", "X", "=a", "a.b=c", "X=", "X=_INBOX.>"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let problems = read("X=>, Y").unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:#?}");
    }
}
