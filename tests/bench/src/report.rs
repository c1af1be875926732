//! A row of the result: for people as a table, for programs as one JSON object a line, and for
//! later as a file of the whole run with the machine it ran on.

use crate::history::{self, Before};
use crate::machine::Machine;
use anyhow::{Context, Result};
use serde::Serialize;
use std::path::PathBuf;

/// What counts as good.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// Ours is at least so many times the reference.
    RatioAtLeast(f64),
    /// Ours is at most so many times the reference.
    RatioAtMost(f64),
    /// Ours is at most so much.
    AtMost(f64),
    /// Ours is at most so much more than the reference.
    AtMostAbove(f64),
    /// Told, not judged.
    None,
}

/// What a case measured.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Ours, in the case's unit.
    pub ours: f64,
    /// The bare operation beside it, in the same unit.
    pub reference: f64,
}

/// Another program under the same load.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Beside {
    /// What, and how it was set.
    pub name: &'static str,
    /// Its median, in the row's unit.
    pub value: f64,
    /// Its processor time for a request, microseconds.
    pub cpu_us: f64,
    /// Its most resident memory at the end of a run of load, MiB.
    pub resident_mib: f64,
}

/// One case's result.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Which case.
    pub case: &'static str,
    /// Unit of ours and of the reference.
    pub unit: &'static str,
    /// Median of ours.
    pub ours: f64,
    /// Median of the reference.
    pub reference: f64,
    /// What the reference is.
    pub reference_is: &'static str,
    /// Ours divided by the reference.
    pub ratio: f64,
    /// The goal, in words.
    pub goal: String,
    /// Was it met? True when there is none.
    pub met: bool,
    /// Others under the same load in the same run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<Beside>,
    /// The last kept run of this case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
    /// Anything else worth knowing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The machine's load average (1 min) when it was measured: above our own it was not quiet.
    pub load_average: f64,
}

impl Goal {
    fn is_met(self, measured: Measured) -> bool {
        let ratio = measured.ours / measured.reference;
        match self {
            Self::RatioAtLeast(least) => ratio >= least,
            Self::RatioAtMost(most) => ratio <= most,
            Self::AtMost(most) => measured.ours <= most,
            Self::AtMostAbove(most) => measured.ours - measured.reference <= most,
            Self::None => true,
        }
    }

    fn words(self, unit: &str) -> String {
        match self {
            Self::RatioAtLeast(least) => format!("ratio >= {least}"),
            Self::RatioAtMost(most) => format!("ratio <= {most}"),
            Self::AtMost(most) => format!("<= {most} {unit}"),
            Self::AtMostAbove(most) => format!("<= reference + {most} {unit}"),
            Self::None => "-".to_owned(),
        }
    }
}

impl Row {
    /// Judges what was measured.
    pub fn new(case: &'static str, unit: &'static str, measured: Measured, goal: Goal) -> Self {
        Self {
            case,
            unit,
            ours: measured.ours,
            reference: measured.reference,
            reference_is: "",
            ratio: measured.ours / measured.reference,
            goal: goal.words(unit),
            met: goal.is_met(measured),
            beside: Vec::new(),
            before: None,
            note: None,
            load_average: crate::machine::load_average(),
        }
    }

    /// The reference is judged as well.
    #[must_use]
    pub fn with_reference(mut self, goal: Goal) -> Self {
        let reference = Measured { ours: self.reference, reference: self.reference };
        self.met &= goal.is_met(reference);
        self.goal = format!("{}, reference {}", self.goal, goal.words(self.unit));
        self
    }

    /// Says what the reference is.
    #[must_use]
    pub fn against(mut self, reference: &'static str) -> Self {
        self.reference_is = reference;
        self
    }

    /// Adds what else is worth knowing.
    #[must_use]
    pub fn note(mut self, note: String) -> Self {
        self.note = Some(note);
        self
    }
}

/// The head of the table.
pub fn head() {
    println!("{}", line(["case", "unit", "ours", "reference", "ratio", "goal", "met"].map(str::to_owned)));
}

/// One row, in the table or as JSON.
pub fn print(row: &Row, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(row)?);
        return Ok(());
    }
    let met = if row.met { "yes" } else { "NO" };
    let cells = [
        row.case.to_owned(),
        row.unit.to_owned(),
        figure(row.ours),
        figure(row.reference),
        format!("{:.3}", row.ratio),
        row.goal.clone(),
        met.to_owned(),
    ];
    println!(
        "{}   {}{}",
        line(cells),
        row.reference_is,
        row.note.as_ref().map(|note| format!("; {note}")).unwrap_or_default()
    );
    for other in &row.beside {
        println!(
            "    {}: {} {}, {:.1} us of processor a request, {:.1} MiB resident; ours is {:.2} x as fast",
            other.name,
            figure(other.value),
            row.unit,
            other.cpu_us,
            other.resident_mib,
            row.ours / other.value
        );
    }
    if let Some(before) = &row.before {
        println!(
            "    before: {} {}, ratio {:.3} ({}, {}); the ratio is {:.2} x that",
            figure(before.ours),
            row.unit,
            before.ratio,
            before.when,
            before.commit,
            row.ratio / before.ratio
        );
    }
    Ok(())
}

fn line(cells: [String; 7]) -> String {
    let [case, unit, ours, reference, ratio, goal, met] = cells;
    format!("{case:<20} {unit:<6} {ours:>10} {reference:>10} {ratio:>8}   {goal:<14} {met:<4}")
}

/// Four digits that mean something.
fn figure(value: f64) -> String {
    match value {
        value if value >= 1_000.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.3}"),
    }
}

#[derive(Serialize)]
struct Record<'a> {
    machine: Machine,
    rows: &'a [Row],
}

/// Keeps a run under `tests/bench/history`, named by its time and commit.
pub fn save(rows: &[Row]) -> Result<PathBuf> {
    let machine = Machine::here();
    let folder = history::folder();
    std::fs::create_dir_all(&folder)?;
    let name = format!("{}-{}.json", machine.when.replace(':', ""), machine.commit);
    let path = folder.join(name);
    let text = serde_json::to_string_pretty(&Record { machine, rows })?;
    std::fs::write(&path, format!("{text}\n")).with_context(|| path.display().to_string())?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_goal_is_judged_by_what_it_is_about() {
        let measured = |ours, reference| Measured { ours, reference };
        assert!(Goal::RatioAtLeast(0.5).is_met(measured(50.0, 100.0)));
        assert!(!Goal::RatioAtLeast(0.5).is_met(measured(49.0, 100.0)));
        assert!(Goal::RatioAtMost(1.5).is_met(measured(150.0, 100.0)));
        assert!(!Goal::RatioAtMost(1.5).is_met(measured(151.0, 100.0)));
        assert!(Goal::AtMost(3.0).is_met(measured(3.0, 0.1)));
        assert!(!Goal::AtMost(3.0).is_met(measured(3.1, 100.0)));
    }

    #[test]
    fn a_row_in_json_names_what_a_program_needs() {
        let row = Row::new("a", "us", Measured { ours: 2.0, reference: 4.0 }, Goal::AtMost(3.0)).against("b");
        let json = serde_json::to_value(&row).unwrap();
        assert_eq!(json["case"], "a");
        assert_eq!(json["ratio"], 0.5);
        assert_eq!(json["goal"], "<= 3 us");
        assert_eq!(json["met"], true);
        assert_eq!(json["referenceIs"], "b");
    }
}
