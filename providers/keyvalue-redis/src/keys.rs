//! How a bucket and a key become one Redis key, reversibly: `prefix:bucket:key`.
//!
//! Prefix and bucket are escaped so that they hold no `:`; the key is the rest, as it is, so that
//! people with `redis-cli` can read it. Two different pairs never meet in one Redis key.

use std::fmt::Write as _;

/// Escapes what would end the part (`:`), the escape itself, and what is no plain character.
fn escape(into: &mut String, part: &str) {
    for character in part.chars() {
        if matches!(character, ':' | '%') || character.is_control() {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                // Writing to a string cannot fail.
                let _ = write!(into, "%{byte:02x}");
            }
        } else {
            into.push(character);
        }
    }
}

/// Everything before the key: `prefix:bucket:`.
pub(crate) fn space(prefix: &str, bucket: &str) -> String {
    let mut space = String::with_capacity(prefix.len() + bucket.len() + 2);
    escape(&mut space, prefix);
    space.push(':');
    escape(&mut space, bucket);
    space.push(':');
    space
}

/// The whole Redis key.
pub(crate) fn redis_key(prefix: &str, bucket: &str, key: &str) -> String {
    let mut whole = space(prefix, bucket);
    whole.push_str(key);
    whole
}

/// The pattern that matches exactly the keys of a space.
pub(crate) fn pattern(space: &str) -> String {
    let mut pattern = String::with_capacity(space.len() + 1);
    for character in space.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_eq!(redis_key("shop", "carts", "a:b/ü"), "shop:carts:a:b/ü");
        assert_ne!(redis_key("a", "b:c", "d"), redis_key("a", "b", "c:d"));
        assert_ne!(redis_key("a:b", "c", "d"), redis_key("a", "b:c", "d"));
        assert_ne!(redis_key("a", "b%3a", "d"), redis_key("a", "b:", "d"));
        assert_eq!(redis_key("a", "b:%", "k"), "a:b%3a%25:k");
    }

    #[test]
    fn a_pattern_matches_its_space_literally() {
        assert_eq!(pattern(&space("a*", "b[c]?\\")), "a\\*:b\\[c\\]\\?\\\\:*");
    }
}
