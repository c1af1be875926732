//! How a kind of persistent actor is declared, and how its actors are addressed.

use crate::error::{ErrorCode, Report};
use crate::name::{ActorName, AppName, DomainName, EntityKey, KindName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// When a command counts as done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Durability {
    /// When it is on the disk of the one host that the kind is pinned to. Works offline, and is never
    /// failed over. The default.
    #[default]
    Device,
    /// When the lattice has it: another host takes over when the owner dies.
    Lattice,
}

impl Durability {
    /// Every durability by the word that manifests have for it.
    pub const WORDS: [(&'static str, Self); 2] = [("device", Self::Device), ("lattice", Self::Lattice)];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Lattice => "lattice",
        }
    }
}

/// What makes an actor of a manifest a kind of persistent actors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Persistent {
    /// The kind; none: named as the actor is. Unique in the lattice, and never changed: its actors'
    /// histories are found by it.
    pub kind: Option<KindName>,
    /// When a command counts as done.
    pub durability: Durability,
    /// The JetStream domain that has the streams, leases and snapshots of a kind of durability `lattice`: a
    /// site's. None: the lattice's own. Never changed, as the kind is not: its actors' histories are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<DomainName>,
    /// Servers that keep a copy of each stream of a kind of durability `lattice`: 1 or 3.
    #[serde(skip_serializing_if = "is_one")]
    pub replicas: u8,
    /// Actors that share one instance at most; 1: an instance each.
    pub states: u32,
    /// Longest turn or query, milliseconds.
    pub turn_ms: u64,
    /// A snapshot after so many events, …
    pub snapshot_events: u64,
    /// … after so long, seconds, …
    pub snapshot_seconds: u64,
    /// … or when to fold again what came since would take longer, milliseconds.
    pub snapshot_replay_ms: u64,
    /// How long history is kept behind the snapshots, while there is room, hours.
    pub retain_hours: u64,
    /// How much history is kept behind the snapshots at most, MiB: of a host's journal, or of each shard's
    /// stream. What is less counts, this or the hours.
    #[serde(skip_serializing_if = "is_retain_default")]
    pub retain_mib: u64,
    /// How long an actor may do nothing before it leaves memory, seconds.
    pub idle_seconds: u64,
}

/// Said only where it is another: hosts that do not know it read every other spec.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_one(replicas: &u8) -> bool {
    *replicas == 1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_retain_default(mib: &u64) -> bool {
    *mib == Persistent::RETAIN_MIB
}

impl Default for Persistent {
    fn default() -> Self {
        Self {
            kind: None,
            durability: Durability::default(),
            domain: None,
            replicas: 1,
            states: 1_024,
            turn_ms: 1_000,
            snapshot_events: 10_000,
            snapshot_seconds: 300,
            snapshot_replay_ms: 1_000,
            retain_hours: 72,
            retain_mib: Self::RETAIN_MIB,
            idle_seconds: 300,
        }
    }
}

impl Persistent {
    /// Numbers of copies that there can be: two can lose as much as one.
    pub const REPLICAS: [u8; 2] = [1, 3];
    /// Most actors of one instance.
    pub const MAX_STATES: u32 = 4_096;
    /// Longest turn, milliseconds.
    pub const MAX_TURN_MS: u64 = 60_000;
    /// Most events between two snapshots.
    pub const MAX_SNAPSHOT_EVENTS: u64 = 1_000_000;
    /// Longest time between two snapshots, seconds: a day.
    pub const MAX_SNAPSHOT_SECONDS: u64 = 86_400;
    /// Longest replay, milliseconds: a start is never slower.
    pub const MAX_SNAPSHOT_REPLAY_MS: u64 = 5_000;
    /// Longest retention, hours: ten years.
    pub const MAX_RETAIN_HOURS: u64 = 87_600;
    /// History of a journal or a stream that is kept when nothing is said, MiB.
    pub const RETAIN_MIB: u64 = 1_024;
    /// Most history of a journal or a stream, MiB: a terabyte.
    pub const MAX_RETAIN_MIB: u64 = 1 << 20;
    /// Longest idleness, seconds: a week.
    pub const MAX_IDLE_SECONDS: u64 = 604_800;

    /// The kind of this actor.
    #[must_use]
    pub fn kind_of(&self, actor: &ActorName) -> KindName {
        self.kind.clone().unwrap_or_else(|| KindName::from(actor))
    }

