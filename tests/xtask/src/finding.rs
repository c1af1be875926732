//! One violation of a rule, and how a person sees it: `rule: where: what; what to do`.

use std::fmt;

/// What a check found wrong. Findings sort by place, so that a report reads file by file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// `path`, or `path:line`, from the root of the repository.
    pub place: String,
    /// The rule's short name, as ARCHITECTURE.md and `tidy: allow` comments spell it.
    pub rule: &'static str,
    /// What is wrong and what to do.
    pub what: String,
}

impl Finding {
    pub fn new(rule: &'static str, place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), rule, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.rule, self.place, self.what)
    }
}

/// Prints the findings and a closing line for `command`; true if there are none.
pub fn report(command: &str, mut findings: Vec<Finding>, checked: &str) -> bool {
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => println!("{command}: ok ({checked})"),
        count => println!("{command}: {count} violations ({checked})"),
    }
    findings.is_empty()
}
