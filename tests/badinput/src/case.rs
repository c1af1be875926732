//! One case: an input, what is done with it, and what must come of it. Cases are TOML, so that a
//! reader sees rows and not code; what a text cannot hold is made by a generator that it names.
//!
//! In every text `$EACH` stands for one of `each` (a case with `each` is that many cases), and
//! `{{x*9}}` for nine times `x`.

use anyhow::{Context, Result, bail};
use regex::{Captures, Regex};
use serde::Deserialize;
use toml::{Table, Value};

/// What came of an input must fit all that a case says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// Stable code of the error; several, separated by `|`, where the input decides which.
    pub code: Option<String>,
    /// Exit status of a command, or status of an HTTP answer (0: closed without one); several,
    /// separated by `|`.
    pub status: Option<String>,
    /// Regular expression that the one line of the error (or the answer) must match.
    pub line: Option<String>,
    /// Regular expression over everything else that was said: standard output, logs.
    pub shows: Option<String>,
    /// Longest time, milliseconds. Generous: it tells a hang or an explosion, not a slow machine.
    pub max_ms: Option<u64>,
    /// Most memory beyond what the program needs to do nothing, MiB.
    pub max_mib: Option<u64>,
}

/// A token in a component's claims, other than the good one.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Token {
    /// The header, instead of the only one that is right.
    pub header: Option<String>,
    /// (member, JSON) pairs put in the place of what the good claims say; `-` takes one out.
    pub set: Vec<(String, String)>,
    /// Text put in front of the first member.
    pub first: Option<String>,
    /// What is done to the finished token, by name.
    pub then: Option<String>,
}

/// One case.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Rows of BAD_INPUT.md that it is a case of.
    pub rows: Vec<String>,
    /// What is special about it.
    pub name: String,
    /// Commands; each is one try.
    #[serde(default)]
    pub run: Vec<String>,
    /// Bytes sent on a connection of their own to the host's HTTP port.
    pub send: Option<String>,
    /// A scenario of this runner, by name, for what takes more than one step.
    pub scenario: Option<String>,
    /// What the scenario is told.
    #[serde(default)]
    pub with: String,
    /// A generator and its arguments: it makes `file`, once or in many variants.
    pub make: Option<String>,
    /// The text of a component, signed with every capability.
    pub wat: Option<String>,
    /// A token for a component that is otherwise good.
    pub token: Option<Token>,
    /// The content of `file`.
    pub text: Option<String>,
    /// Name of the file that is made; `app.wasm` unless said.
    #[serde(default = "default_file")]
    pub file: String,
    /// The manifest, unless it is the file itself.
    pub manifest: Option<String>,
    /// What must come of it.
    pub expect: Expect,
}

fn default_file() -> String {
    "app.wasm".to_owned()
}

impl std::fmt::Display for Case {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "row {:?} {:?}", self.rows, self.name)
    }
}

/// Reads the cases of one file.
///
/// # Errors
/// What is not as above, with the file's name.
pub fn read(file: &str, text: &str) -> Result<Vec<Case>> {
    let table: Table = text.parse().with_context(|| file.to_owned())?;
    let Some(Value::Array(cases)) = table.get("case") else { bail!("{file}: no [[case]]") };
    let mut read = Vec::new();
    for case in cases {
        let Value::Table(case) = case else { bail!("{file}: a case that is no table") };
        let name = case.get("name").and_then(Value::as_str).unwrap_or("?").to_owned();
        let parsed = expand(case.clone()).and_then(|cases| {
            cases.into_iter().map(|case| Ok(Case::deserialize(case)?)).collect::<Result<Vec<_>>>()
        });
        read.extend(parsed.with_context(|| format!("{file}: {name}"))?);
    }
    Ok(read)
}

/// As many cases as `each` has, each with its own text.
fn expand(mut case: Table) -> Result<Vec<Value>> {
    let repeat = Regex::new(r"(?s)\{\{(.+?)\*(\d+)\}\}")?;
    let times = |found: &Captures<'_>| {
        let text = found.get(1).map_or("", |text| text.as_str());
        text.repeat(found.get(2).and_then(|count| count.as_str().parse().ok()).unwrap_or(0))
    };
    let each = match case.remove("each") {
        None => {
            return Ok(vec![replaced(Value::Table(case), &|text| repeat.replace_all(text, times).into())]);
        }
        Some(Value::Array(each)) => each,
        Some(other) => bail!("each: want a list, got {}", other.type_str()),
    };
    let one = |value: &Value| {
        let value = value.as_str().context("each: want texts")?;
        let mut case = replaced(Value::Table(case.clone()), &|text| text.replace("$EACH", value));
        if let Some(Value::String(name)) = case.get_mut("name") {
            name.push_str(&format!(": {}", value.chars().take(40).collect::<String>()));
        }
        Ok(replaced(case, &|text| repeat.replace_all(text, times).into()))
    };
    each.iter().map(one).collect()
}

/// The value with every text in it changed.
fn replaced(value: Value, change: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(change(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(|item| replaced(item, change)).collect()),
        Value::Table(table) => {
            Value::Table(table.into_iter().map(|(key, value)| (key, replaced(value, change))).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_and_repetition_are_written_out() {
        let text = r#"
            [[case]]
            rows = ["1"]
            name = "n"
            each = ["a", "b"]
            run = ["x $EACH {{ab*3}}"]
            expect = { line = "$EACH" }
        "#;
        let cases = read("f", text).unwrap();
        let runs: Vec<_> = cases.iter().map(|case| (case.name.as_str(), case.run[0].as_str())).collect();
        assert_eq!(runs, [("n: a", "x a ababab"), ("n: b", "x b ababab")]);
        assert_eq!(cases[1].expect.line.as_deref(), Some("b"));
        assert!(read("f", &text.replace("expect", "expext")).is_err());
    }
}
