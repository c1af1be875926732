//! What an unquoted YAML scalar is. Readers of YAML disagree about `no`, `012`, `1_000` and
//! `.inf`; a manifest that means one thing here and another in somebody's editor is refused, so
//! those are a class of their own: [`Plain::Ambiguous`].

/// The class of an unquoted scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plain {
    /// `null`, `~`, or nothing at all.
    Null,
    /// `true` or `false`, in just these letters.
    Truth(bool),
    /// Digits without a leading zero, perhaps behind a minus.
    Whole,
    /// A whole number, a point, digits of which the last is not zero.
    Decimal,
    /// Something that one reader takes for text and another does not; what it might be, in words.
    Ambiguous(&'static str),
    /// Text by every reader.
    Text,
}

/// The class of this text.
pub(super) fn classify(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Plain::Null,
        "true" => return Plain::Truth(true),
        "false" => return Plain::Truth(false),
        _ => {}
    }
    const TRUTHS: &[&str] = &["y", "n", "yes", "no", "on", "off", "true", "false"];
    if TRUTHS.iter().any(|truth| text.eq_ignore_ascii_case(truth)) {
        return Plain::Ambiguous("a truth value");
    }
    let magnitude = text.strip_prefix('-').unwrap_or(text);
    if is_whole(magnitude) {
        return Plain::Whole;
    }
    if let Some((whole, fraction)) = magnitude.split_once('.')
        && is_whole(whole)
        && is_digits(fraction)
        && !fraction.ends_with('0')
    {
        return Plain::Decimal;
    }
    if is_number_to_someone(text) { Plain::Ambiguous("a number") } else { Plain::Text }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_whole(text: &str) -> bool {
    is_digits(text) && (text == "0" || !text.starts_with('0'))
}

/// Octal, hexadecimal, binary, exponents, underscores, base 60, infinity and not-a-number, as
/// YAML 1.1 or 1.2 has them.
fn is_number_to_someone(text: &str) -> bool {
    let bare = text.strip_prefix(['-', '+']).unwrap_or(text);
    let lower = bare.to_ascii_lowercase().replace('_', "");
    if matches!(lower.as_str(), ".inf" | ".nan") {
        return true;
    }
    let digits_of = |prefix: &str, radix: u32| {
        lower
            .strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|digit| digit.is_digit(radix)))
    };
    if digits_of("0x", 16) || digits_of("0o", 8) || digits_of("0b", 2) {
        return true;
    }
    let numeric_start =
        lower.strip_prefix('.').unwrap_or(&lower).starts_with(|first: char| first.is_ascii_digit());
    let base_60 = lower.contains(':') && lower.split(':').all(|part| is_digits(part) && part.len() <= 3);
    numeric_start && (lower.parse::<f64>().is_ok() || base_60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class() {
        let classes: [(Plain, &[&str]); 7] = [
            (Plain::Null, &["", "~", "null"]),
            (Plain::Truth(true), &["true"]),
            (Plain::Whole, &["0", "-1", "85", "18446744073709551616"]),
            (Plain::Decimal, &["0.5", "-12.25"]),
            (Plain::Ambiguous("a truth value"), &["no", "Yes", "ON", "n", "True", "FALSE"]),
            (
                Plain::Ambiguous("a number"),
                &[
                    "012", "1_000", ".inf", "-.Inf", ".NaN", "0x1F", "0o17", "0b1", "1e9", "1.10", "+1",
                    ".5", "1.", "22:22",
                ],
            ),
            (
                Plain::Text,
                &[
                    "edge",
                    "1.0.0",
                    "v1",
                    "127.0.0.1:8080",
                    "infinity",
                    "nan",
                    "2026-01-01",
                    "10.0.0.0/8",
                    "-",
                    "e1",
                ],
            ),
        ];
        for (class, texts) in classes {
            for text in texts {
                assert_eq!(classify(text), class, "{text:?}");
            }
        }
    }
}
