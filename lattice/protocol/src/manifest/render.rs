//! An application back to YAML, in our own form: what `trellis app get` prints.
//!
//! Invariant: [`super::parse`] gives the same application again. Defaults are left out, except a
//! link's patience, which people want to see.

use super::config::secret_ref;
use super::scalar::{Plain, classify};
use super::{ActorManifest, Application, AutoScale, PlacementRule, ProviderManifest, Resources, Scale};
use crate::link::{Grants, LinkDefinition, LinkTarget};
use crate::name::AppName;
use crate::persistent::Persistent;
use crate::rollout::{Ask, Check, Gate, RolloutPolicy, Strategy};
use crate::spec::{InstancePolicy, Limits, ProviderMode};
use std::collections::BTreeMap;
use std::fmt::{Display, Write};

/// The application as a manifest.
#[must_use]
pub fn render(application: &Application) -> String {
    let mut out = Block::default();
    out.field("apiVersion", super::API_VERSION);
    out.field("kind", "Application");
    out.nested("metadata", |out| {
        out.text("name", application.name.as_str());
        out.some_text("version", &application.version);
        out.some_text("description", &application.description);
        out.map("labels", &application.labels);
    });
    out.nested("spec", |out| {
        out.list("actors", &application.actors, |out, item| actor(out, item, &application.name));
        out.list("providers", &application.providers, provider);
        rollout(out, application.rollout.as_ref());
    });
    out.text
}

fn actor(out: &mut Block, actor: &ActorManifest, app: &AppName) {
    out.text("name", actor.name.as_str());
    out.text("artifact", &actor.artifact);
    match actor.scale {
        Scale::Replicas(count) => out.field("replicas", count),
        Scale::Daemon => out.field("daemon", true),
    }
    match actor.instances {
        InstancePolicy::PerCall => {}
        InstancePolicy::Warm { max_calls, max_concurrency, idle_ms } => {
            let warm = format!(
                "{{ warm: {{ maxCalls: {max_calls}, maxConcurrency: {max_concurrency}, idleMs: {idle_ms} }} }}"
            );
            out.field("instances", warm);
        }
    }
    if let Some(kind) = &actor.persistent {
        out.nested("persistent", |out| persistent(out, kind));
    }
    limits(out, &actor.limits);
    out.config(&actor.config);
    if actor.placement != PlacementRule::default() {
        out.nested("placement", |out| placement(out, &actor.placement));
    }
    out.list("links", &actor.links, |out, item| link(out, item, app));
    rollout(out, actor.rollout.as_deref());
    if let Some(rule) = &actor.autoscale {
        out.nested("autoscale", |out| autoscale(out, rule));
    }
}

fn rollout(out: &mut Block, policy: Option<&RolloutPolicy>) {
    let Some(policy) = policy else { return };
    out.nested("rollout", |out| {
        out.field("strategy", policy.strategy.word());
        match &policy.strategy {
            Strategy::Rolling { max_unavailable, max_surge } => {
                out.field("maxUnavailable", max_unavailable);
                out.field("maxSurge", max_surge);
            }
            Strategy::Canary { waves } => {
                let waves: Vec<String> = waves.iter().map(u8::to_string).collect();
                out.field("waves", format!("[{}]", waves.join(", ")));
            }
            Strategy::BlueGreen => {}
        }
        let (gate, default) = (&policy.gate, Gate::default());
        if *gate != default {
            out.nested("gate", |out| {
                out.changed("windowMs", gate.window_ms, default.window_ms);
                out.changed("deadlineMs", gate.deadline_ms, default.deadline_ms);
                out.changed("maxErrorPercent", gate.max_error_percent, default.max_error_percent);
                out.changed("minCalls", gate.min_calls, default.min_calls);
                out.changed("maxRestarts", gate.max_restarts, default.max_restarts);
                if let Some(latency) = gate.max_latency_ms {
                    out.field("maxLatencyMs", latency);
                }
                own_check(out, gate.check.as_ref());
            });
        }
        if policy.manual_finalise {
            out.field("finalise", "manual");
        }
    });
}

