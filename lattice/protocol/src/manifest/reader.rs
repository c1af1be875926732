//! Walks a located tree and collects every problem, each with its code, file, line, column and
//! path. A reader's method gives `None` when it has reported why; callers go on and read the rest.

use super::config;
use super::scalar::{Plain, classify};
use super::suggest::closest;
use super::yaml::{Data, Entry, Node, Place};
use crate::error::{ErrorCode, Report};
use crate::name::is_token;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Most problems that are shown; the rest are counted.
pub const MAX_PROBLEMS: usize = 100;

/// A path in the manifest, and where in the file it stands.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    pub path: String,
    pub place: Place,
}

/// A node and its path.
#[derive(Debug, Clone)]
pub(super) struct At<'n> {
    pub node: &'n Node,
    pub path: String,
}

impl At<'_> {
    pub fn spot(&self) -> Spot {
        Spot { path: self.path.clone(), place: self.node.place }
    }
}

/// A mapping whose fields are all known.
#[derive(Debug)]
pub(super) struct Fields<'n> {
    pub at: At<'n>,
    entries: &'n [Entry],
}

impl<'n> Fields<'n> {
    /// The field, when it is there and not null.
    pub fn get(&self, name: &str) -> Option<At<'n>> {
        let entry = self.entries.iter().find(|entry| entry.key == name)?;
        let null = matches!(&entry.value.data, Data::Scalar { text, quoted: false } if classify(text) == Plain::Null);
        (!null).then(|| At { node: &entry.value, path: join(&self.at.path, name) })
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The file, and what is wrong with it so far.
#[derive(Debug)]
pub(super) struct Reader {
    file: String,
    problems: Vec<(Option<Place>, Report)>,
}

impl Reader {
    pub fn new(file: &str) -> Self {
        Self { file: file.to_owned(), problems: Vec::new() }
    }

    /// All problems in the order of the file.
    pub fn finish(mut self) -> Vec<Report> {
        self.problems.sort_by_key(|(place, _)| place.map(|place| (place.line, place.column)));
        let hidden = self.problems.len().saturating_sub(MAX_PROBLEMS);
        let mut reports: Vec<Report> =
            self.problems.into_iter().take(MAX_PROBLEMS).map(|(_, report)| report).collect();
        if hidden > 0 {
            let report = Report::new(ErrorCode::Manifest, format!("{hidden} further problems"));
            reports.push(report.at(self.file).hint("correct these first"));
        }
        reports
    }

    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// Adds a problem; a place it already has is a path below the spot.
    pub fn problem(&mut self, spot: &Spot, mut report: Report) {
        let path = match report.place.take() {
            Some(below) => join(&spot.path, &below),
            None => spot.path.clone(),
        };
        let Place { line, column } = spot.place;
        let separator = if path.is_empty() { "" } else { ": " };
        self.problems
            .push((Some(spot.place), report.at(format!("{}:{line}:{column}{separator}{path}", self.file))));
    }

    /// Adds a problem of the whole file, or of a place without a path.
    pub fn problem_at(&mut self, place: Option<Place>, report: Report) {
        match place {
            Some(place) => self.problem(&Spot { path: String::new(), place }, report),
            None => self.problems.push((None, report.at(&self.file))),
        }
    }

    fn wrong(&mut self, at: &At<'_>, what: &str, expected: impl Display) {
        let mut report = Report::new(ErrorCode::Manifest, what).got(shown(at.node)).limit(expected);
        if let Data::Scalar { text, quoted: false } = &at.node.data
            && what == NOT_TEXT
        {
            report = report.hint(format!("quote it: {text:?}"));
        }
        self.problem(&at.spot(), report);
    }

