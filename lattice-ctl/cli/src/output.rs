//! All printing: tables for people and one JSON document for programs on standard output; words,
//! progress and errors on standard error. Nothing else in this crate prints.

use crate::args::Args;
use clap::ValueEnum;
#[cfg(feature = "operator")]
use comfy_table::{ContentArrangement, Table, presets};
use lattice_protocol::error::Class;
use lattice_protocol::{ErrorCode, Report};
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::path::Path;

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables and sentences.
    Table,
    /// One JSON document.
    Json,
}

/// Logs go to standard error: warnings, or more with `-v`; `RUST_LOG` decides when it is set.
pub fn init_logs(args: &Args) {
    // Called once, before anything prints.
    let _ = JSON.set(args.output == Format::Json);
    let level = match (args.verbose, &args.command) {
        (0, command) if crate::commands::serves(command) => "info",
        (0, _) => "warn",
        (1, _) => "info",
        _ => "debug",
    };
    let default = format!("{level},async_nats=warn,wasmtime=warn,cranelift=warn");
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let started = if args.output == Format::Json {
        builder.json().try_init()
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
    // Fails only when a logger is there already.
    let _ = started;
}

fn line(out: &mut dyn Write, text: &str) {
    // A closed pipe (`trellis … | head`) is the reader's choice.
    let _ = writeln!(out, "{text}");
}

/// One sentence for people; silent with `--output json`.
pub fn say(args: &Args, text: impl AsRef<str>) {
    match args.output {
        Format::Table => line(&mut std::io::stdout().lock(), text.as_ref()),
        Format::Json => line(&mut std::io::stderr().lock(), text.as_ref()),
    }
}

/// Were JSON documents asked for? Set once, for those who print without the arguments at hand.
static JSON: std::sync::OnceLock<bool> = std::sync::OnceLock::new();

/// Prints every problem but one, which is returned to be the command's own failure: one that is the
/// input's fault if there is any, because its code gives the exit status.
pub fn all_but_last(mut problems: Vec<Report>) -> Report {
    let usage = problems.iter().rposition(|problem| problem.code.class() == Class::Usage);
    let last = usage.map(|at| problems.remove(at)).or_else(|| problems.pop());
    for problem in &problems {
        let text = match JSON.get() {
            Some(true) => serde_json::to_string(problem).unwrap_or_else(|_| problem.to_string()),
            _ => problem.to_string(),
        };
        line(&mut std::io::stderr().lock(), &text);
    }
    last.unwrap_or_else(|| Report::new(ErrorCode::Internal, "failed without a reason"))
}

/// Asks a person something; the answer comes on the same line.
pub fn ask(text: &str) {
    use std::io::Write;
    let mut out = std::io::stderr().lock();
    // A terminal that has gone cannot be told about it.
    let _ = write!(out, "{text}").and_then(|()| out.flush());
}

/// Something that people should know but that is no failure; on standard error.
pub fn warn(text: impl AsRef<str>) {
    line(&mut std::io::stderr().lock(), &format!("warning: {}", text.as_ref()));
}

/// Text as it is: a script, a schema, a manifest.
pub fn raw(text: &str) {
    line(&mut std::io::stdout().lock(), text.trim_end_matches('\n'));
}

/// One JSON document on one line, of several that follow each other.
pub fn json_line<T: Serialize>(value: &T) {
    let text = serde_json::to_string(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
    line(&mut std::io::stdout().lock(), &text);
}

/// Something to do, for a person at a terminal; on standard error.
pub fn note(text: &str) {
    line(&mut std::io::stderr().lock(), text);
}

/// One JSON document, in either format.
pub fn json<T: Serialize>(value: &T) {
    let text =
        serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
    line(&mut std::io::stdout().lock(), &text);
}

/// A command line that is none: what clap found, and what it would have taken, on one line.
pub fn usage_report(error: &clap::Error) -> Report {
    use clap::error::{ContextKind, ContextValue};
    let text = error.render().to_string();
    let mut parts = text.split("\n\n").map(str::trim).filter(|part| !part.is_empty());
    let what = parts.next().unwrap_or_default();
    let what: Vec<&str> = what.trim_start_matches("error: ").lines().map(str::trim).collect();
    let tips: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("tip: ")).collect();
    let usage = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => usage.to_string().replace("Usage: ", ""),
        _ => "trellis --help".to_owned(),
    };
    let tips = if tips.is_empty() { String::new() } else { format!("{}; ", tips.join("; ")) };
    Report::new(ErrorCode::Usage, what.join(" ")).hint(format!("{tips}usage: {}", usage.trim()))
}

/// Words on standard error, without arguments at hand that would say how to print them.
pub fn raw_error(text: &str) {
    line(&mut std::io::stderr().lock(), text.trim_end_matches('\n'));
}

/// The error, on one line; as JSON when asked for.
pub fn error(args: &Args, report: &Report) {
    let text = match args.output {
        Format::Table => report.to_string(),
        Format::Json => serde_json::to_string(report).unwrap_or_else(|_| report.to_string()),
    };
    line(&mut std::io::stderr().lock(), &text);
}

/// Rows as a table, or the records behind them as JSON.
#[cfg(feature = "operator")]
pub fn table<T: Serialize>(args: &Args, records: &T, header: &[&str], rows: Vec<Vec<String>>) {
    if args.output == Format::Json {
        return json(records);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().map(|title| title.to_uppercase()));
    table.add_rows(rows);
    let text = table.to_string();
    line(&mut std::io::stdout().lock(), &text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"));
}

/// A failure of the operating system.
pub fn io_report(doing: &str, error: &std::io::Error) -> Report {
    Report::new(ErrorCode::Io, format!("could not {doing}: {error}"))
}

/// A failure of the operating system about one file.
pub fn file_report(doing: &str, path: &Path, error: &std::io::Error) -> Report {
    let code = if error.kind() == std::io::ErrorKind::NotFound { ErrorCode::NotFound } else { ErrorCode::Io };
    Report::new(code, format!("could not {doing}: {error}")).at(path.display())
}

/// A spinner on standard error for work of unknown length; nothing without a terminal.
#[cfg(feature = "operator")]
pub fn spinner(args: &Args, text: impl Into<String>) -> indicatif::ProgressBar {
    if args.output == Format::Json || !std::io::stderr().is_terminal() {
        return indicatif::ProgressBar::hidden();
    }
    let bar = indicatif::ProgressBar::new_spinner().with_message(text.into());
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    bar
}