fn own_check(out: &mut Block, check: Option<&Check>) {
    let Some(check) = check else { return };
    out.nested("check", |out| {
        let field = match &check.ask {
            Ask::Http { .. } => "http",
            Ask::Call { .. } => "call",
        };
        out.text(field, &check.ask.to_string());
        out.changed("timeoutMs", check.timeout_ms, Check::timeout_ms());
        out.changed("everyMs", check.every_ms, Check::every_ms());
    });
}

fn autoscale(out: &mut Block, rule: &AutoScale) {
    out.field("metric", rule.metric.word());
    out.field("target", rule.target);
    out.field("max", rule.max);
    out.changed("cooldownMs", rule.cooldown_ms, AutoScale::COOLDOWN_MS);
    if let Some(budget) = &rule.budget {
        out.nested("budget", |out| {
            out.field("cpuMillis", budget.cpu_millis);
            out.field("memoryMib", budget.memory_mib);
        });
    }
}

fn persistent(out: &mut Block, kind: &Persistent) {
    let default = Persistent::default();
    if let Some(name) = &kind.kind {
        out.text("kind", name.as_str());
    }
    out.field("durability", kind.durability.word());
    if let Some(domain) = &kind.domain {
        out.text("domain", domain.as_str());
    }
    out.changed("replicas", kind.replicas, default.replicas);
    match kind.states {
        1 => out.field("isolation", "instance"),
        states => out.field("isolation", format!("{{ shared: {states} }}")),
    }
    out.changed("turnMs", kind.turn_ms, default.turn_ms);
    let snapshots = (kind.snapshot_events, kind.snapshot_seconds, kind.snapshot_replay_ms);
    if snapshots != (default.snapshot_events, default.snapshot_seconds, default.snapshot_replay_ms) {
        let (events, seconds, replay_ms) = snapshots;
        out.field("snapshots", format!("{{ events: {events}, seconds: {seconds}, replayMs: {replay_ms} }}"));
    }
    out.changed("retainHours", kind.retain_hours, default.retain_hours);
    out.changed("retainMib", kind.retain_mib, default.retain_mib);
    out.changed("idleSeconds", kind.idle_seconds, default.idle_seconds);
}

fn limits(out: &mut Block, limits: &Limits) {
    let default = Limits::default();
    if *limits == default {
        return;
    }
    out.nested("limits", |out| {
        out.changed("memoryMib", limits.memory_bytes >> 20, default.memory_bytes >> 20);
        out.changed("tableElements", limits.table_elements, default.table_elements);
        out.changed("callMs", limits.call_ms, default.call_ms);
        out.changed("concurrency", limits.concurrency, default.concurrency);
        out.changed("queue", limits.queue, default.queue);
        out.changed("bodyKib", limits.body_bytes >> 10, default.body_bytes >> 10);
    });
}

fn placement(out: &mut Block, rule: &PlacementRule) {
    out.map("requirements", &rule.requirements);
    out.texts("hosts", rule.hosts.iter().map(crate::name::HostId::as_str));
    out.list("spread", &rule.spread, |out, share| {
        out.field("weight", share.weight);
        out.some_text("name", &share.name);
        out.map("requirements", &share.requirements);
    });
    if rule.pack {
        out.field("strategy", "pack");
    }
    if let Some(region) = &rule.preferred_region {
        out.text("preferredRegion", region);
    }
    if let Some(latency) = rule.max_latency_ms {
        out.field("maxLatencyMs", latency);
    }
    if rule.resources != Resources::default() {
        out.nested("resources", |out| {
            out.field("cpuMillis", rule.resources.cpu_millis);
            out.field("memoryMib", rule.resources.memory_mib);
        });
    }
    out.changed("priority", rule.priority, 0);
}

fn link(out: &mut Block, link: &LinkDefinition, app: &AppName) {
    let (target_app, name) = match &link.target {
        LinkTarget::Provider(id) => (&id.app, id.name.as_str()),
        LinkTarget::Actor(id) => (&id.app, id.name.as_str()),
    };
    if target_app == app {
        out.text("to", name);
    } else {
        out.text("to", &format!("{target_app}/{name}"));
    }
    out.text("interface", &link.interface.to_string());
    out.text("name", link.name.as_str());
    out.config(&link.config);
    out.field("timeoutMs", link.policy.timeout_ms);
    out.field("retries", link.policy.retries);
    out.field("retryDelayMs", link.policy.retry_delay_ms);
    out.changed("idempotent", link.policy.idempotent, false);
    if link.grants != Grants::default() {
        out.nested("grants", |out| grants(out, &link.grants));
    }
}

