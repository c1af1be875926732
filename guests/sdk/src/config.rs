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

/// Every key with its value.
///
/// # Errors
/// [`ConfigError::Unreadable`] when the host cannot tell.
pub fn all() -> Result<BTreeMap<String, String>, ConfigError> {
    store::get_all().map(|pairs| pairs.into_iter().collect()).map_err(|error| unreadable("*", error))
}

/// The value under `key` as a `T`, or `default` where there is none.
///
/// # Errors
/// [`ConfigError::Malformed`] when the text is no `T`: a typing error must not become a default.
pub fn get_or<T: FromStr>(key: &str, default: T) -> Result<T, ConfigError> {
    match get(key)? {
        None => Ok(default),
        Some(value) => value.trim().parse().map_err(|_| ConfigError::Malformed {
            key: key.to_owned(),
            value,
            expected: std::any::type_name::<T>(),
        }),
    }
}

fn unreadable(key: &str, error: store::Error) -> ConfigError {
    let (store::Error::Upstream(reason) | store::Error::Io(reason)) = error;
    ConfigError::Unreadable { key: key.to_owned(), reason }
}
