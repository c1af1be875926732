//! `trellis-verify <history.jsonl>…`: checks what runs wrote down. Exit status 1 when anything is wrong, 2 when a file
//! cannot be read.

use std::io::Write;
use std::process::ExitCode;
use tests_chaos::{History, check};

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    let mut worst = 0;
    for path in std::env::args().skip(1) {
        let history = std::fs::read_to_string(&path)
            .map_err(|error| error.to_string())
            .and_then(|text| text.parse::<History>().map_err(|error| error.to_string()));
        let written = match history {
            Ok(history) => {
                let verdict = check(&history);
                worst = worst.max(u8::from(!verdict.is_clean()));
                write!(out, "{path}:\n{verdict}")
            }
            Err(reason) => {
                worst = 2;
                writeln!(out, "{path}: {reason}")
            }
        };
        if written.is_err() {
            return ExitCode::from(2);
        }
    }
    ExitCode::from(worst)
}
