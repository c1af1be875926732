//! One newtype per identifier. Every one is a single NATS token (`[A-Za-z0-9_-]{1,64}`), so a
//! name can never escape the subject, the KV key or the file name it becomes part of.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

/// Longest name, in bytes. An nkey (56) fits.
pub const MAX_NAME_BYTES: usize = 64;
/// Longest name of a JetStream domain, in bytes: with it every name of a stream still fits.
pub const MAX_DOMAIN_BYTES: usize = 32;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: only {only} (got {got:?})")]
pub struct NameError {
    /// Which kind of name, in words.
    pub what: &'static str,
    /// What it may be.
    pub only: &'static str,
    /// What was given, shortened to 80 characters.
    pub got: String,
}

/// Is this text one safe token?
#[must_use]
pub fn is_token(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// What a token may be, in words.
const TOKEN: &str = "A-Za-z0-9_-, 1..64";

/// A JetStream domain stands last in names of buckets and streams, behind a `_` and behind the number of a
/// shard: without `_` in it and with a letter first, every such name has one reading.
fn is_domain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    // Under these names the server has subjects of its own: `$JS.ACK.…`.
    let reserved = ["API", "ACK", "FC", "EVENT"];
    (1..=MAX_DOMAIN_BYTES).contains(&text.len())
        && text.bytes().all(plain)
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphabetic())
        && !reserved.contains(&text)
}

/// The same in words.
const DOMAIN: &str = "A-Za-z0-9-, 1..32, a letter first, and none of API, ACK, FC, EVENT";

fn check(
    (what, only): (&'static str, &'static str),
    is_one: fn(&str) -> bool,
    text: &str,
) -> Result<(), NameError> {
    if is_one(text) { Ok(()) } else { Err(NameError { what, only, got: text.chars().take(80).collect() }) }
}

macro_rules! token_name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        token_name!($(#[$doc])* $name, $what, is_token, TOKEN);
    };
    ($(#[$doc:meta])* $name:ident, $what:literal, $is_one:ident, $only:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks that the text is one token.
            ///
            /// # Errors
            /// [`NameError`] when it is empty, too long, or has another character.
            pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
                check(($what, $only), $is_one, text.as_ref())?;
                Ok(Self(text.as_ref().into()))
            }
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, formatter)
            }
        }
        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

token_name!(
    /// A lattice: the unit of trust and of naming.
    LatticeName, "lattice name"
);
token_name!(
    /// A host: its public nkey (`N…`), or a name given to it (`NEDGE01`).
    HostId, "host id"
);
token_name!(
    /// An application, as its manifest names it.
    AppName, "application name"
);
token_name!(
    /// An actor within its application.
    ActorName, "actor name"
);
token_name!(
    /// A provider within its application.
    ProviderName, "provider name"
);
token_name!(
    /// A link name: which of several links of one interface (`default` when there is one).
    LinkName, "link name"
);

token_name!(
    /// A kind of persistent actor: all that share one component and its events.
    KindName, "actor kind"
);
token_name!(
    /// A persistent actor within its kind (`machine-01`).
    EntityId, "actor id"
);

token_name!(
    /// A JetStream domain: that of the lattice's own servers, or of a site with a leaf node.
    DomainName, "JetStream domain", is_domain, DOMAIN
);

impl From<&ActorName> for KindName {
    /// Both are one token.
    fn from(name: &ActorName) -> Self {
        Self(name.0.clone())
    }
}

impl LinkName {
    /// The name a link has when none is given.
    #[must_use]
    pub fn default_name() -> Self {
        Self("default".into())
    }
}

impl AppName {
    /// The application that imperative commands (`start actor`, `link put`) edit.
    #[must_use]
    pub fn imperative() -> Self {
        Self("default".into())
    }
}

/// The two parts of a name that is unique in a lattice.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Qualified<N> {
    /// The application it belongs to.
    pub app: AppName,
    /// Its name there.
    pub name: N,
}

