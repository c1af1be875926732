//! WIT interface names (`wasi:keyvalue/store@0.2.0-draft`), and selectors that name one interface
//! or a whole package (`wasi:keyvalue`), with or without a version.
//!
//! Versions match as the component model links them: same major (same minor below 1.0), and a
//! pre-release only with itself. The contract ids of seed 004 (`wasmcloud:keyvalue`) are selectors
//! for the packages that took their place.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Why an interface name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("interface: want namespace:package/interface[@version] (got {got:?})")]
pub struct InterfaceError {
    /// What was given, shortened to 120 characters.
    pub got: String,
}

/// One WIT interface.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interface {
    package: String,
    name: String,
    version: Option<String>,
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-'
        })
}

fn is_version(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 32
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+'))
}

impl Interface {
    /// `namespace:package`, without the interface and the version.
    #[must_use]
    pub fn package(&self) -> &str {
        &self.package
    }
    /// The interface's own name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
    /// The version, when one was given.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }
    /// `namespace:package/interface`, without the version.
    #[must_use]
    pub fn unversioned(&self) -> String {
        format!("{}/{}", self.package, self.name)
    }
    /// Can an import of `self` be satisfied by an export of `other`?
    #[must_use]
    pub fn links_to(&self, other: &Self) -> bool {
        self.package == other.package
            && self.name == other.name
            && match (&self.version, &other.version) {
                (Some(want), Some(have)) => compatible(want, have),
                _ => true,
            }
    }
}

/// Do two versions link? Equal, or the same leading non-zero number with no pre-release in either.
#[must_use]
pub fn compatible(want: &str, have: &str) -> bool {
    if want == have {
        return true;
    }
    if want.contains('-') || have.contains('-') {
        return false;
    }
    let lane = |version: &str| -> Option<(u64, u64, u64)> {
        let mut parts = version.split('+').next()?.split('.').map(str::parse::<u64>);
        let (major, minor, patch) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
        Some(match (major, minor) {
            (0, 0) => (0, 0, patch),
            (0, minor) => (0, minor, 0),
            (major, _) => (major, 0, 0),
        })
    };
    matches!((lane(want), lane(have)), (Some(left), Some(right)) if left == right)
}

impl FromStr for Interface {
    type Err = InterfaceError;
    fn from_str(text: &str) -> Result<Self, InterfaceError> {
        let fail = || InterfaceError { got: text.chars().take(120).collect() };
        let (path, version) = match text.split_once('@') {
            Some((path, version)) if is_version(version) => (path, Some(version.to_owned())),
            Some(_) => return Err(fail()),
            None => (text, None),
        };
        let (package, name) = path.split_once('/').ok_or_else(fail)?;
        let (namespace, package_name) = package.split_once(':').ok_or_else(fail)?;
        if !(is_word(namespace) && is_word(package_name) && is_word(name)) {
            return Err(fail());
        }
        Ok(Self { package: package.to_owned(), name: name.to_owned(), version })
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.package, self.name)?;
        match &self.version {
            Some(version) => write!(formatter, "@{version}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Interface {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The contract ids of older wasmCloud, and the packages (and interface) that took their place.
const CONTRACTS: &[(&str, &str, Option<&str>)] = &[
    ("wasmcloud:keyvalue", "wasi:keyvalue", None),
    ("wasmcloud:httpserver", "wasi:http", Some("incoming-handler")),
    ("wasmcloud:httpclient", "wasi:http", Some("outgoing-handler")),
    ("wasmcloud:blobstore", "wasi:blobstore", None),
];

/// The contract id people know an interface by, for messages (`capability denied: wasmcloud:keyvalue`).
#[must_use]
pub fn contract_of(interface: &Interface) -> Option<&'static str> {
    CONTRACTS
        .iter()
        .find(|(_, package, name)| {
            *package == interface.package() && name.is_none_or(|name| name == interface.name())
        })
        .map(|(contract, _, _)| *contract)
}

/// Package, interface, and another interface that comes with it: wasi:http/handler is what WASI 0.3 made
/// of both directions of 0.2; containers of a blob store are had from `blobstore` only, and are useless
/// without their own interface (wasmCloud's manifests link `blobstore` and mean both).
const PARTS: &[(&str, &str, &str)] = &[
    ("wasi:http", "incoming-handler", "handler"),
    ("wasi:http", "outgoing-handler", "client"),
    ("wasi:blobstore", "blobstore", "container"),
];

/// What a link or a claim names: one interface, or every interface of a package.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    package: String,
    interface: Option<String>,
    version: Option<String>,
    /// As it was written, so that it prints as its author knows it.
    written: String,
}

impl Selector {
    /// Does the selector cover this interface?
    #[must_use]
    pub fn covers(&self, interface: &Interface) -> bool {
        let same_name = |name: &String| {
            name == interface.name()
                || PARTS.contains(&(self.package.as_str(), name.as_str(), interface.name()))
        };
        self.package == interface.package()
            && self.interface.as_ref().is_none_or(same_name)
            && match (&self.version, interface.version()) {
                (Some(want), Some(have)) => compatible(want, have),
                _ => true,
            }
    }
    /// `namespace:package`.
    #[must_use]
    pub fn package(&self) -> &str {
        &self.package
    }
    /// The interface, when the selector names just one.
    #[must_use]
    pub fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
    }
    /// More exact selectors win over wider ones.
    #[must_use]
    pub fn exactness(&self) -> u8 {
        u8::from(self.interface.is_some()) + u8::from(self.version.is_some())
    }
}

