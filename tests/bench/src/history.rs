//! What earlier runs measured: the files under `tests/bench/history`, named by their time.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tests_harness::workspace;

/// What an earlier run measured of a case.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Before {
    /// When, UTC.
    pub when: String,
    /// Of which commit.
    pub commit: String,
    /// Its median, in the case's unit.
    pub ours: f64,
    /// That divided by its reference.
    pub ratio: f64,
}

#[derive(Deserialize)]
struct Kept {
    machine: KeptMachine,
    rows: Vec<KeptRow>,
}

#[derive(Deserialize)]
struct KeptMachine {
    when: String,
    commit: String,
}

#[derive(Deserialize)]
struct KeptRow {
    case: String,
    ours: f64,
    ratio: f64,
}

/// Where runs are kept.
pub fn folder() -> PathBuf {
    workspace::root().join("tests/bench/history")
}

/// The newest kept run of a case.
///
/// # Errors
/// A kept file that cannot be read.
pub fn newest(case: &str) -> Result<Option<Before>> {
    let folder = folder();
    if !folder.is_dir() {
        return Ok(None);
    }
    let mut files = std::fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    for path in files.iter().rev() {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        if let Some(before) = find(&text, case).with_context(|| path.display().to_string())? {
            return Ok(Some(before));
        }
    }
    Ok(None)
}

fn find(text: &str, case: &str) -> Result<Option<Before>> {
    let Kept { machine: KeptMachine { when, commit }, rows } = serde_json::from_str(text)?;
    let row = rows.into_iter().find(|row| row.case == case);
    Ok(row.map(|KeptRow { ours, ratio, .. }| Before { when, commit, ours, ratio }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::Case;

    #[test]
    fn every_kept_run_can_be_read_and_the_newest_that_has_the_case_counts() {
        let text = r#"{"machine": {"when": "2026-01-01T00:00:00Z", "commit": "abc", "cores": 2},
            "rows": [{"case": "a", "unit": "us", "ours": 2.0, "ratio": 0.5}]}"#;
        let before = find(text, "a").unwrap().unwrap();
        assert_eq!((before.commit.as_str(), before.ours, before.ratio), ("abc", 2.0, 0.5));
        assert!(find(text, "b").unwrap().is_none());
        for case in Case::all() {
            newest(&case.name()).unwrap();
        }
    }
}
