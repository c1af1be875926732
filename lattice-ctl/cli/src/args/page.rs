//! The reference page `docs/cli.md`, made from the command line's own definition. The test compares;
//! `TRELLIS_WRITE_DOCS=1 cargo test -p lattice-ctl-cli the_reference_page` writes it anew.

use super::Args;
use clap::{Arg, Command, CommandFactory};
use std::fmt::Write;
use std::path::Path;

const HEAD: &str = "# The command line

Made from `trellis --help` by a test of the command itself (`lattice-ctl/cli/src/args/page.rs`): it is
what the program says of itself, and cannot differ from it.

Every command takes the options under [Options of every command](#options-of-every-command). With
`--output json` standard output is one JSON document (`get events --follow`: one a line), and an error is
one JSON object on standard error. Sentences, progress and warnings go to standard error.

## Exit status

| status | meaning |
|---|---|
| 0 | done |
| 1 | a defect of Trellis |
| 2 | usage: the command line, a manifest, an input file |
| 3 | trust: unsigned, expired, revoked, not trusted |
| 4 | denied |
| 5 | not found |
| 6 | resources: no room, overloaded, circuit open |
| 7 | state: somebody else was first, or it is in use |
| 8 | input or output: disk, network, a provider |
| 9 | timeout |
";

fn escape(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn flag(argument: &Arg) -> String {
    let values: String = argument
        .get_value_names()
        .filter(|_| argument.get_action().takes_values())
        .map(|names| names.iter().map(|name| format!(" <{name}>")).collect())
        .unwrap_or_default();
    match (argument.get_long(), argument.get_short()) {
        (Some(long), Some(short)) => format!("-{short}, --{long}{values}"),
        (Some(long), None) => format!("--{long}{values}"),
        (None, Some(short)) => format!("-{short}{values}"),
        (None, None) => values.trim().to_owned(),
    }
}

fn describe(argument: &Arg) -> String {
    let mut text = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let defaults: Vec<String> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    if !defaults.is_empty() && argument.get_action().takes_values() && !defaults.concat().is_empty() {
        let _ = write!(text, " Default: `{}`.", defaults.join(","));
    }
    let possible: Vec<String> =
        argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if possible.len() > 1 && argument.get_action().takes_values() {
        let _ = write!(text, " One of `{}`.", possible.join("`, `"));
    }
    if let Some(variable) = argument.get_env() {
        let _ = write!(text, " Environment: `{}`.", variable.to_string_lossy());
    }
    text
}

fn arguments<'a>(page: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    let shown: Vec<&Arg> = arguments
        .filter(|argument| {
            !argument.is_hide_set() && !matches!(argument.get_id().as_str(), "help" | "version")
        })
        .collect();
    if shown.is_empty() {
        return;
    }
    page.push_str("| argument | meaning |\n|---|---|\n");
    for argument in shown {
        let _ = writeln!(page, "| `{}` | {} |", escape(&flag(argument)), escape(&describe(argument)));
    }
    page.push('\n');
}

fn section(page: &mut String, command: &Command, path: &str, depth: usize) {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(page, "{} {path}\n\n{about}\n", "#".repeat(depth));
    if !command.has_subcommands() {
        let usage = command.clone().bin_name(path).render_usage().to_string();
        let _ = writeln!(page, "```\n{}\n```\n", usage.trim_start_matches("Usage: "));
    }
    arguments(page, command.get_arguments().filter(|argument| !argument.is_global_set()));
    for child in command.get_subcommands().filter(|child| child.get_name() != "help") {
        section(page, child, &format!("{path} {}", child.get_name()), (depth + 1).min(4));
    }
}

fn page() -> String {
    let root = Args::command();
    let mut page = format!("{HEAD}\n## Options of every command\n\n");
    arguments(&mut page, root.get_arguments());
    for child in root.get_subcommands().filter(|child| child.get_name() != "help") {
        section(&mut page, child, &format!("trellis {}", child.get_name()), 2);
    }
    page.trim_end().to_owned() + "\n"
}

#[test]
fn the_reference_page_is_what_the_program_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let made = page();
    if std::env::var_os("TRELLIS_WRITE_DOCS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = made.lines().zip(kept.lines()).find(|(made, kept)| made != kept);
    assert!(
        made == kept,
        "docs/cli.md is not what `trellis --help` says (first difference: {differs:?}); write it anew: \
         TRELLIS_WRITE_DOCS=1 cargo test -p lattice-ctl-cli the_reference_page"
    );
}
