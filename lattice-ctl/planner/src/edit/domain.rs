//! The JetStream domain of a kind never changes: the journals of its actors are there, and nobody would find them
//! in another. Judged by every version of the application that is kept, so that a kind which was taken out and
//! comes back is known as well.

use lattice_protocol::desired::DesiredApp;
use lattice_protocol::manifest::Application;
use lattice_protocol::name::{DomainName, KindName};
use lattice_protocol::{Durability, ErrorCode, Report};

/// The kinds of durability `lattice` of an application, and the domain of each.
fn kinds(application: &Application) -> impl Iterator<Item = (KindName, Option<&DomainName>)> {
    application.actors.iter().filter_map(|actor| {
        let kind = actor.persistent.as_deref().filter(|kind| kind.durability == Durability::Lattice)?;
        Some((kind.kind_of(&actor.name), kind.domain.as_ref()))
    })
}

/// Is every kind where it was?
///
/// # Errors
/// `E_CONFLICT`: one has another domain than an earlier version gave it.
pub(super) fn stays(have: &DesiredApp, next: &DesiredApp) -> Result<(), Report> {
    let before = have.history.iter().filter_map(|past| past.content.as_deref());
    let before: Vec<_> = before.map(|content| &content.application).chain([&have.application]).collect();
    for (kind, domain) in kinds(&next.application) {
        let was = before.iter().flat_map(|application| kinds(application)).find(|(of, _)| *of == kind);
        if let Some((_, was)) = was.filter(|(_, was)| *was != domain) {
            let in_words = |domain: Option<&DomainName>| {
                domain.map_or_else(|| "the lattice's own".to_owned(), ToString::to_string)
            };
            return Err(Report::new(ErrorCode::Conflict, "the JetStream domain of a kind cannot be changed")
                .at(format!("kind {kind}: persistent.domain"))
                .got(in_words(domain))
                .limit(in_words(was))
                .hint("its actors' journals are there; a kind of another name can begin in the new domain"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lattice_protocol::Persistent;
    use lattice_protocol::manifest::ActorManifest;

    fn with(domain: Option<&str>, durability: Durability) -> DesiredApp {
        let mut record = DesiredApp::empty("shop".parse().unwrap());
        let mut actor = ActorManifest::new("cart".parse().unwrap(), "cart.wasm");
        let domain = domain.map(|domain| domain.parse().unwrap());
        actor.persistent = Some(Box::new(Persistent { domain, durability, ..Persistent::default() }));
        record.application.actors.push(actor);
        record
    }

    #[test]
    fn a_kind_stays_in_its_domain_also_when_it_was_away_for_a_version() {
        let lattice = |domain| with(domain, Durability::Lattice);
        let (own, factory) = (lattice(None), lattice(Some("factory")));
        assert!(stays(&own, &own).is_ok() && stays(&factory, &factory).is_ok());
        let empty = DesiredApp::empty("shop".parse().unwrap());
        assert!(stays(&empty, &factory).is_ok() && stays(&factory, &empty).is_ok());
        for (have, next) in [(&own, &factory), (&factory, &own), (&factory, &lattice(Some("depot")))] {
            let report = stays(have, next).unwrap_err();
            assert_eq!(report.code, ErrorCode::Conflict, "{report}");
        }
        let mut away = factory.clone();
        away.stamp("ann", 1, "put");
        away.application.actors.clear();
        away.stamp("ann", 2, "put");
        assert!(stays(&away, &own).is_err());
        assert!(stays(&with(None, Durability::Device), &factory).is_ok(), "what was on a host was in none");
    }
}
