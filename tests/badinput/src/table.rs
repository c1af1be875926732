//! The coverage table: each named row, how many tries it had, and what was wrong.

use crate::rows::{ELSEWHERE, NAMED};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One case that was tried.
#[derive(Debug, Clone, Default)]
pub struct Tried {
    /// Its rows.
    pub rows: Vec<String>,
    /// Which case, in words.
    pub name: String,
    /// How often: variants of its input, commands.
    pub tries: usize,
    /// What was wrong.
    pub wrong: Vec<String>,
    /// Milliseconds, all tries together.
    pub took_ms: u128,
}

/// What became of every row.
#[derive(Debug, Default)]
pub struct Coverage {
    tried: Vec<Tried>,
}

impl Coverage {
    /// Of these cases.
    #[must_use]
    pub fn new(tried: Vec<Tried>) -> Self {
        Self { tried }
    }

    /// The table, and below it all that is wrong.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::from("row       cases  tries      ms  result\n");
        for row in NAMED {
            let cases: Vec<&Tried> = self.of(row).collect();
            let tries: usize = cases.iter().map(|case| case.tries).sum();
            let took: u128 = cases.iter().map(|case| case.took_ms).sum();
            let result = match (elsewhere(row), cases.is_empty()) {
                (Some(why), true) => format!("not here: {why}"),
                (Some(_), false) => "IN A CASE AND SAID NOT TO BE".to_owned(),
                (None, true) => "NOT COVERED".to_owned(),
                (None, false) if cases.iter().all(|case| case.wrong.is_empty()) => "passed".to_owned(),
                (None, false) => "FAILED".to_owned(),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{row:<9} {:>5} {tries:>6} {took:>7}  {result}", cases.len());
        }
        for problem in self.problems() {
            let _ = writeln!(text, "\n{problem}");
        }
        text
    }

    fn of<'a>(&'a self, row: &'a str) -> impl Iterator<Item = &'a Tried> {
        self.tried.iter().filter(move |case| case.rows.iter().any(|have| have == row))
    }

    /// Everything that is wrong: cases that failed, rows that nobody tried or named.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let failed = self.tried.iter().filter(|case| !case.wrong.is_empty());
        let mut problems: Vec<String> = failed
            .map(|case| format!("row {} {}:\n  {}", case.rows.join(", "), case.name, case.wrong.join("\n  ")))
            .collect();
        for row in NAMED {
            match (elsewhere(row), self.of(row).count()) {
                (None, 0) => problems.push(format!("row {row} is in no case and has no reason")),
                (Some(_), 1..) => {
                    problems.push(format!("row {row} is in a case, and its reason says that it is not"))
                }
                _ => {}
            }
        }
        let mut unknown = BTreeMap::new();
        for case in &self.tried {
            for row in case.rows.iter().filter(|row| !NAMED.contains(&row.as_str())) {
                unknown.insert(row, &case.name);
            }
        }
        problems
            .extend(unknown.iter().map(|(row, name)| format!("{name} is of row {row}, which there is not")));
        problems
    }
}

fn elsewhere(row: &str) -> Option<&'static str> {
    ELSEWHERE.iter().find(|(rows, _)| rows.contains(&row)).map(|(_, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything_but(missing: &str) -> Vec<Tried> {
        let rows = NAMED.iter().filter(|row| elsewhere(row).is_none() && **row != missing);
        vec![Tried { rows: rows.map(|row| (*row).to_owned()).collect(), ..Tried::default() }]
    }

    #[test]
    fn a_row_that_nobody_tried_is_a_problem() {
        assert_eq!(Coverage::new(everything_but("")).problems(), Vec::<String>::new());
        let coverage = Coverage::new(everything_but("26"));
        assert_eq!(coverage.problems(), ["row 26 is in no case and has no reason"]);
        assert!(coverage.table().contains("NOT COVERED"));
    }

    #[test]
    fn a_reason_that_is_no_longer_true_and_a_row_that_there_is_not_are_problems() {
        let mut tried = everything_but("");
        tried.push(Tried { rows: vec!["46".into(), "101".into()], name: "x".into(), ..Tried::default() });
        assert_eq!(Coverage::new(tried).problems().len(), 2);
    }
}
