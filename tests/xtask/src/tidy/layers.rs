//! Rules on who may depend on whom: I1, I2, I3 and naming, from direct dependencies.

use crate::finding::Finding;
use crate::metadata::{Dependency, Kind, Member};

/// Crates that decide without doing: synchronous, deterministic, everything comes in as arguments.
pub const PURE: [&str; 7] = [
    "keys",
    "lattice/protocol",
    "lattice/journal",
    "lattice/crdt",
    "lattice/stream",
    "host/core",
    "lattice-ctl/planner",
];

/// What a pure crate may not depend on. A name that ends with `*` is a prefix.
const IMPURE: [&str; 28] = [
    "async-*",
    "chrono",
    "crossbeam*",
    "fastrand",
    "futures*",
    "getrandom",
    "h2",
    "hyper*",
    "libc",
    "mio",
    "notify",
    "oci-client",
    "rand",
    "rand_*",
    "redis",
    "reqwest",
    "ring",
    "rusqlite",
    "rustix",
    "rustls",
    "signal-hook*",
    "socket2",
    "tempfile",
    "tokio*",
    "tonic*",
    "tracing-subscriber",
    "uuid",
    "wasmtime*",
];

/// Dependencies with one home: (name, the only crate that may have it).
const HOMES: [(&str, &str); 2] = [("async-nats", "lattice/io"), ("wasmtime*", "host/runtime")];

/// All violations in the dependencies of `members`.
pub fn check(members: &[Member]) -> Vec<Finding> {
    members.iter().flat_map(|member| check_member(member, members)).collect()
}

fn check_member(member: &Member, members: &[Member]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |rule, what: String| {
        findings.push(Finding::new(rule, format!("{}/Cargo.toml", member.path), what));
    };
    let expected = member.path.replace('/', "-");
    if member.name != expected {
        add("naming", format!("the package is named {:?}; name it {expected:?}", member.name));
    }
    for dependency in &member.dependencies {
        if let Some(what) = impure(member, dependency, members) {
            add("I1", what);
        }
        if let Some(what) = away_from_home(member, dependency) {
            add("I2", what);
        }
        if let Some(what) = across_layers(member, dependency, members) {
            add("I3", what);
        }
    }
    findings
}

fn impure(member: &Member, dependency: &Dependency, members: &[Member]) -> Option<String> {
    if !PURE.contains(&member.path.as_str()) || dependency.kind == Kind::Dev {
        return None;
    }
    let name = &dependency.name;
    let ours = path_of(name, members);
    if ours.is_some_and(|path| !PURE.contains(&path)) {
        return Some(format!(
            "a pure crate depends on {name}, which is not pure; pass in what it gives as an argument"
        ));
    }
    IMPURE
        .iter()
        .any(|pattern| matches(pattern, name))
        .then(|| format!("a pure crate depends on {name}; pass time, bytes and randomness in as arguments"))
}

fn away_from_home(member: &Member, dependency: &Dependency) -> Option<String> {
    if is_test_crate(&member.path) {
        return None;
    }
    let (_, home) = HOMES.iter().find(|(pattern, _)| matches(pattern, &dependency.name))?;
    (member.path != *home)
        .then(|| format!("depends on {}, which only {home} may name; use {home}'s types", dependency.name))
}

fn across_layers(member: &Member, dependency: &Dependency, members: &[Member]) -> Option<String> {
    let to = path_of(&dependency.name, members)?;
    let for_tests = dependency.kind == Kind::Dev && is_test_crate(to);
    if for_tests || may_depend(&member.path, to) {
        return None;
    }
    Some(format!("{} may not depend on {to}; move what both need into lattice/*", member.path))
}

/// The layers of the workspace, from the bottom up.
fn may_depend(from: &str, to: &str) -> bool {
    let shared = to == "keys" || to.starts_with("lattice/");
    match from.split('/').next().unwrap_or_default() {
        "keys" => false,
        "lattice" => shared,
        "providers" => shared || to == "providers/sdk",
        "host" => shared || to.starts_with("host/") || to.starts_with("providers/"),
        // The command line is the one place that sees everything.
        "lattice-ctl" if from == "lattice-ctl/cli" => !is_test_crate(to),
        "lattice-ctl" => shared || to == "lattice-ctl/planner",
        "tests" => true,
        _ => false,
    }
}

