//! The one rule for names that become part of a subject or a key: device ids, regions, nodes, command ids.
//! Nothing that passes it can be a wildcard, a path, or two tokens.

/// The longest name, in bytes.
pub const MAX_LENGTH: usize = 64;

/// Whether `text` matches `^[A-Za-z0-9_-]{1,64}$`.
pub fn is_token(text: &str) -> bool {
    (1..=MAX_LENGTH).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_do_harm_are_no_tokens() {
        for good in ["sensor-001", "a", "A_b-9", &"x".repeat(64)] {
            assert!(is_token(good), "{good}");
        }
        for bad in ["", " ", "a.b", "*", ">", "a b", "a/b", "ü", "\r\nPUB x", &"x".repeat(65)] {
            assert!(!is_token(bad), "{bad}");
        }
    }
}
