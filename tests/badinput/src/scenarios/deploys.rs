//! Applications put into a real lattice, and what its controller and host say of them.

use super::Played;
use crate::case::Case;
use crate::command::trellis;
use crate::make;
use crate::world::{Lab, World};
use anyhow::{Context, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Applications deployed so far: cases run beside each other, each with a name of its own.
static DEPLOYED: AtomicU32 = AtomicU32::new(0);

/// Deploys the case's manifest (`$APP` is its application) with its component, signed by the lattice's issuer. What is said is
/// the deployment's, or of the command `with` after it; then the application goes again.
pub async fn deploy(world: &World, case: &Case) -> Played {
    let mut outcomes = Vec::new();
    for (variant, file) in make::inputs(case)? {
        // The lattice has an issuer of its own: it signs the bare component.
        let bare = keys::split(&file, file.len())?.body.to_vec();
        let lab = Arc::clone(&world.lattice);
        let case = case.clone();
        let one = tokio::task::spawn_blocking(move || one(&lab, &case, &bare));
        outcomes.push((variant, one.await??));
    }
    Ok(outcomes)
}

fn one(lab: &Lab, case: &Case, component: &[u8]) -> Result<crate::judge::Outcome> {
    let desk = lab.desk()?;
    desk.write("app.wasm", component)?;
    let app = format!("bad-{}", DEPLOYED.fetch_add(1, Ordering::Relaxed));
    let named = |text: &str| text.replace("$APP", &app);
    desk.write("app.yaml", named(case.manifest.as_deref().context("manifest: what is deployed")?))?;
    let (path, url) = (desk.path(), lab.lattice.nats.url());
    let env = [("TRELLIS_NATS_URL", url.as_str())];
    let deployed = trellis(path, "app deploy app.yaml --sign --wait-for 6", &env)?;
    let outcome = if case.with.is_empty() || deployed.status != Some(0) {
        deployed
    } else {
        trellis(path, &named(&case.with), &env)?
    };
    // One that was never stored is not there to delete.
    trellis(path, &named("app delete $APP"), &env)?;
    Ok(outcome)
}

/// A second machine with the id of a host that lives.
pub async fn second_machine(world: &World) -> Played {
    let lab = Arc::clone(&world.lattice);
    let outcome = tokio::task::spawn_blocking(move || {
        let desk = lab.desk()?;
        let url = lab.lattice.nats.url();
        let line = "host --host-id H1 --data-dir second --listen 127.0.0.9";
        trellis(desk.path(), line, &[("TRELLIS_NATS_URL", url.as_str())])
    });
    Ok(vec![(String::new(), outcome.await??)])
}
