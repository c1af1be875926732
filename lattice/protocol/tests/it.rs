//! Bad manifests, one case a row: `tests/cases/manifest.toml` holds the input and every line that
//! must come out, word for word. Inputs too big for a file are made here.

use lattice_protocol::manifest::{parse, parse_bytes};
use serde::Deserialize;

const FILE: &str = "app.yaml";

#[derive(Deserialize)]
struct Cases {
    case: Vec<Case>,
}

/// One row of shared/BAD_INPUT.md, or one way of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// Row, and what is special.
    name: String,
    /// A whole manifest.
    #[serde(default)]
    manifest: Option<String>,
    /// Fields of one actor, in the place of `{{actor}}` below.
    #[serde(default)]
    actor: Option<String>,
    /// Fields of one link of the actor `a` to the provider `kv`.
    #[serde(default)]
    link: Option<String>,
    /// Every report, in order; none means that the manifest is good.
    errors: Vec<String>,
}

const ACTOR: &str = "\
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: shop }
spec:
  actors:
    - name: a
      artifact: a.wasm
      {{actor}}
  providers:
    - { name: kv, kind: keyvalue-embedded }
";

impl Case {
    /// The text to read; none when the case does not say just one.
    fn text(&self) -> Option<String> {
        let link = |fields: &str| format!("links: [{{ to: kv, interface: 'wasi:keyvalue', {fields} }}]");
        match (&self.manifest, &self.actor, &self.link) {
            (Some(manifest), None, None) => Some(manifest.clone()),
            (None, Some(actor), None) => {
                Some(ACTOR.replace("{{actor}}", &actor.trim_end().replace('\n', "\n      ")))
            }
            (None, None, Some(fields)) => Some(ACTOR.replace("{{actor}}", &link(fields))),
            _ => None,
        }
    }
}

fn lines(
    result: Result<lattice_protocol::manifest::Application, Vec<lattice_protocol::Report>>,
) -> Vec<String> {
    result.err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn every_bad_manifest_gets_its_lines() {
    let cases: Cases = toml::from_str(include_str!("cases/manifest.toml")).unwrap();
    let wrong: Vec<String> = cases
        .case
        .iter()
        .filter_map(|case| {
            let got = lines(parse(&case.text().expect(&case.name), FILE));
            (got != case.errors)
                .then(|| format!("{}\n  got      {got:#?}\n  expected {:#?}", case.name, case.errors))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.case.len(), wrong.join("\n"));
}

/// Rows 48 to 50: what would take memory or stack is refused by its size, whatever it is.
#[test]
fn bombs_are_refused() {
    let aliases: String = (1..10)
        .map(|level| format!("l{level}: &l{level} [{}]\n", vec![format!("*l{}", level - 1); 10].join(", ")))
        .collect();
    for (name, text, expected) in [
        (
            "aliases",
            format!("l0: &l0 lol\n{aliases}"),
            "E_YAML: aliases not allowed: app.yaml:1:9; write the value out where it is used",
        ),
        (
            "brackets",
            "[".repeat(100_000),
            "E_YAML: nested too deep: app.yaml:1:65 (got depth > 64, expected 64)",
        ),
        (
            "dashes",
            "- ".repeat(100_000),
            "E_YAML: nested too deep: app.yaml:1:129 (got depth > 64, expected 64)",
        ),
        (
            "50 MB",
            "# padding\n".repeat(5_000_000),
            "E_TOO_LARGE: manifest too large: app.yaml (got 50000000 bytes, expected 1048576 bytes); split it into several applications",
        ),
        (
            "values",
            format!("[{}]", "a,".repeat(200_000)),
            "E_YAML: too many values: app.yaml:1:200002 (got over 100000, expected 100000)",
        ),
    ] {
        assert_eq!(lines(parse(&text, FILE)), [expected], "{name}");
    }
}

/// Row 51: encodings.
#[test]
fn what_is_not_utf8_gets_one_line() {
    let utf16: Vec<u8> =
        [0xff, 0xfe].into_iter().chain("kind: x".encode_utf16().flat_map(u16::to_le_bytes)).collect();
    assert_eq!(
        lines(parse_bytes(&utf16, FILE)),
        ["E_YAML: the file is UTF-16: app.yaml; save the file as UTF-8"]
    );
    assert_eq!(
        lines(parse_bytes(b"kind: \xff", FILE)),
        ["E_YAML: not UTF-8 at byte 6: app.yaml; save the file as UTF-8"]
    );
    assert_eq!(
        lines(parse("kind: a\nname: b\0c\n", FILE)),
        ["E_YAML: control character U+0000: app.yaml:2:8; save the file as plain UTF-8 text"]
    );
}

/// A file with very many mistakes is answered with a bounded list and a count.
#[test]
fn problems_are_counted_when_there_are_too_many() {
    let fields: String = (0..250).map(|index| format!("unknown-{index}: 1\n")).collect();
    let text =
        format!("apiVersion: trellis.dev/v1\nkind: Application\nmetadata: {{name: a}}\nspec: {{}}\n{fields}");
    let found = lines(parse(&text, FILE));
    assert_eq!(found.len(), 101);
    assert_eq!(found[100], "E_MANIFEST: 150 further problems: app.yaml; correct these first");
}
