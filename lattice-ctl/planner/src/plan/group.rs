//! Shares of an actor: how many replicas each labelled group of hosts shall get.

use lattice_protocol::heartbeat::Heartbeat;
use lattice_protocol::manifest::{ActorManifest, Scale, Spread};
use std::collections::{BTreeMap, BTreeSet};

/// One share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// Labels that its hosts must have, those of the whole actor included. A set of pairs: a share
    /// may contradict the actor's own requirement, and then no host matches.
    pub(crate) labels: BTreeSet<(String, String)>,
    /// Replicas; `None` is one on every host.
    pub(crate) count: Option<u32>,
}

impl Group {
    /// Does the host that says this belong to it?
    pub(crate) fn admits(&self, host: &Heartbeat) -> bool {
        self.lacking(host).is_none()
    }

    /// The first label that the host lacks.
    pub(crate) fn lacking(&self, host: &Heartbeat) -> Option<&(String, String)> {
        self.labels.iter().find(|(key, value)| host.label(key) != Some(value))
    }
}

/// The shares of an actor, in the order of its manifest; without any, one share of all. A rollout
/// may have some replicas more.
pub(crate) fn groups(manifest: &ActorManifest, scale: Scale, surge: u32) -> Vec<Group> {
    let rule = &manifest.placement;
    let with = |labels: &BTreeMap<String, String>, count| {
        let pairs = rule.requirements.iter().chain(labels);
        Group { labels: pairs.map(|(key, value)| (key.clone(), value.clone())).collect(), count }
    };
    let scale = match scale {
        Scale::Replicas(count) => Scale::Replicas(count.saturating_add(surge)),
        Scale::Daemon => Scale::Daemon,
    };
    match (rule.spread.as_slice(), scale) {
        ([], Scale::Daemon) => vec![with(&BTreeMap::new(), None)],
        ([], Scale::Replicas(count)) => vec![with(&BTreeMap::new(), Some(count))],
        (spread, Scale::Daemon) => spread.iter().map(|share| with(&share.requirements, None)).collect(),
        (spread, Scale::Replicas(count)) => spread
            .iter()
            .zip(shares(count, spread))
            .map(|(share, count)| with(&share.requirements, Some(count)))
            .collect(),
    }
}

/// Divides by weight: each gets its whole part, and what is left goes to the largest remainders,
/// the earlier first.
fn shares(count: u32, spread: &[Spread]) -> Vec<u32> {
    let total: u64 = spread.iter().map(|share| u64::from(share.weight)).sum::<u64>().max(1);
    let exact: Vec<u64> = spread.iter().map(|share| u64::from(count) * u64::from(share.weight)).collect();
    let mut shares: Vec<u64> = exact.iter().map(|part| part / total).collect();
    let left = u64::from(count).saturating_sub(shares.iter().sum());
    let mut order: Vec<usize> = (0..spread.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(exact.get(*index).map_or(0, |part| part % total)));
    for index in order.into_iter().cycle().take(usize::try_from(left).unwrap_or(0)) {
        if let Some(share) = shares.get_mut(index) {
            *share += 1;
        }
    }
    shares.into_iter().map(|share| u32::try_from(share).unwrap_or(u32::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spread(weights: &[u32]) -> Vec<Spread> {
        let share = |weight| Spread { name: String::new(), requirements: BTreeMap::new(), weight };
        weights.iter().copied().map(share).collect()
    }

    #[test]
    fn replicas_divide_by_weight() {
        assert_eq!(shares(10, &spread(&[80, 20])), [8, 2]);
        assert_eq!(shares(3, &spread(&[1, 1])), [2, 1]);
        assert_eq!(shares(1, &spread(&[1, 3])), [0, 1]);
        assert_eq!(shares(0, &spread(&[1, 3])), [0, 0]);
    }

    proptest! {
        #[test]
        fn shares_sum_to_the_whole_and_are_within_one_of_exact(
            count in 0u32..100_000, weights in proptest::collection::vec(1u32..10_000, 1..8),
        ) {
            let shares = shares(count, &spread(&weights));
            prop_assert_eq!(shares.iter().sum::<u32>(), count);
            let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
            for (share, weight) in shares.iter().zip(&weights) {
                let floor = u64::from(count) * u64::from(*weight) / total;
                prop_assert!((floor..=floor + 1).contains(&u64::from(*share)));
            }
        }
    }
}