fn grants(out: &mut Block, grants: &Grants) {
    let lists = [
        ("buckets", &grants.buckets),
        ("keyPrefixes", &grants.key_prefixes),
        ("publish", &grants.publish),
        ("subscribe", &grants.subscribe),
        ("hosts", &grants.hosts),
        ("methods", &grants.methods),
    ];
    for (name, list) in lists {
        out.texts(name, list.iter().map(String::as_str));
    }
    out.changed("readOnly", grants.read_only, false);
}

fn provider(out: &mut Block, provider: &ProviderManifest) {
    out.text("name", provider.name.as_str());
    out.text("kind", &provider.kind);
    out.config(&provider.config);
    if provider.mode != ProviderMode::default() {
        out.field("run", provider.mode.word());
    }
}

/// A scalar as every reader of YAML takes it for text.
fn quote(text: &str) -> String {
    let safe = |character: char| character.is_ascii_alphanumeric() || "._/@+-".contains(character);
    let plain = text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|character| safe(character) || character == ':')
        && !text.ends_with(':')
        && classify(text) == Plain::Text;
    if plain {
        return text.to_owned();
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            // Line separators, byte order marks and the like would not survive as they are.
            other
                if other.is_control() || matches!(other, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}') =>
            {
                // Writing to a String cannot fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(other));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// Lines of a mapping, two spaces a level.
#[derive(Default)]
struct Block {
    text: String,
    level: usize,
    /// The next line begins a list item.
    item: bool,
}

impl Block {
    fn line(&mut self, key: &str, value: impl Display) {
        let dash = if std::mem::take(&mut self.item) { "- " } else { "" };
        let indent = self.level * 2 - dash.len();
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{:indent$}{dash}{key}:{value}", "");
    }

    fn field(&mut self, key: &str, value: impl Display) {
        self.line(key, format_args!(" {value}"));
    }

    fn text(&mut self, key: &str, value: &str) {
        self.field(key, quote(value));
    }

    fn some_text(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.text(key, value);
        }
    }

    fn changed<T: Display + PartialEq>(&mut self, key: &str, value: T, default: T) {
        if value != default {
            self.field(key, value);
        }
    }

    fn nested(&mut self, key: &str, write: impl FnOnce(&mut Self)) {
        let before = self.text.len();
        self.line(key, "");
        let opened = self.text.len();
        self.level += 1;
        write(self);
        self.level -= 1;
        if self.text.len() == opened {
            self.text.truncate(before);
            self.line(key, " {}");
        }
    }

    fn list<T>(&mut self, key: &str, items: &[T], write: impl Fn(&mut Self, &T)) {
        if items.is_empty() {
            return;
        }
        self.line(key, "");
        self.level += 2;
        for item in items {
            self.item = true;
            write(self, item);
        }
        self.level -= 2;
    }

    fn texts<'t>(&mut self, key: &str, texts: impl Iterator<Item = &'t str>) {
        let texts: Vec<String> = texts.map(quote).collect();
        if !texts.is_empty() {
            self.field(key, format!("[{}]", texts.join(", ")));
        }
    }

    fn map(&mut self, key: &str, map: &BTreeMap<String, String>) {
        if !map.is_empty() {
            self.nested(key, |out| map.iter().for_each(|(key, value)| out.text(&quote(key), value)));
        }
    }

    fn config(&mut self, config: &BTreeMap<String, String>) {
        if config.is_empty() {
            return;
        }
        self.nested("config", |out| {
            for (key, value) in config {
                match secret_ref(value) {
                    Some(name) => out.field(&quote(key), format_args!("{{ secretRef: {} }}", quote(name))),
                    None => out.text(&quote(key), value),
                }
            }
        });
    }
}
