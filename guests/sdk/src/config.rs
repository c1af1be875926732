//! The actor's configuration, as the manifest and its links give it (`wasi:config/store@0.2.0-rc.1`).
//! Values are text; what is absent has the default that the caller names, so that defaults stand in one place.

use std::collections::BTreeMap;
use std::str::FromStr;

use thiserror::Error;

use crate::bindings::config::wasi::config::store;

/// Why a configuration value could not be had.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The host could not read its configuration.
    #[error("config {key}: {reason}")]
    Unreadable {
        /// The key asked for, or `*` for all.
        key: String,
        /// The host's words.
        reason: String,
    },
    /// The value is there, and is not what it must be.
    #[error("config {key}: not a {expected} (got {value:?}); correct it in the manifest")]
    Malformed {
        /// The key asked for.
        key: String,
        /// The text found.
        value: String,
        /// The Rust type wanted.
        expected: &'static str,
    },
}

/// The value under `key`, or `None` where there is none.
///
/// # Errors
/// [`ConfigError::Unreadable`] when the host cannot tell.
pub fn get(key: &str) -> Result<Option<String>, ConfigError> {
    store::get(key).map_err(|error| unreadable(key, error))
}

/// Everything at once, for an actor that reads several keys.
///
/// # Errors
/// [`ConfigError::Unreadable`] when the host cannot tell.
pub fn all() -> Result<Settings, ConfigError> {
    store::get_all().map(|pairs| pairs.into_iter().collect()).map_err(|error| unreadable("*", error))
}

/// The value under `key` as a `T`, or `default` where there is none.
///
/// # Errors
/// [`ConfigError::Malformed`] when the text is no `T`: a typing error must not become a default.
pub fn get_or<T: FromStr>(key: &str, default: T) -> Result<T, ConfigError> {
    parse_or(key, get(key)?.as_deref(), default)
}

/// Keys with their values, as they were when [`all`] read them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// The value under `key` as a `T`, or `default` where there is none.
    ///
    /// # Errors
    /// As [`get_or`].
    pub fn get_or<T: FromStr>(&self, key: &str, default: T) -> Result<T, ConfigError> {
        parse_or(key, self.get(key), default)
    }

    /// Keys with values, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for Settings {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

fn parse_or<T: FromStr>(key: &str, value: Option<&str>, default: T) -> Result<T, ConfigError> {
    match value {
        None => Ok(default),
        Some(value) => value.trim().parse().map_err(|_| ConfigError::Malformed {
            key: key.to_owned(),
            value: value.to_owned(),
            expected: std::any::type_name::<T>(),
        }),
    }
}

fn unreadable(key: &str, error: store::Error) -> ConfigError {
    let (store::Error::Upstream(reason) | store::Error::Io(reason)) = error;
    ConfigError::Unreadable { key: key.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_is_the_default_and_wrong_is_an_error() {
        let settings: Settings =
            [("limit", " 85.5 "), ("on", "yes")].map(|(k, v)| (k.into(), v.into())).into_iter().collect();
        assert_eq!(settings.get_or("limit", 1.0).unwrap(), 85.5);
        assert_eq!(settings.get_or("absent", 7).unwrap(), 7);
        assert_eq!(
            settings.get_or("on", true).unwrap_err().to_string(),
            "config on: not a bool (got \"yes\"); correct it in the manifest"
        );
    }
}
