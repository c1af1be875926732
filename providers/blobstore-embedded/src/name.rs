//! Names as file names.
//!
//! Letters, digits, `-` and `_` stay; every other byte becomes `%xx`. So no name is `.` or `..`,
//! holds a separator, or differs from another only in what a file system folds away. Upper case
//! stays: the file systems of gateways tell it apart.

use std::fmt::Write as _;

/// Longest file name here; file systems take 255 bytes.
const MAX_FILE_NAME_BYTES: usize = 240;

/// A name that cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    /// No bytes.
    #[error("blob name: empty; give it at least one character")]
    Empty,
    /// Too long once encoded.
    #[error(
        "blob name: too long (got {got} bytes encoded, limit {MAX_FILE_NAME_BYTES}); letters, digits, - and _ take one byte, others three or more"
    )]
    TooLong {
        /// Encoded length.
        got: usize,
    },
}

/// The file name of a name.
///
/// # Errors
/// [`NameError`].
pub(crate) fn encode(name: &str) -> Result<String, NameError> {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02x}");
        }
    }
    match encoded.len() {
        0 => Err(NameError::Empty),
        got if got > MAX_FILE_NAME_BYTES => Err(NameError::TooLong { got }),
        _ => Ok(encoded),
    }
}

/// The name of a file name; none when it is not one that [`encode`] gives.
pub(crate) fn decode(file_name: &str) -> Option<String> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = file_name.bytes();
    let mut decoded = Vec::with_capacity(file_name.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => digit(bytes.next())? << 4 | digit(bytes.next())?,
            other => other,
        });
    }
    let name = String::from_utf8(decoded).ok()?;
    (encode(&name).ok()? == file_name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back_and_none_is_special() {
        let names = [
            "plain-Name_1",
            ".",
            "..",
            "a/b",
            "../../etc/passwd",
            "C:\\",
            "CON",
            "a.txt",
            "trailing/",
            " ",
            "%",
            "%2e",
            "ключ",
            "🦀",
            "a\nb",
            "\u{1b}[31m",
            "*",
            "~",
            "a\0b",
        ];
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            let encoded = encode(name).unwrap();
            assert_eq!(decode(&encoded).as_deref(), Some(name));
            assert!(!encoded.contains(['/', '.', '\0', '\\', ':']), "{encoded}");
            assert!(seen.insert(encoded.clone()), "{encoded} twice");
        }
        assert_eq!(encode(""), Err(NameError::Empty));
        assert_eq!(encode(&"a".repeat(300)), Err(NameError::TooLong { got: 300 }));
        assert_eq!(encode(&"/".repeat(81)), Err(NameError::TooLong { got: 243 }));
        for foreign in ["a.b", "%2E", "%61", "%", "%c3"] {
            assert_eq!(decode(foreign), None, "{foreign}");
        }
    }
}
