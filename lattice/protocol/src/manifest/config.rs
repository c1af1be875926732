//! Configuration maps and labels: what keys and values may be, and where a secret stands in plain
//! text. A secret is named (`password: {secretRef: redis}`), never written; in a checked
//! [`Application`](super::Application) such a value is the marker `secret:redis`.

use crate::error::{ErrorCode, Report};
use crate::name::is_token;

/// Longest key, bytes.
pub const MAX_KEY_BYTES: usize = 256;
/// Longest value, bytes.
pub const MAX_VALUE_BYTES: usize = 64 << 10;
/// What a value begins with that stands for a secret of that name.
pub const SECRET_PREFIX: &str = "secret:";

/// The name of the secret that a configuration value stands for.
#[must_use]
pub fn secret_ref(value: &str) -> Option<&str> {
    value.strip_prefix(SECRET_PREFIX).filter(|name| is_token(name))
}

/// What is wrong with a key.
pub(super) fn key_problem(key: &str) -> Option<Report> {
    let bad = |character: char| character == '=' || character.is_control();
    let fits = !key.is_empty() && key.len() <= MAX_KEY_BYTES;
    if fits && !key.contains(bad) {
        return None;
    }
    let shown: String = key.chars().take(80).collect();
    Some(
        Report::new(ErrorCode::Config, "not a key")
            .got(format!("{shown:?}"))
            .limit(format!("1..{MAX_KEY_BYTES} bytes without = and control characters")),
    )
}

/// What is wrong with a value under this key. The value itself is never in the report.
pub(super) fn value_problem(key: &str, value: &str) -> Option<Report> {
    if value.len() > MAX_VALUE_BYTES {
        let limit = format!("{MAX_VALUE_BYTES} bytes");
        let report = Report::new(ErrorCode::Limit, "value too long");
        return Some(report.got(format!("{} bytes", value.len())).limit(limit));
    }
    if value.contains('\0') {
        return Some(Report::new(ErrorCode::Config, "NUL in a value"));
    }
    is_inline_secret(key, value).then(|| inline_secret(key))
}

/// Is this a secret in plain text?
pub(super) fn is_inline_secret(key: &str, value: &str) -> bool {
    secret_ref(value).is_none() && ((is_secret_key(key) && !value.is_empty()) || is_secret_value(value))
}

/// The report of one, which does not show it.
pub(super) fn inline_secret(key: &str) -> Report {
    let key = key.escape_debug();
    Report::new(ErrorCode::InlineSecret, format!("secret in plain text: {key}"))
        .hint(format!("put it among the host's secrets and write {key}: {{secretRef: <name>}}"))
}

/// Does this key promise a secret? `max_tokens` and `token_ttl` do not.
fn is_secret_key(key: &str) -> bool {
    const ENDINGS: &[&str] = &[
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "apikey",
        "accesskey",
        "secretkey",
        "privatekey",
        "credential",
        "credentials",
        "nseed",
    ];
    let plain: String =
        key.chars().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    ENDINGS.iter().any(|ending| plain.ends_with(ending))
}

/// Is this value a secret whatever its key: a private key, an nkey seed, a password in a URL?
fn is_secret_value(value: &str) -> bool {
    let private_key = value.contains("-----BEGIN") && value.contains("PRIVATE KEY-----");
    let seed = value.len() == 58
        && value.starts_with('S')
        && value.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7'));
    let url_password = value.split_once("://").is_some_and(|(_, rest)| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        authority
            .rsplit_once('@')
            .and_then(|(user, _)| user.split_once(':'))
            .is_some_and(|(_, password)| !password.is_empty())
    });
    private_key || seed || url_password
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_seen_and_not_shown() {
        let seed = format!("SU{}", "A".repeat(56));
        for (key, value) in [
            ("password", "hunter2"),
            ("REDIS_PASSWORD", "hunter2"),
            ("apiKey", "hunter2"),
            ("auth-token", "hunter2"),
            ("url", "redis://:hunter2@localhost:6379/0"),
            ("pem", "-----BEGIN PRIVATE KEY-----\nhunter2"),
            ("anything", seed.as_str()),
        ] {
            let report = value_problem(key, value).unwrap_or_else(|| panic!("{key}: {value}"));
            assert_eq!(report.code, ErrorCode::InlineSecret);
            assert!(!report.to_string().contains("hunter2"), "{report}");
        }
        for (key, value) in [
            ("password", "secret:redis"),
            ("password", ""),
            ("max_tokens", "100"),
            ("token_ttl", "5"),
            ("url", "redis://localhost:6379"),
            ("url", "http://user@host:80/a:b@c"),
        ] {
            assert_eq!(value_problem(key, value), None, "{key}: {value}");
        }
        assert!(value_problem("password", "secret:not a name").is_some());
    }

    #[test]
    fn keys_cannot_carry_a_second_assignment() {
        for bad in ["", "a=b", "a\nb", "a\0", &"k".repeat(257)] {
            assert!(key_problem(bad).is_some(), "{bad:?}");
        }
        for good in ["temp_threshold", "a.b/c-d", "PATH"] {
            assert!(key_problem(good).is_none(), "{good}");
        }
    }
}
