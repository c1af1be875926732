//! What a controller is told.

use crate::api::ApiConfig;
use keys::KeyPair;
use lattice_ctl_planner::Pace;
use lattice_ctl_planner::observed::Profile;
use lattice_io::{Clock, Lattice};
use lattice_protocol::LatticeName;
use std::sync::Arc;
use std::time::Duration;

/// A controller's configuration.
pub struct ControllerConfig {
    /// The lattice it controls.
    pub lattice: LatticeName,
    /// Signs host specs; hosts name its public key in their trust.
    pub signer: KeyPair,
    /// When silence counts.
    pub profile: Profile,
    /// How fast things may move.
    pub pace: Pace,
    /// Which life of the lattice at least; the lattice's own statement says the rest.
    pub incarnation: u64,
    /// Time between two looks at liveness.
    pub tick: Duration,
    /// Its name in events.
    pub name: String,
    /// Where its API listens over HTTP; over NATS it always answers.
    pub api: Option<ApiConfig>,
}

/// What a controller is given.
#[derive(Clone)]
pub struct ControllerDeps {
    /// The lattice.
    pub lattice: Lattice,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Random per start, for event ids.
    pub boot_id: String,
}
