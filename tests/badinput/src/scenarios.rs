//! What takes more than one step: a host that is restarted, a lattice that is lied to, a server
//! that serves a bad image. A scenario tries one thing and gives its outcome; what must come of it
//! is in the case, as everywhere.

mod api;
mod asks;
mod deploys;
mod ghosts;
mod images;
mod journals;
mod promises;
mod providers;
mod restarts;
mod specs;

use crate::case::Case;
use crate::judge::Outcome;
use crate::world::World;
use anyhow::{Result, bail};

/// What was tried, in words, and what came of it.
pub type Played = Result<Vec<(String, Outcome)>>;

/// Plays one.
///
/// # Errors
/// It could not be played; that is a failure of its case.
pub async fn play(world: &World, name: &str, case: &Case) -> Played {
    match name {
        "api" => api::api(world, case).await,
        "ask" => asks::ask(world, case).await,
        "request" => asks::request(world, case).await,
        "http2" => asks::http2(world, case).await,
        "confused deputy" => asks::confused_deputy(world, case).await,
        "guest headers" => asks::guest_headers(world, case).await,
        "repeated command" => asks::repeated_command(world, case).await,
        "cache" => restarts::cache(case).await,
        "older revision" => restarts::older_revision(case).await,
        "port taken" => restarts::port_taken(case).await,
        "lock is a link" => restarts::lock_is_a_link().await,
        "image" => images::pull(case).await,
        "journal" => journals::journal(case).await,
        "deploy" => deploys::deploy(world, case).await,
        "second machine" => deploys::second_machine(world).await,
        "ghost" => ghosts::ghost(world, case).await,
        "provider answers" => providers::answers(world, case).await,
        "provider trespasses" => providers::trespasses(world, case).await,
        "spec" => specs::spec(world, case).await,
        "zero permission" => promises::zero_permission(world).await,
        "no changed byte" => promises::no_changed_byte(),
        "no secret" => promises::no_secret(world).await,
        other => bail!("no scenario is called {other:?}"),
    }
}

/// Must it be played alone, after all that is not so? Those that change which hosts there are, and
/// the search of what all others have left behind.
#[must_use]
pub fn comes_last(name: &str) -> bool {
    matches!(name, "ghost" | "second machine" | "spec" | "no secret")
}

/// An outcome of words alone.
fn words(status: i32, said: impl Into<String>) -> Outcome {
    Outcome { status: Some(status), said: said.into(), ..Outcome::default() }
}
