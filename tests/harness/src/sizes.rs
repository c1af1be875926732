//! How much a randomised or long test does: little enough for CI, or as much as the promises say.
//!
//! `cargo xtask test --full` asks for the long sizes, by an environment variable that reaches
//! every test process. A test that needs another toolchain is behind the feature `full` of its
//! package instead, so that it is not there and not passed; `--full` turns that on.

/// The variable, and the value that asks for the long sizes.
pub const VARIABLE: &str = "TRELLIS_TEST_SIZES";
/// See [`VARIABLE`].
pub const LONG: &str = "long";

/// `ci` in an ordinary run, `long` in a full one.
pub fn pick<T>(ci: T, long: T) -> T {
    if is_long(std::env::var(VARIABLE).ok().as_deref()) { long } else { ci }
}

fn is_long(value: Option<&str>) -> bool {
    value == Some(LONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_long_asks_for_long_sizes() {
        assert!(is_long(Some(LONG)));
        assert!(!is_long(Some("1")) && !is_long(None));
    }
}
