//! The checker: what clients saw, what is in the journal, and what came out, held against each other.

mod actor;
mod chain;
mod clients;
mod effects;
mod linear;
mod order;

use crate::finding::Verdict;
use crate::history::{Entry, History};
use crate::model::Model;
use chain::Truth;
use clients::Clients;
use std::collections::BTreeMap;

/// Checks a history.
#[must_use]
pub fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::default();
    let models = models(history);
    let clients = Clients::read(history, &mut verdict);
    let truth = Truth::read(history, &mut verdict);
    let ended = history.0.contains(&Entry::Ended);
    actor::check(&truth, &clients, &mut verdict);
    order::check(&truth, &clients, &models, &mut verdict);
    linear::check(&truth, &clients, &models, &mut verdict);
    effects::check(history, &truth, ended, &mut verdict);
    verdict
}

fn models(history: &History) -> BTreeMap<&str, Model> {
    let models = history.0.iter().filter_map(|entry| match entry {
        Entry::Model { kind, model } => Some((kind.as_str(), *model)),
        _ => None,
    });
    models.collect()
}

/// The model of an actor (`kind/id`), if its kind has one.
fn model_of(models: &BTreeMap<&str, Model>, actor: &str) -> Option<Model> {
    models.get(actor.split('/').next()?).copied()
}