/// Crates that test the product and are no part of it.
pub fn is_test_crate(path: &str) -> bool {
    path.starts_with("tests/")
}

fn path_of<'a>(name: &str, members: &'a [Member]) -> Option<&'a str> {
    members.iter().find(|member| member.name == name).map(|member| member.path.as_str())
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(path: &str, dependencies: &[(&str, Kind)]) -> Member {
        Member {
            name: path.replace('/', "-"),
            path: path.to_owned(),
            dependencies: dependencies
                .iter()
                .map(|(name, kind)| Dependency { name: (*name).to_owned(), kind: *kind })
                .collect(),
        }
    }

    /// The rules broken by a crate at `path` with one dependency, among some crates of ours.
    fn rules(path: &str, dependency: &str, kind: Kind) -> Vec<&'static str> {
        let mut members: Vec<Member> = [
            "keys",
            "lattice/protocol",
            "lattice/io",
            "host/core",
            "host/runtime",
            "providers/sdk",
            "providers/http-server",
            "lattice-ctl/planner",
            "lattice-ctl/controller",
            "tests/harness",
        ]
        .iter()
        .filter(|other| **other != path)
        .map(|other| member(other, &[]))
        .collect();
        members.push(member(path, &[(dependency, kind)]));
        check(&members).iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn pure_crates_take_no_impure_dependency() {
        for name in ["tokio", "tokio-util", "getrandom", "rand", "rand_core", "hyper", "redis"] {
            assert_eq!(rules("host/core", name, Kind::Normal), ["I1"], "{name}");
        }
        assert_eq!(rules("lattice-ctl/planner", "lattice-io", Kind::Normal), ["I1"]);
        assert_eq!(rules("lattice/journal", "rusqlite", Kind::Build), ["I1"]);
        assert!(rules("keys", "tempfile", Kind::Dev).is_empty());
        assert!(rules("host/core", "lattice-protocol", Kind::Normal).is_empty());
        assert!(rules("host/daemon", "tokio", Kind::Normal).is_empty());
    }

    #[test]
    fn nats_and_wasmtime_have_one_home() {
        assert_eq!(rules("providers/messaging-nats", "async-nats", Kind::Normal), ["I2"]);
        assert_eq!(rules("lattice-ctl/cli", "wasmtime-wasi", Kind::Dev), ["I2"]);
        assert_eq!(rules("host/core", "wasmtime", Kind::Normal), ["I1", "I2"]);
        assert!(rules("lattice/io", "async-nats", Kind::Normal).is_empty());
        assert!(rules("host/runtime", "wasmtime-wasi-http", Kind::Normal).is_empty());
        assert!(rules("tests/bench", "async-nats", Kind::Normal).is_empty());
    }

    #[test]
    fn layers_are_kept() {
        for (from, to) in [
            ("host/daemon", "lattice-ctl-controller"),
            ("lattice-ctl/controller", "host-runtime"),
            ("providers/http-server", "host-runtime"),
            ("providers/http-client", "providers-http-server"),
            ("lattice/io", "providers-sdk"),
            ("keys", "lattice-protocol"),
            ("host/daemon", "tests-harness"),
        ] {
            assert_eq!(rules(from, to, Kind::Normal), ["I3"], "{from} -> {to}");
        }
        for (from, to) in [
            ("host/daemon", "providers-http-server"),
            ("lattice-ctl/cli", "host-runtime"),
            ("lattice-ctl/controller", "lattice-ctl-planner"),
            ("tests/bench", "host-runtime"),
        ] {
            assert!(rules(from, to, Kind::Normal).is_empty(), "{from} -> {to}");
        }
        assert!(rules("host/daemon", "tests-harness", Kind::Dev).is_empty());
        assert_eq!(rules("host/daemon", "lattice-ctl-controller", Kind::Dev), ["I3"]);
    }

    #[test]
    fn a_package_is_named_after_its_folder() {
        let mut odd = member("lattice/io", &[]);
        odd.name = "lattice-bus".to_owned();
        let findings = check(&[odd]);
        assert_eq!(
            findings.first().map(ToString::to_string).as_deref(),
            Some(
                "naming: lattice/io/Cargo.toml: the package is named \"lattice-bus\"; name it \"lattice-io\""
            )
        );
    }
}
