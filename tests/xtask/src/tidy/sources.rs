//! Rules on what a source file says: I1 (no clock, no environment), I2 and I4 (homes of names),
//! and the header.

use anyhow::{Context, Result};

use super::layers::{self, PURE};
use super::scan::{Item, Scan};
use crate::finding::Finding;
use crate::metadata::Member;

/// Modules of the standard library that reach outside of the program.
const IMPURE_MODULES: [&str; 6] =
    ["std::env", "std::fs", "std::net", "std::os", "std::process", "std::thread"];
/// Plain values that live in such a module.
const PLAIN_VALUES: [&str; 7] =
    ["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "SocketAddrV4", "SocketAddrV6", "AddrParseError"];
/// Calls that read a clock or the system's randomness, however their type was imported.
const IMPURE_CALLS: [&str; 7] = [
    "Instant::now",
    "SystemTime::now",
    "RandomState::new",
    "thread::spawn",
    "thread::sleep",
    "env::var",
    ".elapsed",
];
/// How the subjects of JetStream, KV, the object store, the system and request replies begin.
const SERVER_SUBJECTS: [&str; 5] = ["$JS.", "$KV.", "$O.", "$SYS.", "_INBOX."];
const PROTOCOL: &str = "lattice/protocol";

/// A file under examination.
pub struct File<'a> {
    /// From the root, with `/`.
    pub path: &'a str,
    pub text: &'a str,
    pub scan: Scan,
    /// The folder of the crate it belongs to; empty for a file of another workspace.
    member: &'a str,
    is_test: bool,
}

impl<'a> File<'a> {
    /// # Errors
    /// The text is not Rust.
    pub fn new(path: &'a str, text: &'a str, members: &'a [Member]) -> Result<Self> {
        let member = members
            .iter()
            .map(|member| member.path.as_str())
            .find(|folder| in_folder(path, folder))
            .unwrap_or_default();
        let inside = path.strip_prefix(member).unwrap_or(path);
        Ok(Self {
            path,
            text,
            scan: Scan::of(text).with_context(|| path.to_owned())?,
            member,
            is_test: layers::is_test_crate(path)
                || inside.split('/').any(|part| part == "tests" || part == "tests.rs"),
        })
    }

    fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.path)
    }

    /// Whether the line, or the one above it, carries `tidy: allow <rule> (<reason>)`.
    fn excused(&self, rule: &str, line: usize) -> bool {
        let wanted = format!("tidy: allow {rule} (");
        self.text.lines().skip(line.saturating_sub(2)).take(2).any(|text| text.contains(&wanted))
    }

    /// What is not test code.
    fn product<'b>(&self, items: &'b [Item]) -> impl Iterator<Item = &'b Item> + use<'b> {
        let skip = self.is_test;
        items.iter().filter(move |item| !skip && !item.in_test)
    }
}

fn in_folder(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// The one crate that speaks NATS.
const WIRE: &str = "lattice/io";

/// All violations in one file.
pub fn check(file: &File<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !file.text.starts_with("//!") {
        findings.push(Finding::new(
            "header",
            file.place(1),
            "does not open with `//!`; say what the file is, why, and its invariants",
        ));
    }
    let mut add = |rule, item: &Item, what: String| {
        if !file.excused(rule, item.line) {
            findings.push(Finding::new(rule, file.place(item.line), what));
        }
    };
    for item in file.product(&file.scan.paths) {
        if PURE.contains(&file.member) && is_impure(&item.text) {
            let what = format!("a pure crate uses {}; take it as an argument", item.text);
            add("I1", item, what);
        }
        if let Some(home) = home_of(&item.text).filter(|home| *home != file.member) {
            let what = format!("names {}; only {home} may, use its types", item.text);
            add("I2", item, what);
        }
    }
    if file.member != PROTOCOL {
        for item in file.product(&file.scan.strings) {
            // The crate that speaks to the server says the server's own subjects.
            if is_subject(&item.text) && !(file.member == WIRE && is_server_subject(&item.text)) {
                let what = format!("the subject {:?}; format it in {PROTOCOL}", item.text);
                add("I4", item, what);
            }
        }
    }
    findings
}

/// A subject of nats-server itself, not of the lattice.
fn is_server_subject(text: &str) -> bool {
    ["$JS.", "$KV.", "$O.", "_INBOX"].iter().any(|prefix| text.starts_with(prefix))
}

fn is_impure(path: &str) -> bool {
    let module =
        IMPURE_MODULES.iter().any(|module| path == *module || path.starts_with(&format!("{module}::")));
    let is_value = path.split("::").any(|segment| PLAIN_VALUES.contains(&segment));
    let call = IMPURE_CALLS.iter().any(|call| path == *call || path.ends_with(&format!("::{call}")));
    (module && !is_value) || call
}

/// The one crate that may say this path.
fn home_of(path: &str) -> Option<&'static str> {
    // A name alone may be a variable or a field; a path is the crate.
    let mut segments = path.split("::");
    if path.contains("::") {
        segments.find_map(|segment| match segment {
            "async_nats" => Some("lattice/io"),
            "wasmtime" => Some("host/runtime"),
            _ if segment.starts_with("wasmtime_wasi") => Some("host/runtime"),
            _ => None,
        })
    } else {
        None
    }
}

