//! Secrets as the control loop sees them: providers are built with theirs in place and built anew
//! when one changes; links wait for theirs, and are bound anew when it comes.

use super::{Built, Control, Event};
use host_core::reconcile::Phase;
use lattice_protocol::manifest::secret_ref;
use lattice_protocol::spec::ProviderMode;
use lattice_protocol::{ErrorCode, HostSpec, ProviderId, ProviderSpec, Report};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use zeroize::Zeroizing;

fn names(config: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
    config.values().filter_map(|value| secret_ref(value))
}

impl Control {
    /// Fetches what links name and was not asked for yet; forgets what none names any more.
    pub(super) fn fetch_link_secrets(&mut self, spec: &HostSpec) {
        let named: BTreeSet<&str> = spec.links.iter().flat_map(|link| names(&link.config)).collect();
        self.revealed.retain(|name, _| named.contains(name.as_str()));
        let missing = named.iter().filter(|name| !self.revealed.contains_key(**name));
        for name in missing.map(|name| (*name).to_owned()).collect::<Vec<_>>() {
            let what = format!("secret not fetched yet: {name}");
            self.revealed.insert(name.clone(), Err(Report::new(ErrorCode::SecretNotFound, what)));
            self.fetch_link_secret(name);
        }
    }

    fn fetch_link_secret(&self, name: String) {
        let (secrets, sender) = (Arc::clone(&self.parts.secrets), self.sender.clone());
        self.parts.scope.spawn_best_effort("fetch secret", async move {
            let result = secrets.text(&name).await;
            // A closed inbox means that the host is ending.
            let _ = sender.send(Event::Revealed(name, result)).await;
        });
    }

    /// A link's secret is here, or is not to be had: whoever is linked by it is bound anew.
    pub(super) fn secret_revealed(&mut self, name: String, result: Result<Zeroizing<String>, Report>) {
        if let Err(report) = &result {
            tracing::warn!(error = %report, "secret of a link");
            // A value that worked stays until there is another.
            if matches!(self.revealed.get(&name), Some(Ok(_))) {
                return;
            }
        }
        for actor in self.inventory.actors.values_mut() {
            if actor.links.iter().any(|link| names(&link.config).any(|named| named == name)) {
                // Other links than desired: the next round binds it again.
                actor.links.clear();
            }
        }
        self.revealed.insert(name, result);
    }

    /// Rotation: providers are built beside the running ones and then take their place; one that
    /// listens on a port, or has a process of its own, must end first.
    pub(super) fn secret_changed(&mut self, name: &str) {
        tracing::info!(secret = name, "secret changed");
        if self.revealed.contains_key(name) {
            self.fetch_link_secret(name.to_owned());
        }
        let now = self.now_ms();
        let affected: Vec<ProviderSpec> = self
            .inventory
            .providers
            .values()
            .filter(|provider| names(&provider.spec.config).any(|named| named == name))
            .map(|provider| provider.spec.clone())
            .collect();
        for spec in affected {
            match self.inventory.providers.get_mut(&spec.id).map(|provider| &mut provider.phase) {
                Some(Phase::Running) if spec.kind == "http-server" || spec.mode == ProviderMode::Process => {
                    self.stop_provider(&spec.id);
                }
                Some(Phase::Running) => self.rebuild(spec),
                Some(phase @ Phase::Failed { .. }) => *phase = Phase::Failed { retry_at_ms: now },
                Some(Phase::Starting) | None => {}
            }
        }
    }

    fn rebuild(&mut self, spec: ProviderSpec) {
        let (start, sender) = (self.start_of(&spec), self.sender.clone());
        self.parts.scope.spawn_best_effort("rebuild provider", async move {
            let result = start.run().await;
            // A closed inbox means that the host is ending.
            let _ = sender.send(Event::Rebuilt(Box::new(spec), result)).await;
        });
    }

    /// The new one takes the place of the old, which ends when the last call through it does.
    pub(super) fn rebuilt(&mut self, spec: &ProviderSpec, result: Result<Built, Report>) {
        let running = |spec: &ProviderSpec, id: &ProviderId, control: &Self| {
            let now = control.inventory.providers.get(id);
            now.is_some_and(|now| now.spec == *spec && now.phase == Phase::Running)
        };
        if !running(spec, &spec.id, self) {
            return; // Stopped or changed meanwhile.
        }
        match result {
            Ok(Built { provider, .. }) => {
                self.incarnations += 1;
                if let Some(now) = self.inventory.providers.get_mut(&spec.id) {
                    now.incarnation = self.incarnations;
                }
                self.providers.insert(spec.id.clone(), provider);
                self.provider_failures.remove(&spec.id);
                tracing::info!(provider = %spec.id, "provider runs with the changed secret");
                let data = json!({ "kind": spec.kind, "why": "secret changed" });
                self.parts.events.emit("provider.restarted", Some(spec.id.to_string()), data);
            }
            Err(report) => {
                let report = report.during("changed secret not taken").at(&spec.id);
                tracing::warn!(error = %report, "provider goes on with the secret before");
                self.provider_failures.insert(spec.id.clone(), report);
            }
        }
    }
}