macro_rules! qualified {
    ($(#[$doc:meta])* $name:ident, $part:ident) => {
        $(#[$doc])*
        ///
        /// Copies share the parts: a controller has a million of them in half a dozen lists.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<Qualified<$part>>);
        impl $name {
            /// Joins the two parts.
            #[must_use]
            pub fn new(app: AppName, name: $part) -> Self {
                Self(Arc::new(Qualified { app, name }))
            }
        }
        impl Deref for $name {
            type Target = Qualified<$part>;
            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Qualified { app, name } = &**self;
                formatter.debug_struct(stringify!($name)).field("app", app).field("name", name).finish()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}/{}", self.app, self.name)
            }
        }
        impl FromStr for $name {
            type Err = NameError;
            /// `app/name`; a bare `name` is in the imperative application.
            fn from_str(text: &str) -> Result<Self, NameError> {
                match text.split_once('/') {
                    Some((app, name)) => Ok(Self::new(AppName::new(app)?, $part::new(name)?)),
                    None => Ok(Self::new(AppName::imperative(), $part::new(text)?)),
                }
            }
        }
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

qualified!(
    /// An actor in the lattice: `app/name`.
    ActorId,
    ActorName
);
qualified!(
    /// A provider in the lattice: `app/name`.
    ProviderId,
    ProviderName
);

/// The two parts of a persistent actor's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EntityParts {
    /// Its kind.
    pub kind: KindName,
    /// Which one of that kind.
    pub id: EntityId,
}

/// A persistent actor in the lattice: `kind/id`.
///
/// Copies share the parts, and are found equal without a look at them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EntityKey(Arc<EntityParts>);

impl EntityKey {
    /// Joins the two parts.
    #[must_use]
    pub fn new(kind: KindName, id: EntityId) -> Self {
        Self(Arc::new(EntityParts { kind, id }))
    }
}

impl Deref for EntityKey {
    type Target = EntityParts;
    fn deref(&self) -> &EntityParts {
        &self.0
    }
}

impl fmt::Debug for EntityKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EntityParts { kind, id } = &**self;
        formatter.debug_struct("EntityKey").field("kind", kind).field("id", id).finish()
    }
}

impl Ord for EntityKey {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl PartialOrd for EntityKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for EntityKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.kind, self.id)
    }
}

impl FromStr for EntityKey {
    type Err = NameError;
    /// `kind/id`, both needed.
    fn from_str(text: &str) -> Result<Self, NameError> {
        // Without a slash the id is empty, which is no name.
        let (kind, id) = text.split_once('/').unwrap_or((text, ""));
        Ok(Self::new(KindName::new(kind)?, EntityId::new(id)?))
    }
}

impl Serialize for EntityKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EntityKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_token() {
        for bad in ["", " ", "a.b", "*", ">", "a b", "\r\nPUB x", "naïve", "🦀", &"x".repeat(65), "a/b"] {
            assert!(ActorName::new(bad).is_err(), "{bad:?} must be refused");
        }
        for good in ["a", "sensor-001", "A_b-9", &"x".repeat(64)] {
            assert_eq!(ActorName::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn a_domain_is_a_token_whose_place_in_a_name_has_one_reading() {
        for bad in ["", "1st", "-a", "a_b", "a.b", "API", "ACK", "FC", "EVENT", "a b", &"x".repeat(33)] {
            let error = DomainName::new(bad).unwrap_err();
            assert!(error.to_string().contains("a letter first"), "{error}");
        }
        for good in ["factory", "edge-1", "F", "api", &"x".repeat(32)] {
            assert_eq!(DomainName::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn a_qualified_name_reads_back_as_it_prints() {
        let id: ActorId = "shop/cart".parse().unwrap();
        assert_eq!(id.to_string(), "shop/cart");
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"shop/cart\"");
        assert_eq!("cart".parse::<ActorId>().unwrap().app, AppName::imperative());
        assert!("a/b/c".parse::<ActorId>().is_err());
        assert_eq!("meter/m-1".parse::<EntityKey>().unwrap().to_string(), "meter/m-1");
        for bad in ["meter", "meter/", "/m", "a/b/c"] {
            assert!(bad.parse::<EntityKey>().is_err(), "{bad}");
        }
    }
}