    /// The fields of a mapping; unknown ones are reported.
    pub fn fields<'n>(&mut self, at: &At<'n>, known: &[&str]) -> Option<Fields<'n>> {
        let Data::Mapping(entries) = &at.node.data else {
            self.wrong(at, "not a mapping", format!("fields: {}", known.join(", ")));
            return None;
        };
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let key: String = entry.key.chars().take(80).collect();
            let place = if at.path.is_empty() { "the top" } else { &at.path };
            let hint = match closest(&entry.key, known.iter().copied()) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None => format!("known: {}", known.join(", ")),
            };
            let report =
                Report::new(ErrorCode::Manifest, format!("unknown field {key:?} at {place}")).hint(hint);
            self.problem_at(Some(entry.place), report);
        }
        Some(Fields { at: at.clone(), entries })
    }

    /// A field that must be there.
    pub fn required<'n>(&mut self, fields: &Fields<'n>, name: &str) -> Option<At<'n>> {
        let found = fields.get(name);
        if found.is_none() {
            let report = Report::new(ErrorCode::Manifest, format!("missing field {name:?}"));
            self.problem(&fields.at.spot(), report);
        }
        found
    }

    /// The items of a list.
    pub fn items<'n>(&mut self, at: &At<'n>) -> Vec<At<'n>> {
        let Data::Sequence(items) = &at.node.data else {
            self.wrong(at, "not a list", "a list");
            return Vec::new();
        };
        let item = |(index, node)| At { node, path: format!("{}[{index}]", at.path) };
        items.iter().enumerate().map(item).collect()
    }

    /// Every key of a mapping of free keys.
    pub fn entries<'n>(&mut self, at: &At<'n>) -> Vec<(&'n str, At<'n>)> {
        let Data::Mapping(entries) = &at.node.data else {
            self.wrong(at, "not a mapping", "keys and values");
            return Vec::new();
        };
        let child = |entry: &'n Entry| At { node: &entry.value, path: join(&at.path, &entry.key) };
        entries.iter().map(|entry| (entry.key.as_str(), child(entry))).collect()
    }

    /// Text: quoted, or such that no reader of YAML takes it for something else.
    pub fn text(&mut self, at: &At<'_>) -> Option<String> {
        match &at.node.data {
            Data::Scalar { text, quoted } if *quoted || classify(text) == Plain::Text => Some(text.clone()),
            _ => {
                self.wrong(at, NOT_TEXT, "text");
                None
            }
        }
    }

    /// Text in which something must stand.
    pub fn words(&mut self, at: &At<'_>) -> Option<String> {
        let text = self.text(at)?;
        if text.trim().is_empty() {
            self.problem(&at.spot(), Report::new(ErrorCode::Manifest, "empty"));
            return None;
        }
        Some(text)
    }

    /// Text that is a name, an interface, or whatever else has a form of its own.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, at: &At<'_>, code: ErrorCode) -> Option<T> {
        let text = self.text(at)?;
        match text.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.problem(&at.spot(), Report::new(code, error.to_string()));
                None
            }
        }
    }

    /// A whole number within a range.
    pub fn number<N: TryFrom<u64>>(&mut self, at: &At<'_>, range: RangeInclusive<u64>) -> Option<N> {
        let expected = format!("{}..{}", range.start(), range.end());
        let Data::Scalar { text, quoted: false } = &at.node.data else {
            self.wrong(at, "not a whole number", expected);
            return None;
        };
        if classify(text) != Plain::Whole {
            self.wrong(at, "not a whole number", expected);
            return None;
        }
        let number =
            text.parse().ok().filter(|number| range.contains(number)).and_then(|n| N::try_from(n).ok());
        if number.is_none() {
            self.wrong(at, "out of range", expected);
        }
        number
    }

    /// `true` or `false`.
    pub fn flag(&mut self, at: &At<'_>) -> Option<bool> {
        if let Data::Scalar { text, quoted: false } = &at.node.data
            && let Plain::Truth(truth) = classify(text)
        {
            return Some(truth);
        }
        self.wrong(at, "not a truth value", "true or false");
        None
    }

    /// One of a few words.
    pub fn one_of<T: Copy>(&mut self, at: &At<'_>, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(at)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let report = Report::new(ErrorCode::Manifest, "unknown word").got(format!("{text:?}"));
            let report = report.limit(known.join(" or "));
            self.problem(&at.spot(), report);
        }
        found
    }

    /// A list of texts.
    pub fn texts(&mut self, at: &At<'_>) -> Vec<String> {
        self.items(at).iter().filter_map(|item| self.words(item)).collect()
    }

    /// Labels, or labels that are required: free keys, values that are text, truth or number.
    pub fn labels(&mut self, at: &At<'_>) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        for (key, at) in self.entries(at) {
            let value = self.value(&at);
            if let Some(report) = config::key_problem(key) {
                self.problem(&at.spot(), report);
            } else if let Some(value) = value {
                labels.insert(key.to_owned(), value);
            }
        }
        labels
    }

    /// Configuration: as labels, but secrets may be referred to and must not be written.
    pub fn config(&mut self, at: &At<'_>) -> BTreeMap<String, String> {
        let mut config = BTreeMap::new();
        for (key, at) in self.entries(at) {
            let value = match &at.node.data {
                Data::Mapping(_) => self.secret(&at),
                // Before anything else could show the value.
                Data::Scalar { text, .. } if config::is_inline_secret(key, text) => {
                    self.problem(&at.spot(), config::inline_secret(key));
                    None
                }
                _ => self.value(&at),
            };
            let Some(value) = value else { continue };
            match config::key_problem(key).or_else(|| config::value_problem(key, &value)) {
                Some(report) => self.problem(&at.spot(), report),
                None => drop(config.insert(key.to_owned(), value)),
            }
        }
        config
    }

    fn secret(&mut self, at: &At<'_>) -> Option<String> {
        let fields = self.fields(at, &["secretRef"])?;
        let at = self.required(&fields, "secretRef")?;
        let name = self.text(&at)?;
        if !is_token(&name) {
            // Not shown: it may be the secret itself.
            let report = Report::new(ErrorCode::Name, "not the name of a secret");
            self.problem(&at.spot(), report.limit("A-Za-z0-9_-, 1..64"));
            return None;
        }
        Some(format!("{}{name}", config::SECRET_PREFIX))
    }

    /// A value that is kept as text: text, a truth value, or a number every reader spells alike.
    fn value(&mut self, at: &At<'_>) -> Option<String> {
        match &at.node.data {
            Data::Scalar { text, quoted }
                if *quoted
                    || matches!(
                        classify(text),
                        Plain::Text | Plain::Truth(_) | Plain::Whole | Plain::Decimal
                    ) =>
            {
                Some(text.clone())
            }
            _ => {
                self.wrong(at, NOT_TEXT, "text");
                None
            }
        }
    }
}

const NOT_TEXT: &str = "not text";

/// What a node is, in words, for messages. Never the content of anything but a short scalar.
fn shown(node: &Node) -> String {
    match &node.data {
        Data::Mapping(_) => "a mapping".to_owned(),
        Data::Sequence(_) => "a list".to_owned(),
        Data::Scalar { text, quoted } => {
            let short: String = text.chars().take(40).collect();
            match classify(text) {
                _ if *quoted => format!("text {short:?}"),
                Plain::Null => "nothing".to_owned(),
                Plain::Truth(_) => format!("truth value {short}"),
                Plain::Whole | Plain::Decimal => format!("number {short}"),
                Plain::Ambiguous(what) => format!("{short}, which may be {what}"),
                Plain::Text => format!("text {short:?}"),
            }
        }
    }
}
