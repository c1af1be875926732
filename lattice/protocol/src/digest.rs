//! The digest of an artifact as it is written down: in records, specs and heartbeats. It is shared,
//! not copied, because one of them stands in hundreds of thousands of places.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// `sha256:<hex>` of a whole signed file. Only text: whoever fetches by it checks it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactDigest(Arc<str>);

impl ArtifactDigest {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for ArtifactDigest {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ArtifactDigest {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for ArtifactDigest {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ArtifactDigest {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for ArtifactDigest {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&ArtifactDigest> for ArtifactDigest {
    fn from(digest: &ArtifactDigest) -> Self {
        digest.clone()
    }
}

impl PartialEq<str> for ArtifactDigest {
    fn eq(&self, text: &str) -> bool {
        *self.0 == *text
    }
}

impl PartialEq<&str> for ArtifactDigest {
    fn eq(&self, text: &&str) -> bool {
        *self.0 == **text
    }
}

impl PartialEq<String> for ArtifactDigest {
    fn eq(&self, text: &String) -> bool {
        *self.0 == **text
    }
}

impl fmt::Display for ArtifactDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl fmt::Debug for ArtifactDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl Serialize for ArtifactDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ArtifactDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(&*std::borrow::Cow::<'de, str>::deserialize(deserializer)?))
    }
}
