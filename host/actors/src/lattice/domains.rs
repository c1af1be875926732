//! The kinds of durability `lattice` of a host, by the JetStream domain that has their journals: the lattice's own,
//! or that of a site. Each domain has everything of its own: streams, stores, leases, owners; so a host has a session
//! in each, made when the first kind of that domain starts. A domain that is cut off ends that one session, and its
//! kinds' shards with it; the others know nothing of it.
//!
//! Invariants: a kind is of one domain; of two, its actors would have two histories.

use super::{LatticeActors, LatticeOptions};
use crate::kinds::Kind;
use lattice_io::{BusError, BusMessage, DomainError, TaskScope};
use lattice_protocol::{ActorId, DomainName, ErrorCode, KindName, Report};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Time in which a server says that nobody hears a question, or that it may not be asked.
const PROBE: Duration = Duration::from_secs(2);

/// The kinds of durability `lattice` on a host, in every domain. Clones are handles to the same.
#[derive(Clone)]
pub struct DomainActors {
    options: Arc<LatticeOptions>,
    scope: TaskScope,
    domains: Arc<Mutex<BTreeMap<Option<DomainName>, LatticeActors>>>,
}

impl DomainActors {
    /// Nothing runs before there is a kind. The options are those of the lattice's own domain.
    #[must_use]
    pub fn new(options: LatticeOptions, parent: &TaskScope) -> Self {
        Self { options: Arc::new(options), scope: parent.clone(), domains: Arc::default() }
    }

    /// Short and never across an await; whole after every statement.
    fn domains(&self) -> MutexGuard<'_, BTreeMap<Option<DomainName>, LatticeActors>> {
        self.domains.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is a domain there for this host, and may it own shards in it? Without a connection nobody can say, and that
    /// is no error: a host that starts offline has its kinds wait.
    ///
    /// # Errors
    /// `E_DOMAIN` when the domain does not answer, `E_DENIED` when this host's user may not use it.
    pub async fn reach(&self, domain: &DomainName) -> Result<(), Report> {
        let LatticeOptions { lattice, subjects, .. } = self.options.in_domain(Some(domain));
        match lattice.domains.check().await {
            Ok(()) => {}
            Err(DomainError::Bus(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        // A server of the domain lets all its users in; whether this one may write records is another thing.
        match lattice.bus.request(BusMessage::new(subjects.shards_probe(), ""), PROBE).await {
            Err(BusError::Denied { .. }) => Err(DomainError::Denied { domain: Some(domain.clone()) }.into()),
            _ => Ok(()),
        }
    }

    /// A kind runs here from now on, in this domain (none: the lattice's own), or with another component.
    ///
    /// # Errors
    /// `E_CONFLICT` when another actor has that kind here, or the kind is of another domain.
    pub fn put_kind(&self, domain: Option<&DomainName>, name: KindName, kind: Kind) -> Result<(), Report> {
        let mut domains = self.domains();
        let other = domains.iter().find(|(of, actors)| of.as_ref() != domain && actors.runs(&name).is_some());
        if let Some((of, _)) = other {
            let what = format!("the journal of kind {name} is in another JetStream domain");
            return Err(Report::new(ErrorCode::Conflict, what)
                .at(&kind.actor)
                .got(in_words(domain))
                .limit(in_words(of.as_ref()))
                .hint("put the domain back; or begin a kind of another name in the new one"));
        }
        let actors = match domains.get(&domain.cloned()) {
            Some(actors) => actors.clone(),
            None => {
                let actors = LatticeActors::new(self.options.in_domain(domain), &self.scope)?;
                domains.insert(domain.cloned(), actors.clone());
                actors
            }
        };
        actors.put_kind(name, kind)
    }

    /// A kind does not run here any more: its shards go to whoever else runs it.
    pub fn remove_kind(&self, name: &KindName) {
        if let Some(actors) = self.of(name) {
            actors.remove_kind(name);
        }
    }

    /// The domain in which a kind runs here, if it does.
    #[must_use]
    pub fn of(&self, kind: &KindName) -> Option<LatticeActors> {
        self.domains().values().find(|actors| actors.runs(kind).is_some()).cloned()
    }

    /// Does this kind run here?
    #[must_use]
    pub fn runs(&self, kind: &KindName) -> Option<ActorId> {
        self.domains().values().find_map(|actors| actors.runs(kind))
    }

    /// Gives up every shard, and ends.
    pub async fn shutdown(&self, patience: Duration) {
        let all: Vec<LatticeActors> = self.domains().values().cloned().collect();
        futures::future::join_all(all.iter().map(|actors| actors.shutdown(patience))).await;
    }
}

fn in_words(domain: Option<&DomainName>) -> &str {
    domain.map_or("the lattice's own", DomainName::as_str)
}

impl LatticeOptions {
    /// The same host, in another domain.
    fn in_domain(&self, domain: Option<&DomainName>) -> Self {
        let Some(domain) = domain else { return self.clone() };
        Self {
            lattice: self.lattice.in_domain(domain),
            subjects: self.subjects.in_domain(Some(domain.clone())),
            ..self.clone()
        }
    }
}
