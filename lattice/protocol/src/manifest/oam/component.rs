//! Components of type `component`: actors.

use super::{Trait, named_config, traits};
use crate::error::{ErrorCode, Report};
use crate::manifest::native;
use crate::manifest::reader::{At, Fields, Reader};
use crate::manifest::{ActorManifest, PlacementRule, Scale};

/// Fields of the properties of any component.
pub(super) const PROPERTIES: &[&str] = &["image", "application", "id", "config", "secrets"];
const SCALER: &[&str] = &["instances", "replicas", "spread"];

/// Reads an actor without its links.
pub(super) fn read(reader: &mut Reader, component: &Fields<'_>) -> Option<ActorManifest> {
    let name = reader.required(component, "name").and_then(|at| reader.parsed(&at, ErrorCode::Name));
    let properties = reader.required(component, "properties");
    let properties = properties.and_then(|at| reader.fields(&at, PROPERTIES));
    let (scale, placement) = scaling(reader, component);
    let properties = properties?;
    let artifact = image(reader, &properties).and_then(|at| artifact(reader, &at));
    let config = named_config(reader, properties.get("config"), properties.get("secrets"));
    Some(ActorManifest { scale, config, placement, ..ActorManifest::new(name?, artifact?) })
}

/// The image of a component; one of another application is refused.
pub(super) fn image<'n>(reader: &mut Reader, properties: &Fields<'n>) -> Option<At<'n>> {
    if let Some(at) = properties.get("application") {
        let report = Report::new(ErrorCode::Manifest, "a component of another application");
        let hint = "link to it instead (target: <application>/<component>), or give the image here";
        reader.problem(&at.spot(), report.hint(hint));
        return None;
    }
    reader.required(properties, "image")
}

/// An image as an artifact: what has no scheme is in an OCI registry.
fn artifact(reader: &mut Reader, at: &At<'_>) -> Option<String> {
    let artifact = native::artifact(reader, at)?;
    let has_scheme = artifact.contains("://") || artifact.starts_with("sha256:");
    Some(if has_scheme { artifact } else { format!("oci://{artifact}") })
}

fn scaling(reader: &mut Reader, component: &Fields<'_>) -> (Scale, PlacementRule) {
    let mut scale = Scale::Replicas(1);
    let mut placement = PlacementRule::default();
    let mut scalers = 0;
    for (kind, at) in traits(reader, component) {
        if kind == Trait::Link {
            continue;
        }
        scalers += 1;
        if scalers > 1 {
            let report = Report::new(ErrorCode::Manifest, "a second scaler");
            reader.problem(&at.spot(), report.hint("a component has one spreadscaler or daemonscaler"));
            continue;
        }
        let (instances, spread) = scaler(reader, &at);
        placement.spread = spread;
        // A daemonscaler's instances are calls at once on each host: our daemon takes as many.
        scale = if kind == Trait::Daemon { Scale::Daemon } else { Scale::Replicas(instances.unwrap_or(1)) };
    }
    (scale, placement)
}

/// Instances and spread of a scaler.
pub(super) fn scaler(reader: &mut Reader, at: &At<'_>) -> (Option<u32>, Vec<crate::manifest::Spread>) {
    let Some(fields) = reader.fields(at, SCALER) else { return (None, Vec::new()) };
    let instances = fields.get("instances").or_else(|| fields.get("replicas"));
    let instances = instances.and_then(|at| reader.number(&at, 0..=Scale::MAX_REPLICAS.into()));
    let items = fields.get("spread").map(|at| reader.items(&at)).unwrap_or_default();
    let spread = items.iter().filter_map(|at| native::share(reader, at)).collect();
    (instances, spread)
}
