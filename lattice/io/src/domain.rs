//! JetStream domains. A site with a leaf node has a JetStream of its own beside that of the lattice; both are
//! reached over the one connection that a client has, each by its name: a request to a domain goes to whichever
//! servers are of it, for as long as there is a way there.
//!
//! Messages know no domains: everything here but [`Lattice::bus`] is of one domain, and the bus is of all.

use crate::bus::BusError;
use crate::{BoxFuture, Lattice};
use lattice_protocol::{DomainName, ErrorCode, Report};

/// Why a domain is of no use now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    /// Nobody answers for it: it does not exist, or there is no way there.
    #[error("{} does not answer", of(domain.as_ref()))]
    Silent {
        /// Which one; none: that of the server.
        domain: Option<DomainName>,
        /// The server that was asked.
        server: String,
    },
    /// This user may not ask it.
    #[error("permission denied: {}", of(domain.as_ref()))]
    Denied {
        /// Which one; none: that of the server.
        domain: Option<DomainName>,
    },
    /// It answers that it does not serve.
    #[error("{} refused: {reason}", of(domain.as_ref()))]
    Refused {
        /// Which one; none: that of the server.
        domain: Option<DomainName>,
        /// The server's words.
        reason: String,
    },
    /// There is no connection to ask it over.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// A domain in words.
fn of(domain: Option<&DomainName>) -> String {
    domain.map_or_else(|| "JetStream".to_owned(), |domain| format!("JetStream domain {domain}"))
}

impl From<DomainError> for Report {
    fn from(error: DomainError) -> Self {
        let what = error.to_string();
        match error {
            DomainError::Silent { server, .. } => Self::new(ErrorCode::Domain, what).at(server).hint(
                "check that the site's nats-server has this domain and that its leaf connection stands; it is tried \
                 again",
            ),
            DomainError::Denied { domain: Some(domain) } => Self::new(ErrorCode::Denied, what)
                .hint(format!("enrol the host for it: trellis lattice enroll <host> --domain {domain}")),
            DomainError::Denied { domain: None } => {
                Self::new(ErrorCode::Denied, what).hint("check the permissions of this NATS user")
            }
            DomainError::Refused { .. } => Self::new(ErrorCode::Domain, what)
                .hint("check that JetStream is on for the account of the lattice at the site's server"),
            DomainError::Bus(error) => error.into(),
        }
    }
}

/// Domains of a lattice.
pub trait Domains: Send + Sync {
    /// See [`Lattice::in_domain`].
    fn enter(&self, lattice: &Lattice, domain: &DomainName) -> Lattice;

    /// Does the domain answer that everything here is of?
    fn check(&self) -> BoxFuture<'_, Result<(), DomainError>>;
}

impl Lattice {
    /// The same connection, with the buckets, stores, streams and logs of another JetStream domain. Asks
    /// nobody: whether there is such a domain, [`Domains::check`] of what this returns finds out.
    #[must_use]
    pub fn in_domain(&self, domain: &DomainName) -> Self {
        self.domains.enter(self, domain)
    }
}
