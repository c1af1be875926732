//! Key-value buckets (`wasi:keyvalue@0.2.0-draft`: store, atomics, batch). Which store is behind a bucket, and which
//! buckets and key prefixes may be used, the actor's link decides.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::bindings::keyvalue::wasi::keyvalue::{atomics, batch, store};

/// Why a key-value call failed.
#[derive(Debug, Error)]
pub enum KvError {
    /// The link leads to no such bucket.
    #[error("keyvalue bucket {bucket}: no such store; create it, or name another in the link")]
    NoSuchStore {
        /// The bucket asked for.
        bucket: String,
    },
    /// The link does not grant it.
    #[error("keyvalue {place}: access denied; grant it in the link")]
    AccessDenied {
        /// Bucket, or bucket and key.
        place: String,
    },
    /// The store failed.
    #[error("keyvalue {place}: {reason}")]
    Failed {
        /// Bucket, or bucket and key.
        place: String,
        /// The host's words.
        reason: String,
    },
    /// What is stored is not the JSON expected, or the value has no JSON form.
    #[error("keyvalue {place}: not the JSON expected: {reason}")]
    Json {
        /// Bucket and key.
        place: String,
        /// Where and what.
        reason: String,
    },
}

/// An open bucket.
#[derive(Debug)]
pub struct Bucket {
    handle: store::Bucket,
    name: String,
}

/// Opens a bucket. It stays with the link it was opened through.
///
/// # Errors
/// [`KvError::NoSuchStore`], [`KvError::AccessDenied`], or the store's failure.
pub fn open(bucket: &str) -> Result<Bucket, KvError> {
    let handle = store::open(bucket).map_err(|error| explain(bucket, None, error))?;
    Ok(Bucket { handle, name: bucket.to_owned() })
}

impl Bucket {
    /// The value under `key`, or `None`.
    ///
    /// # Errors
    /// The store's refusal or failure; so for every call below.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        self.handle.get(key).map_err(|error| self.explain(key, error))
    }

    /// Stores `value` under `key`, in place of what was there.
    ///
    /// # Errors
    /// As [`Bucket::get`].
    pub fn set(&self, key: &str, value: impl AsRef<[u8]>) -> Result<(), KvError> {
        self.handle.set(key, value.as_ref()).map_err(|error| self.explain(key, error))
    }

    /// Removes `key`; it is no error when it was not there.
    ///
    /// # Errors
    /// As [`Bucket::get`].
    pub fn delete(&self, key: &str) -> Result<(), KvError> {
        self.handle.delete(key).map_err(|error| self.explain(key, error))
    }

    /// Whether there is a value under `key`.
    ///
    /// # Errors
    /// As [`Bucket::get`].
    pub fn exists(&self, key: &str) -> Result<bool, KvError> {
        self.handle.exists(key).map_err(|error| self.explain(key, error))
    }

    /// Adds `delta` to the number under `key` in one step, from 0 where there is none. Gives the new number.
    ///
    /// # Errors
    /// As [`Bucket::get`]; also when the value is no number.
    pub fn increment(&self, key: &str, delta: u64) -> Result<u64, KvError> {
        atomics::increment(&self.handle, key, delta).map_err(|error| self.explain(key, error))
    }

    /// The number under `key`, 0 where there is none. Stores keep counters in forms of their own, so this asks in the
    /// one form they share: an increment by nothing.
    ///
    /// # Errors
    /// As [`Bucket::increment`].
    pub fn count(&self, key: &str) -> Result<u64, KvError> {
        self.increment(key, 0)
    }

    /// Every key of the bucket, in no order, page after page. For small buckets: it reads all.
    ///
    /// # Errors
    /// As [`Bucket::get`].
    pub fn keys(&self) -> Result<Vec<String>, KvError> {
        let mut keys = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.handle.list_keys(cursor).map_err(|error| explain(&self.name, None, error))?;
            let turned = page.cursor != cursor;
            cursor = page.cursor;
            keys.extend(page.keys);
            // A store that repeats its cursor would keep this loop for ever.
            if cursor.is_none() || !turned {
                return Ok(keys);
            }
        }
    }

    /// The values under several keys, in one call, in the order of `keys`; `None` where there is none.
    ///
    /// # Errors
    /// As [`Bucket::get`].
    pub fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, KvError> {
        let found = batch::get_many(&self.handle, keys).map_err(|error| explain(&self.name, None, error))?;
        let found: std::collections::BTreeMap<_, _> = found.into_iter().flatten().collect();
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    /// Stores several pairs in one call. Not atomic: a failure may leave some of them stored.
    ///
    /// # Errors
    /// As [`Bucket::get`].
    pub fn set_many(&self, pairs: &[(String, Vec<u8>)]) -> Result<(), KvError> {
        batch::set_many(&self.handle, pairs).map_err(|error| explain(&self.name, None, error))
    }

    /// Removes several keys in one call. Not atomic, as [`Bucket::set_many`].
    ///
    /// # Errors
    /// As [`Bucket::get`].
    pub fn delete_many(&self, keys: &[String]) -> Result<(), KvError> {
        batch::delete_many(&self.handle, keys).map_err(|error| explain(&self.name, None, error))
    }

    /// The value under `key`, read as JSON.
    ///
    /// # Errors
    /// As [`Bucket::get`], and [`KvError::Json`].
    pub fn get_json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, KvError> {
        match self.get(key)? {
            None => Ok(None),
            Some(bytes) => {
                serde_json::from_slice(&bytes).map(Some).map_err(|error| self.not_json(key, &error))
            }
        }
    }

    /// Stores `value` as JSON.
    ///
    /// # Errors
    /// As [`Bucket::get`], and [`KvError::Json`].
    pub fn set_json<T: Serialize>(&self, key: &str, value: &T) -> Result<(), KvError> {
        let bytes = serde_json::to_vec(value).map_err(|error| self.not_json(key, &error))?;
        self.set(key, bytes)
    }

    fn explain(&self, key: &str, error: store::Error) -> KvError {
        explain(&self.name, Some(key), error)
    }

    fn not_json(&self, key: &str, error: &serde_json::Error) -> KvError {
        KvError::Json { place: place(&self.name, Some(key)), reason: error.to_string() }
    }
}

fn place(bucket: &str, key: Option<&str>) -> String {
    match key {
        Some(key) => format!("bucket {bucket} key {key:?}"),
        None => format!("bucket {bucket}"),
    }
}

fn explain(bucket: &str, key: Option<&str>, error: store::Error) -> KvError {
    match error {
        store::Error::NoSuchStore => KvError::NoSuchStore { bucket: bucket.to_owned() },
        store::Error::AccessDenied => KvError::AccessDenied { place: place(bucket, key) },
        store::Error::Other(reason) => KvError::Failed { place: place(bucket, key), reason },
    }
}
