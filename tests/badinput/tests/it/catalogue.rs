//! `docs/errors.md` is made from [`ErrorCode`], and this test keeps it so: with `BLESS=1` it writes
//! the page, without it compares.

use lattice_protocol::ErrorCode;
use lattice_protocol::error::Class;
use std::fmt::Write as _;
use tests_harness::workspace;

const HEAD: &str = "\
# Errors

Every error is one line: `CODE: what went wrong: where (got X, expected Y); what to do`. With
`--output json` it is one JSON object with the same parts. A code never changes its meaning; the
words may improve. The exit status of `trellis` follows from the code. A host keeps the line in its
log and tells the caller of an actor over HTTP the code alone.

This page is made from the codes themselves: `BLESS=1 cargo test -p tests-badinput catalogue`.
";

const CLASSES: [(Class, &str); 9] = [
    (Class::Internal, "a defect of Trellis"),
    (Class::Usage, "usage, manifest, configuration or other input"),
    (Class::Trust, "trust: signatures, claims, revisions"),
    (Class::Denied, "denied: no link, claim, grant or permission"),
    (Class::NotFound, "not found"),
    (Class::Resources, "resources: not enough room, or too much at once"),
    (Class::State, "state: somebody else was first, or the actor failed"),
    (Class::Io, "input or output: disk, network, providers"),
    (Class::Timeout, "timeout"),
];

fn page() -> String {
    let mut page = format!("{HEAD}\n| exit status | what for |\n|---|---|\n| 0 | done |\n");
    for (class, what) in CLASSES {
        writeln!(page, "| {} | {what} |", class.exit_status()).unwrap();
    }
    for (class, what) in CLASSES {
        write!(page, "\n## {}: {what}\n\n| code | cause | remedy |\n|---|---|---|\n", class.exit_status())
            .unwrap();
        for code in ErrorCode::ALL.iter().filter(|code| code.class() == class) {
            writeln!(page, "| `{code}` | {} | {} |", code.cause(), code.remedy()).unwrap();
        }
    }
    page
}

#[test]
fn the_catalogue_of_errors_is_that_of_the_codes() {
    let path = workspace::root().join("docs/errors.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, page()).unwrap();
    }
    let have = std::fs::read_to_string(&path).unwrap();
    assert!(
        have == page(),
        "docs/errors.md is not what the codes say: BLESS=1 cargo test -p tests-badinput catalogue"
    );
}

#[test]
fn every_code_says_what_it_is_and_what_to_do() {
    for code in ErrorCode::ALL {
        assert!(code.cause().ends_with('.') && code.remedy().ends_with('.'), "{code}");
        assert!(code.cause().len() > 5 && code.remedy().len() > 15, "{code}");
    }
}