/// A heuristic: file names (`trellis.toml`) and versions (`trellis.dev/v1`) have no second dot,
/// wildcard or placeholder.
fn is_subject(text: &str) -> bool {
    let ours = text
        .strip_prefix("trellis.")
        .is_some_and(|rest| rest.contains(['.', '*', '>', '{']) && !rest.contains([' ', '/']));
    ours || SERVER_SUBJECTS.iter().any(|start| text.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules broken by a file with this code below a proper header.
    fn rules(path: &str, code: &str) -> Vec<&'static str> {
        let members: Vec<Member> = [
            "keys",
            "lattice/protocol",
            "lattice/io",
            "host/core",
            "host/runtime",
            "host/daemon",
            "lattice-ctl/planner",
            "tests/lattice",
        ]
        .iter()
        .map(|path| Member {
            name: path.replace('/', "-"),
            path: (*path).to_owned(),
            dependencies: Vec::new(),
        })
        .collect();
        let text = format!("//! A file.\n{code}\n");
        let file = File::new(path, &text, &members).unwrap();
        check(&file).iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn pure_code_reads_no_clock_and_no_environment() {
        for code in [
            "fn f() { std::time::SystemTime::now(); }",
            "use std::time::Instant;\nfn f() { Instant::now(); }",
            "fn f(t: Instant) { t.elapsed(); }",
            "use std::{env};",
            "fn f() { std::fs::read(\"x\"); }",
            "use std::net::TcpStream;",
            "fn f() { std::thread::spawn(g); }",
        ] {
            assert_eq!(rules("host/core/src/a.rs", code), ["I1"], "{code}");
            assert!(rules("host/daemon/src/a.rs", code).is_empty(), "{code}");
        }
        for code in [
            "use std::net::{IpAddr, SocketAddr};",
            "fn f(now: std::time::Instant) -> &'static str { env!(\"CARGO_PKG_VERSION\") }",
            "#[cfg(test)]\nmod tests { fn f() { std::fs::read(\"x\"); } }",
        ] {
            assert!(rules("host/core/src/a.rs", code).is_empty(), "{code}");
        }
        assert!(rules("host/core/src/a/tests.rs", "use std::fs;").is_empty());
    }

    #[test]
    fn foreign_crates_are_named_at_home_only() {
        let nats = "fn f(c: async_nats::Client) {}";
        assert_eq!(rules("host/daemon/src/a.rs", nats), ["I2"]);
        assert_eq!(rules("host/daemon/src/a.rs", "use lattice_io::async_nats::Client;"), ["I2"]);
        assert!(rules("lattice/io/src/a.rs", nats).is_empty());
        let engine = "use wasmtime_wasi_http::p2;";
        assert_eq!(rules("host/daemon/src/a.rs", engine), ["I2"]);
        assert!(rules("host/runtime/src/a.rs", engine).is_empty());
        assert!(rules("host/daemon/src/a.rs", "fn f(wasmtime: u8) {}").is_empty());
    }

    #[test]
    fn subjects_are_written_in_the_protocol_only() {
        for code in [
            "fn f(l: &str) -> String { format!(\"trellis.{l}.evt\") }",
            "const API: &str = \"$JS.API.>\";",
            "const KV: &str = r\"$KV.bucket.key\";",
        ] {
            assert_eq!(rules("host/daemon/src/a.rs", code), ["I4"], "{code}");
            assert!(rules("lattice/protocol/src/a.rs", code).is_empty(), "{code}");
            assert!(rules("tests/lattice/src/a.rs", code).is_empty(), "{code}");
        }
        let own = "fn f(l: &str) -> String { format!(\"trellis.{l}.evt\") }";
        assert_eq!(rules("lattice/io/src/a.rs", own), ["I4"]);
        assert!(rules("lattice/io/src/a.rs", "const API: &str = \"$JS.API.>\";").is_empty());
        for text in ["trellis.toml", "trellis.dev/v1", "trellis.x: see a.b", "a trellis.b.c"] {
            assert!(!is_subject(text), "{text}");
        }
    }

    #[test]
    fn a_line_can_be_excused_with_a_reason() {
        let excused = "// tidy: allow I4 (a metric's name)\nconst M: &str = \"trellis.a.b\";";
        assert!(rules("host/daemon/src/a.rs", excused).is_empty());
        let no_reason = "// tidy: allow I4\nconst M: &str = \"trellis.a.b\";";
        assert_eq!(rules("host/daemon/src/a.rs", no_reason), ["I4"]);
        let other_rule = "// tidy: allow I1 (x)\nconst M: &str = \"trellis.a.b\";";
        assert_eq!(rules("host/daemon/src/a.rs", other_rule), ["I4"]);
    }

    #[test]
    fn a_file_opens_with_its_purpose() {
        let file = File::new("guests/x/src/lib.rs", "use a;\n//! late\n", &[]).unwrap();
        let findings: Vec<String> = check(&file).iter().map(ToString::to_string).collect();
        assert_eq!(
            findings,
            [
                "header: guests/x/src/lib.rs:1: does not open with `//!`; say what the file is, why, and its invariants"
            ]
        );
    }
}
