//! YAML as a tree that knows where each value stood.
//!
//! Less than YAML on purpose: one document, scalar keys, no anchors, aliases, tags or directives,
//! bounded in size, depth and number of values. Scalars keep their text and whether they were
//! quoted: what a plain `no` or `012` means is decided where the expected type is known.
//!
//! Invariant: keys of a mapping are unique (a second one is reported and left out).

use crate::error::{ErrorCode, Report};
use serde_saphyr::granit_parser::{self, ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, StrInput};
use std::collections::BTreeSet;

/// Largest manifest, bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// Deepest nesting.
pub const MAX_DEPTH: usize = 64;
/// Most values.
pub const MAX_NODES: usize = 100_000;

/// Where something stood: line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub line: usize,
    pub column: usize,
}

impl From<&Marker> for Place {
    fn from(marker: &Marker) -> Self {
        Self { line: marker.line(), column: marker.col() + 1 }
    }
}

/// A value and where it stood.
#[derive(Debug)]
pub(super) struct Node {
    pub place: Place,
    pub data: Data,
}

/// A value.
#[derive(Debug)]
pub(super) enum Data {
    Scalar { text: String, quoted: bool },
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub key: String,
    pub place: Place,
    pub value: Node,
}

/// Why the text is no tree: what, where, and what to do about it.
#[derive(Debug)]
pub(super) struct YamlError {
    pub report: Report,
    pub place: Option<Place>,
}

impl YamlError {
    fn at(place: Place, report: Report) -> Self {
        Self { report, place: Some(place) }
    }
}

/// The tree of a text, or why there is none. Duplicate keys do not end the reading.
pub(super) fn read(text: &str) -> Result<(Node, Vec<YamlError>), YamlError> {
    check_text(text)?;
    let options = granit_parser::options! {
        disallow_directives: true,
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder::default();
    for next in Parser::with_options(StrInput::new(text), options) {
        let (event, span) = next.map_err(|error| syntax(&error))?;
        let start = span.tag_start().unwrap_or(span.start);
        builder.event(event, Place::from(&start))?;
    }
    match builder.root {
        Some(root) => Ok((root, builder.duplicates)),
        None => Err(YamlError { report: yaml("the manifest is empty"), place: None }),
    }
}

fn yaml(what: impl Into<String>) -> Report {
    Report::new(ErrorCode::Yaml, what)
}

fn check_text(text: &str) -> Result<(), YamlError> {
    if text.len() > MAX_BYTES {
        let report = Report::new(ErrorCode::TooLarge, "manifest too large")
            .got(format!("{} bytes", text.len()))
            .limit(format!("{MAX_BYTES} bytes"))
            .hint("split it into several applications");
        return Err(YamlError { report, place: None });
    }
    let control =
        |character: char| character.is_control() && !matches!(character, '\t' | '\n' | '\r' | '\u{85}');
    if let Some((offset, character)) = text.char_indices().find(|(_, character)| control(*character)) {
        let before = text.get(..offset).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let place = Place {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        };
        let what = format!("control character U+{:04X}", u32::from(character));
        return Err(YamlError::at(place, yaml(what).hint("save the file as plain UTF-8 text")));
    }
    Ok(())
}

fn syntax(error: &ScanError) -> YamlError {
    let place = Place::from(error.marker());
    let report = match error.kind() {
        ErrorKind::RecursionLimitExceeded => too_deep(),
        ErrorKind::UnknownAnchor => aliases(),
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation => {
            yaml("a tab where only spaces indent").hint("replace tabs by spaces")
        }
        _ => yaml(error.info()),
    };
    YamlError::at(place, report)
}

fn too_deep() -> Report {
    yaml("nested too deep").got(format!("depth > {MAX_DEPTH}")).limit(MAX_DEPTH)
}

fn aliases() -> Report {
    yaml("aliases not allowed").hint("write the value out where it is used")
}

/// A collection that is still open.
#[derive(Debug)]
enum Open {
    Sequence { place: Place, items: Vec<Node> },
    Mapping { place: Place, entries: Vec<Entry>, seen: BTreeSet<String>, key: Option<(String, Place)> },
}

/// Builds the tree from events with a stack of its own: no recursion over foreign input.
#[derive(Debug, Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
    documents: usize,
    duplicates: Vec<YamlError>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, place: Place) -> Result<(), YamlError> {
        if event.anchor_id().is_some_and(|id| id != 0) {
            return Err(YamlError::at(place, aliases()));
        }
        if let Some(tag) = event.tag() {
            let report = yaml(format!("tags not allowed: {}", tag.original()));
            return Err(YamlError::at(place, report.hint("leave the tag out; quote what is text")));
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let report = yaml("more than one document").hint("one application per file");
                    return Err(YamlError::at(place, report));
                }
                Ok(())
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => Err(YamlError::at(place, aliases())),
            Event::Scalar(text, style, _, _) => {
                let quoted = style != ScalarStyle::Plain;
                self.add(Node { place, data: Data::Scalar { text: text.into_owned(), quoted } })
            }
            Event::SequenceStart(..) => self.begin(Open::Sequence { place, items: Vec::new() }, place),
            Event::MappingStart(..) => {
                let open = Open::Mapping { place, entries: Vec::new(), seen: BTreeSet::new(), key: None };
                self.begin(open, place)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::Sequence { place, items }) => {
                    self.add(Node { place, data: Data::Sequence(items) })
                }
                Some(Open::Mapping { place, entries, .. }) => {
                    self.add(Node { place, data: Data::Mapping(entries) })
                }
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn begin(&mut self, open: Open, place: Place) -> Result<(), YamlError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(YamlError::at(place, too_deep()));
        }
        if matches!(self.open.last(), Some(Open::Mapping { key: None, .. })) {
            return Err(complex_key(place));
        }
        self.open.push(open);
        Ok(())
    }

    fn add(&mut self, node: Node) -> Result<(), YamlError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let report = yaml("too many values").got(format!("over {MAX_NODES}")).limit(MAX_NODES);
            return Err(YamlError::at(node.place, report));
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::Sequence { items, .. }) => items.push(node),
            Some(Open::Mapping { entries, seen, key, .. }) => match (key.take(), node.data) {
                (None, Data::Scalar { text, .. }) => *key = Some((text, node.place)),
                (None, _) => return Err(complex_key(node.place)),
                (Some((key, place)), data) => {
                    if seen.insert(key.clone()) {
                        entries.push(Entry { key, place, value: Node { place: node.place, data } });
                    } else {
                        self.duplicates.push(YamlError::at(place, yaml(format!("duplicate key {key:?}"))));
                    }
                }
            },
        }
        Ok(())
    }
}

fn complex_key(place: Place) -> YamlError {
    YamlError::at(place, yaml("a key that is not a word").hint("keys are plain text"))
}
