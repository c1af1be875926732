//! How far are other regions? One question, heard by one host of each region (a queue group each):
//! however many hosts there are, a round costs one message and one answer from each region.

use super::Measured;
use crate::config::HostConfig;
use bytes::Bytes;
use lattice_io::{Bus, BusMessage, Subscription};
use lattice_protocol::invocation::{decode_reply, encode_reply};
use lattice_protocol::subject::Subjects;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Answers that are longer on their way are not waited for: such a region is not near.
const LONGEST: Duration = Duration::from_secs(2);
/// Rounds whose shortest round trip counts; a region that is silent for so many is not known any more.
const ROUNDS: usize = 5;
/// Pause between rounds: four heartbeats, within these.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Most regions that are kept: names come from others.
const MAX_REGIONS: usize = 256;

/// Measures round trips.
pub struct Regions {
    own: Option<String>,
    pause: Duration,
    bus: Arc<dyn Bus>,
    subjects: Subjects,
    measured: Arc<Measured>,
}

/// The round trips of the last rounds, shortest known first; `None` for a round without an answer.
#[derive(Debug, Default)]
struct Table(BTreeMap<String, VecDeque<Option<Duration>>>);

impl Table {
    /// Takes in the answers of one round.
    fn round(&mut self, answers: BTreeMap<String, Duration>) {
        for (region, took) in &answers {
            if self.0.len() < MAX_REGIONS || self.0.contains_key(region) {
                self.0.entry(region.clone()).or_default().push_back(Some(*took));
            }
        }
        for (region, rounds) in &mut self.0 {
            if !answers.contains_key(region) {
                rounds.push_back(None);
            }
            while rounds.len() > ROUNDS {
                rounds.pop_front();
            }
        }
        self.0.retain(|_, rounds| rounds.iter().any(Option::is_some));
    }

    /// Milliseconds, rounded up.
    fn shortest(&self) -> BTreeMap<String, u32> {
        let known = self.0.iter().filter_map(|(region, rounds)| {
            let shortest = rounds.iter().flatten().min()?;
            let ms = u32::try_from(shortest.as_micros().div_ceil(1_000)).unwrap_or(u32::MAX);
            Some((region.clone(), ms.max(1)))
        });
        known.collect()
    }
}

impl Regions {
    /// Of a host with this configuration.
    #[must_use]
    pub fn new(
        config: &HostConfig,
        measured: Arc<Measured>,
        (bus, subjects): (Arc<dyn Bus>, Subjects),
    ) -> Self {
        let own = config.labels.get("region").filter(|region| !region.is_empty()).cloned();
        let pause = config.heartbeat.saturating_mul(4).clamp(PAUSE.0, PAUSE.1);
        Self { own, pause, bus, subjects, measured }
    }

    /// This host's own region.
    #[must_use]
    pub fn own(&self) -> Option<&str> {
        self.own.as_deref()
    }

    /// Measures until the task is ended.
    pub async fn run(self) {
        let mut table = Table::default();
        loop {
            let began = Instant::now();
            match self.ask().await {
                Ok(answers) => {
                    table.round(answers);
                    self.measured.set_regions(table.shortest());
                }
                // Away from the lattice nobody can be measured: what was known stays.
                Err(error) => tracing::debug!(%error, "regions not asked"),
            }
            tokio::time::sleep_until(began + self.pause).await;
        }
    }

    async fn ask(&self) -> Result<BTreeMap<String, Duration>, lattice_io::BusError> {
        let inbox = self.bus.new_inbox();
        let mut answers = self.bus.subscribe(&inbox, None).await?;
        let question = BusMessage::new(self.subjects.regions_probe(), Bytes::new()).with_reply(&inbox);
        let asked = Instant::now();
        self.bus.publish(question).await?;
        let (end, mut found) = (asked + LONGEST.min(self.pause), BTreeMap::new());
        while let Ok(Some(answer)) = tokio::time::timeout_at(end, answers.next()).await {
            let took = asked.elapsed();
            // "No responders" is an answer of the server, without a frame.
            let Ok(frame) = decode_reply(answer.payload) else { break };
            let Ok(region) = String::from_utf8(frame.into()) else { continue };
            if Some(&region) != self.own.as_ref() && plain(&region) && found.len() < MAX_REGIONS {
                found.entry(region).or_insert(took);
            }
        }
        Ok(found)
    }
}

/// A label's value, as hosts may have it.
fn plain(region: &str) -> bool {
    (1..=256).contains(&region.len()) && !region.chars().any(char::is_control)
}

/// Answers for this host's region until the subscription ends.
pub async fn answer_probes(bus: Arc<dyn Bus>, mut probes: Subscription, region: String) {
    let frame = encode_reply(&Ok(Bytes::from(region.into_bytes())));
    while let Some(probe) = probes.next().await {
        if let Some(answer) = probe.answer(frame.clone())
            && let Err(error) = bus.publish(answer).await
        {
            tracing::debug!(%error, "probe not answered");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lattice_io::memory::Memory;
    use lattice_protocol::subject::region_group;

    fn round(answers: &[(&str, u64)]) -> BTreeMap<String, Duration> {
        answers.iter().map(|(region, us)| ((*region).to_owned(), Duration::from_micros(*us))).collect()
    }

    #[test]
    fn the_shortest_of_the_last_rounds_counts_and_silence_is_forgotten() {
        let mut table = Table::default();
        for us in [30_000, 12_001, 90_000] {
            table.round(round(&[("ap", us), ("eu", 1)]));
        }
        assert_eq!(table.shortest(), [("ap".to_owned(), 13), ("eu".to_owned(), 1)].into());
        (0..ROUNDS - 1).for_each(|_| table.round(round(&[("ap", 50_000)])));
        assert_eq!(table.shortest()["ap"], 50, "a faster way that is gone counts no more");
        table.round(round(&[("ap", 50_000)]));
        assert_eq!(table.shortest().len(), 1, "eu has been silent for five rounds");
    }

    #[tokio::test]
    async fn each_other_region_is_measured_by_one_of_its_hosts() {
        let (lattice, subjects) = (Memory::new().lattice(), Subjects::new("test".parse().unwrap()));
        let mut hosts = tokio::task::JoinSet::new();
        for region in ["eu", "ap", "ap"] {
            let bus = Arc::clone(&lattice.bus);
            let probes = bus.subscribe(&subjects.regions_probe(), Some(&region_group(region))).await.unwrap();
            hosts.spawn(answer_probes(bus, probes, region.to_owned()));
        }
        let mut config =
            HostConfig::new("test".parse().unwrap(), "h".parse().unwrap(), "/nonexistent".into());
        config.labels.insert("region".to_owned(), "eu".to_owned());
        config.heartbeat = Duration::from_millis(100);
        let measured = Arc::new(Measured::default());
        let regions = Regions::new(&config, Arc::clone(&measured), (Arc::clone(&lattice.bus), subjects));
        let answers = regions.ask().await.unwrap();
        assert_eq!(answers.keys().collect::<Vec<_>>(), ["ap"]);
        let mut table = Table::default();
        table.round(answers);
        assert!(table.shortest()["ap"] >= 1);
    }
}
