//! `autoscale` of an actor.

use super::actor::{RESOURCES, set};
use crate::manifest::reader::{At, Reader};
use crate::manifest::{AutoScale, Metric, Resources, Scale};

/// Fields of `autoscale`.
pub(in crate::manifest) const AUTOSCALE: &[&str] = &["metric", "target", "max", "cooldownMs", "budget"];

pub(super) fn read(reader: &mut Reader, at: &At<'_>) -> Option<AutoScale> {
    let fields = reader.fields(at, AUTOSCALE)?;
    let metric = reader.required(&fields, "metric").and_then(|at| reader.one_of(&at, &Metric::WORDS));
    let target = reader.required(&fields, "target").and_then(|at| reader.number(&at, 1..=1_000_000_000));
    let most = u64::from(Scale::MAX_REPLICAS);
    let max = reader.required(&fields, "max").and_then(|at| reader.number(&at, 1..=most));
    let mut cooldown_ms = AutoScale::COOLDOWN_MS;
    set(reader, &fields, "cooldownMs", 1_000..=86_400_000, &mut cooldown_ms);
    let budget = fields.get("budget").and_then(|at| reader.fields(&at, RESOURCES)).map(|fields| {
        let mut budget = Resources::default();
        set(reader, &fields, "cpuMillis", 0..=4_000_000_000, &mut budget.cpu_millis);
        set(reader, &fields, "memoryMib", 0..=4_000_000_000, &mut budget.memory_mib);
        budget
    });
    Some(AutoScale { metric: metric?, target: target?, max: max?, cooldown_ms, budget })
}
