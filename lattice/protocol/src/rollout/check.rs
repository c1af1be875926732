//! An application's own check of a new version: something that the host which runs it asks of it,
//! and that it must answer well before other hosts follow. The host asks, because it is where the
//! new version runs: a question over the lattice would reach any of its replicas, of either version.

use crate::error::{ErrorCode, Report};
use crate::interface::Interface;
use serde::{Deserialize, Serialize};

/// What is asked, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// The question.
    pub ask: Ask,
    /// An answer that takes longer is none, milliseconds.
    #[serde(default = "Check::timeout_ms")]
    pub timeout_ms: u64,
    /// Time between two questions, milliseconds.
    #[serde(default = "Check::every_ms")]
    pub every_ms: u64,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// `GET` of a path, put to the actor's HTTP handler as if it came over its link. Well is a
    /// status of 200 to 399.
    Http {
        /// The path, with a query if it has one.
        path: String,
    },
    /// A function of one of its exports that takes no parameters. Well is whatever is neither a
    /// failure, nor an `err`, nor `false`.
    Call {
        /// The export.
        interface: Interface,
        /// The function.
        function: String,
    },
}

impl Check {
    /// Longest path, bytes.
    pub const MAX_PATH: usize = 1_024;
    /// Longest name of a function, bytes.
    pub const MAX_FUNCTION: usize = 256;

    /// This question, as often as usual.
    #[must_use]
    pub fn new(ask: Ask) -> Self {
        Self { ask, timeout_ms: Self::timeout_ms(), every_ms: Self::every_ms() }
    }

    /// When nothing is said: one second.
    #[must_use]
    pub fn timeout_ms() -> u64 {
        1_000
    }

    /// When nothing is said: one second.
    #[must_use]
    pub fn every_ms() -> u64 {
        1_000
    }
}

impl Ask {
    /// A question for a path.
    ///
    /// # Errors
    /// `E_MANIFEST` when it is no path that a request can have.
    pub fn http(path: &str) -> Result<Self, Report> {
        let fits = path.starts_with('/') && path.len() <= Check::MAX_PATH;
        if !fits || !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            let limit = format!("/… of printable ASCII, at most {} bytes", Check::MAX_PATH);
            return Err(unfit("not a path", path, &limit));
        }
        Ok(Self::Http { path: path.to_owned() })
    }

    /// A question by a function, written `namespace:package/interface#function`.
    ///
    /// # Errors
    /// `E_MANIFEST` when it is no function of an interface.
    pub fn call(text: &str) -> Result<Self, Report> {
        let refused = || unfit("not a function", text, "namespace:package/interface#function");
        let (interface, function) = text.split_once('#').ok_or_else(refused)?;
        let interface: Interface = interface.parse().map_err(|_| refused())?;
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_name = !function.is_empty() && function.len() <= Check::MAX_FUNCTION;
        if !is_name || !function.bytes().all(word) || interface.name().is_empty() {
            return Err(refused());
        }
        Ok(Self::Call { interface, function: function.to_owned() })
    }
}

/// As manifests write it.
impl std::fmt::Display for Ask {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Http { path } => formatter.write_str(path),
            Self::Call { interface, function } => write!(formatter, "{interface}#{function}"),
        }
    }
}

fn unfit(what: &str, got: &str, limit: &str) -> Report {
    let got: String = got.chars().take(80).collect();
    Report::new(ErrorCode::Manifest, what).got(format!("{got:?}")).limit(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_path_or_a_function_and_reads_back() {
        for path in ["/", "/healthz", "/ready?deep=1"] {
            assert_eq!(Ask::http(path).unwrap().to_string(), path);
        }
        for path in ["", "healthz", "/a b", "/a\r\nx: y", "/ä", "/a#b", &format!("/{}", "a".repeat(1_024))] {
            assert!(Ask::http(path).unwrap_err().to_string().starts_with("E_MANIFEST: not a path"), "{path}");
        }
        for function in ["acme:shop/health#ready", "acme:shop/health@0.1.0#is-ready"] {
            assert_eq!(Ask::call(function).unwrap().to_string(), function);
        }
        for function in
            ["", "ready", "acme:shop#ready", "acme:shop/health#", "acme:shop/health#a b", "#ready"]
        {
            assert!(Ask::call(function).is_err(), "{function}");
        }
    }
}
