//! Who owns which shard of persistent actors, as the bucket of owners has it
//! ([`crate::subject::Subjects::shards_bucket`]): one key for each shard, `<kind>.<shard>`.
//!
//! The epochs in a shard's stream are what counts; a key says whom to ask, and who shall have it next.

use crate::name::{HostId, KindName};
use serde::{Deserialize, Serialize};

/// In the place of a session: the owner has given the shard up.
const RELEASED: &str = "-";

/// The key of a shard's owner.
#[must_use]
pub fn owner_key(kind: &KindName, shard: u16) -> String {
    format!("{kind}.{shard}")
}

/// A shard's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerValue {
    /// The owner's session, `<host>.<n>`; see [`Self::is_released`].
    pub session: String,
    /// The epoch that it has the shard under.
    pub epoch: u64,
    /// Who shall have it next, when it was given up for somebody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<HostId>,
    /// Did a person choose that host? Then it is not moved again to even things out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chosen: bool,
}

impl OwnerValue {
    /// This session has the shard.
    #[must_use]
    pub fn new(session: impl Into<String>, epoch: u64) -> Self {
        Self { session: session.into(), epoch, to: None, chosen: false }
    }

    /// Nobody ever had it.
    #[must_use]
    pub fn nobody() -> Self {
        Self::new(RELEASED, 0)
    }

    /// The same, given up: for this host, if it is for any, which a person chose or did not.
    #[must_use]
    pub fn released(self, to: Option<HostId>, chosen: bool) -> Self {
        Self { session: RELEASED.to_owned(), to, chosen, ..self }
    }

    /// Has its owner given it up?
    #[must_use]
    pub fn is_released(&self) -> bool {
        self.session == RELEASED
    }

    /// The host that has it; none when it was given up.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.session.split('.').next().filter(|_| !self.is_released())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_that_was_given_up_keeps_its_epoch_and_says_for_whom() {
        assert_eq!(owner_key(&"sum".parse().unwrap(), 7), "sum.7");
        let owner = OwnerValue::new("H1.abc", 3);
        assert_eq!((owner.host(), owner.is_released()), (Some("H1"), false));
        assert_eq!(serde_json::to_string(&owner).unwrap(), r#"{"session":"H1.abc","epoch":3}"#);
        let released = owner.released(Some("H2".parse().unwrap()), true);
        assert_eq!((released.host(), released.is_released(), released.epoch), (None, true, 3));
        let text = serde_json::to_string(&released).unwrap();
        assert_eq!(text, r#"{"session":"-","epoch":3,"to":"H2","chosen":true}"#);
        assert_eq!(serde_json::from_str::<OwnerValue>(&text).unwrap(), released);
        assert!(OwnerValue::nobody().is_released());
    }
}
