//! Applications as they are typed in a scenario.

use lattice_protocol::manifest;
use std::collections::BTreeMap;

/// What an application is made of, as it was typed.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) actors: BTreeMap<String, String>,
    pub(super) providers: BTreeMap<String, String>,
    pub(super) rollout: Option<String>,
}

impl Parts {
    pub(super) fn application(&self, app: &str) -> manifest::Application {
        let list = |parts: &BTreeMap<String, String>, extra: bool| {
            let item = |(name, text): (&String, &String)| {
                let artifact = format!("{{ artifact: {name}.wasm, ");
                let text = if extra && !text.contains("artifact:") {
                    text.replacen('{', &artifact, 1)
                } else {
                    text.clone()
                };
                format!("    - {text}\n")
            };
            parts.iter().map(item).collect::<String>()
        };
        let rollout = self.rollout.as_ref().map(|text| format!("  rollout: {text}\n")).unwrap_or_default();
        let text = format!(
            "apiVersion: trellis.dev/v1\nkind: Application\nmetadata: {{ name: {app} }}\nspec:\n{rollout}  actors:\n{}  providers:\n{}",
            list(&self.actors, true),
            list(&self.providers, false)
        );
        let text = if self.providers.is_empty() { text.replace("  providers:\n", "") } else { text };
        let text = if self.actors.is_empty() { text.replace("  actors:\n", "") } else { text };
        manifest::parse(&text, "scenario").unwrap_or_else(|reports| panic!("{reports:#?}\n{text}"))
    }
}
