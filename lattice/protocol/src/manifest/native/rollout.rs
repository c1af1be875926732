//! `rollout`, of an application or of one actor: a strategy, the settings of that strategy, and
//! the gate. A setting of another strategy is refused: it would look as if it did something.

use super::actor::set;
use crate::error::{ErrorCode, Report};
use crate::manifest::reader::{At, Fields, Reader};
use crate::manifest::yaml::Data;
use crate::rollout::{Ask, Check, Gate, RolloutPolicy, Share, Strategy};

/// Fields of `rollout`.
pub(in crate::manifest) const ROLLOUT: &[&str] =
    &["strategy", "waves", "maxUnavailable", "maxSurge", "gate", "finalise"];
/// Fields of `rollout.gate`.
pub(in crate::manifest) const GATE: &[&str] =
    &["windowMs", "deadlineMs", "maxErrorPercent", "minCalls", "maxRestarts", "maxLatencyMs", "check"];
/// Fields of `rollout.gate.check`.
pub(in crate::manifest) const CHECK: &[&str] = &["http", "call", "timeoutMs", "everyMs"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Rolling,
    Canary,
    BlueGreen,
}

pub(super) fn read(reader: &mut Reader, at: &At<'_>) -> Option<RolloutPolicy> {
    let fields = reader.fields(at, ROLLOUT)?;
    let words = [("rolling", Word::Rolling), ("canary", Word::Canary), ("blue-green", Word::BlueGreen)];
    let word = reader.required(&fields, "strategy").and_then(|at| reader.one_of(&at, &words))?;
    only(reader, &fields, &["maxUnavailable", "maxSurge"], "rolling", word == Word::Rolling);
    only(reader, &fields, &["waves"], "canary", word == Word::Canary);
    let strategy = match word {
        Word::Rolling => rolling(reader, &fields),
        Word::Canary => Strategy::Canary { waves: waves(reader, &fields) },
        Word::BlueGreen => Strategy::BlueGreen,
    };
    let gate = fields.get("gate").map(|at| gate(reader, &at)).unwrap_or_default();
    let manual = fields.get("finalise").and_then(|at| {
        let words = [("auto", false), ("manual", true)];
        reader.one_of(&at, &words)
    });
    Some(RolloutPolicy { strategy, gate, manual_finalise: manual.unwrap_or_default() })
}

fn only(reader: &mut Reader, fields: &Fields<'_>, names: &[&str], of: &str, is_so: bool) {
    for at in names.iter().filter(|_| !is_so).filter_map(|name| fields.get(name)) {
        let report = Report::new(ErrorCode::Manifest, "a setting of another strategy");
        reader.problem(&at.spot(), report.hint(format!("it is one of strategy: {of}")));
    }
}

fn rolling(reader: &mut Reader, fields: &Fields<'_>) -> Strategy {
    let mut share =
        |name: &str, default: Share| fields.get(name).and_then(|at| share(reader, &at)).unwrap_or(default);
    let max_unavailable = share("maxUnavailable", Share::Percent(25));
    Strategy::Rolling { max_unavailable, max_surge: share("maxSurge", Share::Count(0)) }
}

/// A whole number, or `25%`.
fn share(reader: &mut Reader, at: &At<'_>) -> Option<Share> {
    if let Data::Scalar { text, .. } = &at.node.data
        && let Some(percent) = text.strip_suffix('%')
    {
        let percent = percent.parse::<u8>().ok().filter(|percent| *percent <= 100);
        if percent.is_none() {
            let got: String = text.chars().take(20).collect();
            let report = Report::new(ErrorCode::Manifest, "out of range").got(got).limit("0%..100%");
            reader.problem(&at.spot(), report);
        }
        return percent.map(Share::Percent);
    }
    reader.number(at, 0..=crate::manifest::Scale::MAX_REPLICAS.into()).map(Share::Count)
}

fn waves(reader: &mut Reader, fields: &Fields<'_>) -> Vec<u8> {
    let Some(at) = fields.get("waves") else { return Strategy::WAVES.to_vec() };
    let items = reader.items(&at);
    let waves: Vec<u8> = items.iter().filter_map(|at| reader.number(at, 1..=99)).collect();
    let rising = waves.iter().zip(waves.iter().skip(1)).all(|(one, next)| one < next);
    if items.is_empty() || items.len() > Strategy::MAX_WAVES || !rising {
        let limit = format!("1 to {} percentages that rise, each 1..99", Strategy::MAX_WAVES);
        let report = Report::new(ErrorCode::Manifest, "not the waves of a canary").limit(limit);
        reader.problem(&at.spot(), report.hint("after the last wave every host follows"));
    }
    waves
}

fn gate(reader: &mut Reader, at: &At<'_>) -> Gate {
    let mut gate = Gate::default();
    let Some(fields) = reader.fields(at, GATE) else { return gate };
    set(reader, &fields, "windowMs", 0..=86_400_000, &mut gate.window_ms);
    set(reader, &fields, "deadlineMs", 1_000..=86_400_000, &mut gate.deadline_ms);
    set(reader, &fields, "maxErrorPercent", 0..=100, &mut gate.max_error_percent);
    set(reader, &fields, "minCalls", 1..=1_000_000_000, &mut gate.min_calls);
    set(reader, &fields, "maxRestarts", 0..=1_000, &mut gate.max_restarts);
    if let Some(at) = fields.get("maxLatencyMs") {
        gate.max_latency_ms = reader.number(&at, 1..=3_600_000);
    }
    gate.check = fields.get("check").and_then(|at| check(reader, &at));
    gate
}

/// How one way to ask is read.
type Read = fn(&str) -> Result<Ask, Report>;

fn check(reader: &mut Reader, at: &At<'_>) -> Option<Check> {
    let fields = reader.fields(at, CHECK)?;
    let (at, read): (_, Read) = match (fields.get("http"), fields.get("call")) {
        (Some(at), None) => (at, Ask::http),
        (None, Some(at)) => (at, Ask::call),
        _ => {
            let report = Report::new(ErrorCode::Manifest, "a check asks one thing").limit("http or call");
            reader.problem(&at.spot(), report);
            return None;
        }
    };
    let asked = read(&reader.text(&at)?).map_err(|report| reader.problem(&at.spot(), report)).ok()?;
    let mut check = Check::new(asked);
    set(reader, &fields, "timeoutMs", 1..=60_000, &mut check.timeout_ms);
    set(reader, &fields, "everyMs", 100..=3_600_000, &mut check.every_ms);
    Some(check)
}
