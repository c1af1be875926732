//! Building a provider from its configuration: `check` without side effects, then `build`.

use crate::blob::BlobStore;
use crate::http::{HttpClient, HttpServer};
use crate::keyvalue::KeyValue;
use crate::messaging::Messaging;
use crate::{BoxFuture, ProviderError};
use lattice_protocol::{ErrorCode, ProviderId, Report};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// A running provider, by capability.
#[derive(Clone)]
pub enum Provider {
    /// `wasi:keyvalue`.
    KeyValue(Arc<dyn KeyValue>),
    /// `wasmcloud:messaging`.
    Messaging(Arc<dyn Messaging>),
    /// Calls `wasi:http` handlers.
    HttpServer(Arc<dyn HttpServer>),
    /// Outgoing `wasi:http`.
    HttpClient(Arc<dyn HttpClient>),
    /// `wasi:blobstore`.
    BlobStore(Arc<dyn BlobStore>),
}

/// What every factory gets.
#[derive(Debug, Clone)]
pub struct BuildContext {
    /// Which provider.
    pub id: ProviderId,
    /// A directory of its own on this host; it need not exist yet.
    pub data_dir: PathBuf,
    /// Its configuration.
    pub config: BTreeMap<String, String>,
}

/// Makes providers of one kind.
pub trait Factory: Send + Sync {
    /// The kind, as manifests name it: `keyvalue-redis`.
    fn kind(&self) -> &'static str;
    /// Every problem of a configuration, without side effects.
    fn check(&self, config: &BTreeMap<String, String>) -> Vec<Report>;
    /// Connects, binds, opens.
    fn build(&self, context: BuildContext) -> BoxFuture<'_, Result<Provider, ProviderError>>;
}

/// Reads a configuration map: typed values with defaults, every problem collected, unknown keys
/// refused with what was probably meant left to the caller.
pub struct Settings<'map> {
    map: &'map BTreeMap<String, String>,
    known: Vec<&'static str>,
    problems: Vec<Report>,
}

impl<'map> Settings<'map> {
    /// Over this map.
    #[must_use]
    pub fn new(map: &'map BTreeMap<String, String>) -> Self {
        Self { map, known: Vec::new(), problems: Vec::new() }
    }
    /// The text, if given.
    pub fn text(&mut self, key: &'static str) -> Option<&'map str> {
        self.known.push(key);
        self.map.get(key).map(String::as_str)
    }
    /// The text, or this default.
    pub fn text_or(&mut self, key: &'static str, default: &'map str) -> &'map str {
        self.text(key).unwrap_or(default)
    }
    /// A number within bounds, or this default.
    pub fn number<N: FromStr + PartialOrd + std::fmt::Display + Copy>(
        &mut self,
        key: &'static str,
        default: N,
        bounds: std::ops::RangeInclusive<N>,
    ) -> N {
        let Some(text) = self.text(key) else { return default };
        match text.parse::<N>() {
            Ok(number) if bounds.contains(&number) => number,
            _ => {
                self.problems.push(
                    Report::new(ErrorCode::Config, "not a number in range").at(key).got(text).limit(format!(
                        "{}..{}",
                        bounds.start(),
                        bounds.end()
                    )),
                );
                default
            }
        }
    }
    /// `true` or `false`, or this default.
    pub fn flag(&mut self, key: &'static str, default: bool) -> bool {
        match self.text(key) {
            None => default,
            Some("true") => true,
            Some("false") => false,
            Some(other) => {
                self.problems.push(
                    Report::new(ErrorCode::Config, "not a truth value")
                        .at(key)
                        .got(other)
                        .limit("true or false"),
                );
                default
            }
        }
    }
    /// A comma-separated list; absent means empty.
    pub fn list(&mut self, key: &'static str) -> Vec<String> {
        self.text(key)
            .map(|text| {
                text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
            })
            .unwrap_or_default()
    }
    /// Adds a problem of the caller's own.
    pub fn problem(&mut self, report: Report) {
        self.problems.push(report);
    }
    /// All problems, unknown keys included.
    #[must_use]
    pub fn finish(mut self) -> Vec<Report> {
        for key in self.map.keys().filter(|key| !self.known.contains(&key.as_str())) {
            self.problems.push(
                Report::new(ErrorCode::Config, format!("unknown field {key:?}"))
                    .at("config")
                    .hint(format!("known: {}", self.known.join(", "))),
            );
        }
        self.problems
    }
}