    /// Values out of range: field, what was got, and the range.
    #[must_use]
    pub fn problems(&self) -> Vec<Report> {
        let checks = [
            ("states", u64::from(self.states), 1, u64::from(Self::MAX_STATES)),
            ("turnMs", self.turn_ms, 1, Self::MAX_TURN_MS),
            ("snapshotEvents", self.snapshot_events, 1, Self::MAX_SNAPSHOT_EVENTS),
            ("snapshotSeconds", self.snapshot_seconds, 1, Self::MAX_SNAPSHOT_SECONDS),
            ("snapshotReplayMs", self.snapshot_replay_ms, 1, Self::MAX_SNAPSHOT_REPLAY_MS),
            ("retainHours", self.retain_hours, 0, Self::MAX_RETAIN_HOURS),
            ("retainMib", self.retain_mib, 0, Self::MAX_RETAIN_MIB),
            ("idleSeconds", self.idle_seconds, 1, Self::MAX_IDLE_SECONDS),
        ];
        let copies = (!Self::REPLICAS.contains(&self.replicas)).then(|| {
            let report = Report::new(ErrorCode::Manifest, "not a number of copies");
            report.at("persistent.replicas").got(self.replicas).limit("1 or 3")
        });
        let pinned = (self.replicas > 1 && self.durability == Durability::Device).then(|| {
            Report::new(ErrorCode::Manifest, "a kind of durability device has its journal on one disk")
                .at("persistent.replicas")
                .got(self.replicas)
                .limit(1)
                .hint("use durability: lattice")
        });
        let away = self.domain.as_ref().filter(|_| self.durability == Durability::Device).map(|domain| {
            let what = "a kind of durability device has its journal on its host, in no JetStream domain";
            Report::new(ErrorCode::Manifest, what)
                .at("persistent.domain")
                .got(domain)
                .hint("use durability: lattice, or remove it")
        });
        let outside = checks.into_iter().filter(|(_, got, low, high)| !(low..=high).contains(&got));
        outside
            .map(|(field, got, low, high)| {
                let report = Report::new(ErrorCode::Manifest, "out of range");
                report.at(format!("persistent.{field}")).got(got).limit(format!("{low}..{high}"))
            })
            .chain(copies.or(pinned))
            .chain(away)
            .collect()
    }
}

/// How people name a persistent actor: `kind/id`, or `app/kind/id` to say whose kind is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The application that the kind must belong to, if it is said.
    pub app: Option<AppName>,
    /// Kind and id.
    pub key: EntityKey,
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(app) = &self.app {
            write!(formatter, "{app}/")?;
        }
        fmt::Display::fmt(&self.key, formatter)
    }
}

impl FromStr for Address {
    type Err = Report;

    fn from_str(text: &str) -> Result<Self, Report> {
        let wrong = |error: &dyn fmt::Display| {
            let got: String = text.chars().take(120).collect();
            Report::new(ErrorCode::Name, format!("not the address of a persistent actor: {error}"))
                .got(format!("{got:?}"))
                .limit("kind/id or application/kind/id")
        };
        match text.matches('/').count() {
            1 => Ok(Self { app: None, key: text.parse().map_err(|error| wrong(&error))? }),
            2 => {
                let (app, key) = text.split_once('/').unwrap_or_default();
                let app = app.parse().map_err(|error| wrong(&error))?;
                Ok(Self { app: Some(app), key: key.parse().map_err(|error| wrong(&error))? })
            }
            _ => Err(wrong(&"one or two slashes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back_and_anything_else_is_refused_by_name() {
        for good in ["meter/m-1", "plant/meter/m-1"] {
            assert_eq!(good.parse::<Address>().unwrap().to_string(), good);
        }
        for bad in ["", "meter", "meter/", "/m", "a/b/c/d", "a/b c", "a b/meter/m", "é/x"] {
            let report = bad.parse::<Address>().unwrap_err();
            assert_eq!(report.code, ErrorCode::Name, "{bad}: {report}");
        }
    }

    #[test]
    fn defaults_are_in_range_and_everything_else_is_named() {
        assert!(Persistent::default().problems().is_empty());
        let zero = Persistent {
            states: 0,
            turn_ms: 0,
            snapshot_events: 0,
            snapshot_seconds: 0,
            snapshot_replay_ms: 6_000,
            retain_hours: 90_000,
            retain_mib: 2 << 20,
            idle_seconds: 0,
            replicas: 2,
            ..Persistent::default()
        };
        let places: Vec<_> = zero.problems().into_iter().filter_map(|report| report.place).collect();
        assert_eq!(places.len(), 9, "{places:?}");
        for (durability, replicas, fine) in [
            (Durability::Lattice, 3, true),
            (Durability::Lattice, 1, true),
            (Durability::Lattice, 0, false),
            (Durability::Device, 3, false),
        ] {
            let found = Persistent { durability, replicas, ..Persistent::default() }.problems();
            assert_eq!(found.is_empty(), fine, "{durability:?} {replicas}: {found:?}");
        }
        assert!(places.contains(&"persistent.turnMs".to_owned()));
        let said = serde_json::to_value(Persistent::default()).unwrap();
        assert!(said.get("retainMib").is_none(), "hosts that do not know it read every other spec");
        assert!(said.get("domain").is_none(), "and the same bytes as before are signed");
        for (durability, fine) in [(Durability::Lattice, true), (Durability::Device, false)] {
            let domain = Some("factory".parse().unwrap());
            let kind = Persistent { durability, domain, ..Persistent::default() };
            let found = kind.problems();
            assert_eq!(found.is_empty(), fine, "{durability:?}: {found:?}");
            let said = serde_json::to_string(&kind).unwrap();
            assert!(said.contains(r#""domain":"factory""#), "{said}");
            assert_eq!(serde_json::from_str::<Persistent>(&said).unwrap(), kind);
        }
        let actor: ActorName = "meter".parse().unwrap();
        assert_eq!(Persistent::default().kind_of(&actor).as_str(), "meter");
    }
}
