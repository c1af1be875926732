//! May this actor start on this host? Its links must be within what its claims allow, and its
//! memory within what the host has left. A refusal is reported to the controller, which plans
//! again; nothing is started in part.

use keys::Claims;
use lattice_protocol::interface::{Interface, Selector, contract_of};
use lattice_protocol::{ActorSpec, ErrorCode, LinkDefinition, Report};

/// Memory that a host has for guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes for all instances together.
    pub memory_bytes: u64,
    /// How many times over it may be promised: instances seldom fill their limit. At least 1.
    pub overcommit: u32,
}

impl Capacity {
    /// Promised this many times over, unless configured otherwise.
    pub const OVERCOMMIT: u32 = 8;

    /// The bytes that may be promised.
    #[must_use]
    pub fn promisable_bytes(&self) -> u64 {
        self.memory_bytes.saturating_mul(self.overcommit.max(1).into())
    }
}

/// Are the links of this actor within its claims? `links` are those of which it is the source.
///
/// A link to a whole package is admitted when the claims allow any interface of it: imports that
/// are not claimed are refused one by one when the component is loaded.
///
/// # Errors
/// `capability denied: <interface>` for the first link that is not.
pub fn admit_links(spec: &ActorSpec, claims: &Claims, links: &[LinkDefinition]) -> Result<(), Report> {
    match links.iter().find(|link| !is_claimed(claims, &link.interface)) {
        None => Ok(()),
        Some(link) => Err(Report::new(
            ErrorCode::CapabilityDenied,
            format!("capability denied: {}", shown(&link.interface)),
        )
        .at(format!("link {} of {}", link.name, spec.id))
        .got(format!("claims {}", listed(claims)))
        .hint(format!("sign the component with capability {}, or delete the link", link.interface))),
    }
}

/// Is there room for this actor beside the others? The same actor among `others` (an update) does
/// not count twice.
///
/// # Errors
/// `insufficient resources`, with what is wanted and what is left, MiB.
pub fn admit_memory<'spec>(
    spec: &ActorSpec,
    others: impl IntoIterator<Item = &'spec ActorSpec>,
    capacity: &Capacity,
) -> Result<(), Report> {
    let promised = others
        .into_iter()
        .filter(|other| other.id != spec.id)
        .fold(0u64, |sum, other| sum.saturating_add(demand_bytes(other)));
    let left = capacity.promisable_bytes().saturating_sub(promised);
    // One instance must fit in fact, not only in promises.
    let one = spec.limits.memory_bytes;
    let (wanted, available) = if one > capacity.memory_bytes {
        (one, capacity.memory_bytes)
    } else if demand_bytes(spec) > left {
        (demand_bytes(spec), left)
    } else {
        return Ok(());
    };
    Err(Report::new(ErrorCode::InsufficientResources, "insufficient resources")
        .at(format!("memory for {}", spec.id))
        .got(format!("{} MiB", wanted.div_ceil(1 << 20)))
        .limit(format!("at most {} MiB", available >> 20))
        .hint("reduce limits.memoryMib or replicas, or add hosts"))
}

/// One instance for each replica, bytes.
fn demand_bytes(spec: &ActorSpec) -> u64 {
    spec.limits.memory_bytes.saturating_mul(spec.replicas.into())
}

fn is_claimed(claims: &Claims, selector: &Selector) -> bool {
    claims.may_use(&unversioned(selector))
        || claims
            .capabilities
            .iter()
            .filter_map(|held| held.parse::<Selector>().ok())
            .filter_map(|held| unversioned(&held).parse::<Interface>().ok())
            .any(|held| selector.covers(&held))
}

/// `namespace:package/interface`, or the package alone.
fn unversioned(selector: &Selector) -> String {
    match selector.interface() {
        Some(name) => format!("{}/{name}", selector.package()),
        None => selector.package().to_owned(),
    }
}

/// The contract id that people know, where there is one.
fn shown(selector: &Selector) -> String {
    unversioned(selector)
        .parse::<Interface>()
        .ok()
        .and_then(|interface| contract_of(&interface))
        .map_or_else(|| selector.to_string(), str::to_owned)
}

fn listed(claims: &Claims) -> String {
    if claims.capabilities.is_empty() {
        return "nothing".to_owned();
    }
    claims.capabilities.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