impl FromStr for Selector {
    type Err = InterfaceError;
    fn from_str(text: &str) -> Result<Self, InterfaceError> {
        let fail = || InterfaceError { got: text.chars().take(120).collect() };
        if let Some((_, package, name)) = CONTRACTS.iter().find(|(contract, _, _)| *contract == text) {
            return Ok(Self {
                package: (*package).to_owned(),
                interface: name.map(str::to_owned),
                version: None,
                written: text.to_owned(),
            });
        }
        if text.contains('/') {
            let Interface { package, name, version } = text.parse()?;
            return Ok(Self { package, interface: Some(name), version, written: text.to_owned() });
        }
        let (path, version) = match text.split_once('@') {
            Some((path, version)) if is_version(version) => (path, Some(version.to_owned())),
            Some(_) => return Err(fail()),
            None => (text, None),
        };
        match path.split_once(':') {
            Some((namespace, package)) if is_word(namespace) && is_word(package) => {
                Ok(Self { package: path.to_owned(), interface: None, version, written: text.to_owned() })
            }
            _ => Err(fail()),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.written)
    }
}
impl fmt::Debug for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

macro_rules! text_serde {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
text_serde!(Interface);
text_serde!(Selector);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_link_as_the_component_model_links_them() {
        for (want, have, yes) in [
            ("0.2.0", "0.2.12", true),
            ("0.2.0", "0.3.0", false),
            ("1.0.0", "1.9.0", true),
            ("0.2.0-draft", "0.2.0-draft", true),
            ("0.2.0-draft", "0.2.0-draft2", false),
            ("0.2.0-draft", "0.2.0", false),
            ("0.0.1", "0.0.2", false),
        ] {
            assert_eq!(compatible(want, have), yes, "{want} -> {have}");
        }
    }

    #[test]
    fn selectors_cover_packages_interfaces_and_old_contracts() {
        let store: Interface = "wasi:keyvalue/store@0.2.0-draft".parse().unwrap();
        for yes in
            ["wasi:keyvalue", "wasi:keyvalue/store", "wasi:keyvalue/store@0.2.0-draft", "wasmcloud:keyvalue"]
        {
            assert!(yes.parse::<Selector>().unwrap().covers(&store), "{yes}");
        }
        for no in ["wasi:keyvalue/atomics", "wasi:blobstore", "wasi:keyvalue@0.3.0"] {
            assert!(!no.parse::<Selector>().unwrap().covers(&store), "{no}");
        }
        let handler: Interface = "wasi:http/handler@0.3.0".parse().unwrap();
        assert!("wasmcloud:httpserver".parse::<Selector>().unwrap().covers(&handler));
        assert_eq!(contract_of(&store), Some("wasmcloud:keyvalue"));
        let container: Interface = "wasi:blobstore/container@0.2.0-draft".parse().unwrap();
        assert!("wasi:blobstore/blobstore".parse::<Selector>().unwrap().covers(&container));
        assert!(!"wasi:blobstore/types".parse::<Selector>().unwrap().covers(&container));
        assert!(!"wasi:keyvalue/blobstore".parse::<Selector>().unwrap().covers(&container));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "a", "a:b/c@", "a:b/c/d@1 2", ":b/c", "a:/c", "a:b/", "wasi:http/incoming handler"] {
            assert!(bad.parse::<Interface>().is_err(), "{bad:?}");
        }
    }
}
