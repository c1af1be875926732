//! How long files and functions are. A long file is listed for its next reader to split; a very
//! long one is refused, because that is how all of the 4 700-line modules began.

use super::sources::File;
use crate::finding::Finding;

const LISTED_FILE_LINES: usize = 400;
const MAX_FILE_LINES: usize = 600;
const LISTED_FUNCTION_LINES: usize = 100;

/// The file, if it is longer than a file may be.
pub fn check(file: &File<'_>) -> Option<Finding> {
    let lines = file.text.lines().count();
    (lines > MAX_FILE_LINES).then(|| {
        let what = format!("the file is too long (got {lines} lines, limit {MAX_FILE_LINES}); split it");
        Finding::new("size", file.path, what)
    })
}

/// What is long but allowed, one line each.
pub fn notes(file: &File<'_>) -> Vec<String> {
    let lines = file.text.lines().count();
    let long_file = (LISTED_FILE_LINES + 1..=MAX_FILE_LINES)
        .contains(&lines)
        .then(|| format!("{}: {lines} lines (aim: {LISTED_FILE_LINES})", file.path));
    let long_functions =
        file.scan.functions.iter().filter(|function| function.lines > LISTED_FUNCTION_LINES).map(
            |function| {
                format!(
                    "{}:{}: fn {} has {} lines (aim: {LISTED_FUNCTION_LINES})",
                    file.path, function.line, function.name, function.lines
                )
            },
        );
    long_file.into_iter().chain(long_functions).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(lines: usize) -> (Option<Finding>, Vec<String>) {
        let text = "//! x\n".repeat(lines);
        let file = File::new("keys/src/a.rs", &text, &[]).unwrap();
        (check(&file), notes(&file))
    }

    #[test]
    fn long_files_are_listed_and_very_long_ones_refused() {
        assert_eq!(sized(400), (None, vec![]));
        assert_eq!(sized(401), (None, vec!["keys/src/a.rs: 401 lines (aim: 400)".to_owned()]));
        assert!(sized(600).0.is_none());
        let (refused, listed) = sized(601);
        assert!(refused.unwrap().what.contains("got 601 lines, limit 600"));
        assert!(listed.is_empty());
    }

    #[test]
    fn long_functions_are_listed() {
        let text = format!("//! x\nfn long() {{\n{}}}\n", "    a();\n".repeat(100));
        let file = File::new("keys/src/a.rs", &text, &[]).unwrap();
        assert_eq!(notes(&file), ["keys/src/a.rs:2: fn long has 102 lines (aim: 100)"]);
    }
}
