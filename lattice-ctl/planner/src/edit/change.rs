//! Every edit as data, so that whoever wants one can send it to whoever makes it: the command line and
//! the controllers' API make edits by [`carry_out`] alone.

use super::{
    DeleteLink, Edited, PutLink, ScaleActor, StartActor, StartProvider, StopActor, delete_link, domain,
    finalise, pause, put_link, resume, rollback, scale_actor, start_actor, start_provider, stop_actor,
    stop_provider,
};
use lattice_protocol::desired::{DesiredApp, Placement};
use lattice_protocol::manifest::Application;
use lattice_protocol::name::ActorName;
use lattice_protocol::spec::Artifact;
use lattice_protocol::{ActorId, AppName, ErrorCode, HostId, Report};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A change of what one application shall be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Change {
    /// Put it as it is written here.
    Put {
        /// The manifest.
        application: Box<Application>,
        /// The component of each actor.
        artifacts: BTreeMap<ActorId, Artifact>,
        /// Run it; otherwise it runs if it did before.
        #[serde(default)]
        deploy: bool,
    },
    /// Run it.
    Deploy {},
    /// Do not run it.
    Undeploy {},
    /// Go back to an earlier version.
    Rollback {
        /// Which; otherwise the last that was different.
        #[serde(default)]
        version: Option<u64>,
    },
    /// No further host gets the new version.
    Pause {},
    /// Go on, or try again.
    Resume {},
    /// A complete rollout is final.
    Finalise {},
    /// `start actor`.
    StartActor(StartActor),
    /// `scale actor`.
    ScaleActor(ScaleActor),
    /// `stop actor`.
    StopActor {
        /// Which.
        name: ActorName,
        /// Only on this host.
        #[serde(default)]
        host: Option<HostId>,
    },
    /// `start provider`.
    StartProvider(StartProvider),
    /// `stop provider`.
    StopProvider {
        /// Name, kind or image.
        reference: String,
    },
    /// `link put`.
    PutLink(Box<PutLink>),
    /// `link del`.
    DeleteLink(DeleteLink),
}

/// What an edit depends on besides the record.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// Hosts that may be named.
    pub known: &'a BTreeSet<HostId>,
    /// The decision in force about the application.
    pub placement: Option<&'a Placement>,
}

impl Change {
    /// Does it depend on which hosts there are?
    #[must_use]
    pub fn names_hosts(&self) -> bool {
        match self {
            Self::StartActor(start) => !start.hosts.is_empty(),
            Self::ScaleActor(scale) => !scale.hosts.is_empty(),
            Self::StartProvider(start) => !start.hosts.is_empty(),
            Self::StopActor { host, .. } => host.is_some(),
            _ => false,
        }
    }

    /// Does it depend on what was decided?
    #[must_use]
    pub fn needs_placement(&self) -> bool {
        matches!(
            self,
            Self::Pause {} | Self::Resume {} | Self::Finalise {} | Self::StopActor { host: Some(_), .. }
        )
    }
}

/// Makes a change. The application of imperative commands comes into being by its first one, and any
/// other by being put.
///
/// # Errors
/// `E_APP_NOT_FOUND`, `E_CONFLICT` for a kind that would change its JetStream domain, and what the edit says.
pub fn carry_out(
    app: &AppName,
    have: Option<&DesiredApp>,
    change: &Change,
    cx: Circumstances<'_>,
) -> Result<Edited, Report> {
    let edited = edit(app, have, change, cx)?;
    if let Some(have) = have {
        domain::stays(have, &edited.record)?;
    }
    Ok(edited)
}

fn edit(
    app: &AppName,
    have: Option<&DesiredApp>,
    change: &Change,
    cx: Circumstances<'_>,
) -> Result<Edited, Report> {
    if let Change::Put { application, artifacts, deploy } = change {
        return put(app, have, (application, artifacts), *deploy);
    }
    let empty;
    let record = match have {
        Some(have) => have,
        None if *app == AppName::imperative() => {
            empty = DesiredApp::empty(app.clone());
            &empty
        }
        None => return Err(not_found(app)),
    };
    match change {
        Change::Put { application, artifacts, deploy } => put(app, have, (application, artifacts), *deploy),
        Change::Deploy {} => deployed(record, true),
        Change::Undeploy {} => deployed(record, false),
        Change::Rollback { version } => rollback(record, *version),
        Change::Pause {} => pause(record, cx.placement),
        Change::Resume {} => resume(record, cx.placement),
        Change::Finalise {} => finalise(record, cx.placement),
        Change::StartActor(start) => start_actor(record, start, cx.known),
        Change::ScaleActor(scale) => scale_actor(record, scale, cx.known),
        Change::StopActor { name, host } => {
            let stop = StopActor { name: name.clone(), host: host.clone(), placement: cx.placement };
            stop_actor(record, &stop, cx.known)
        }
        Change::StartProvider(start) => start_provider(record, start, cx.known),
        Change::StopProvider { reference } => stop_provider(record, reference),
        Change::PutLink(put) => put_link(record, put),
        Change::DeleteLink(delete) => delete_link(record, delete),
    }
}

fn not_found(app: &AppName) -> Report {
    Report::new(ErrorCode::AppNotFound, format!("application not found: {app}")).hint("see: trellis app list")
}

fn deployed(record: &DesiredApp, deployed: bool) -> Result<Edited, Report> {
    let mut next = record.clone();
    next.deployed = deployed;
    Edited::new(next, if deployed { "deploy" } else { "undeploy" }.to_owned())
}

/// The application as a manifest says it. Putting the same again is no new version.
///
/// # Errors
/// `E_MANIFEST` when the manifest is another application's; `E_ARTIFACT_NOT_FOUND` for an actor
/// without a component; what is wrong with the manifest.
pub fn put(
    app: &AppName,
    have: Option<&DesiredApp>,
    (application, artifacts): (&Application, &BTreeMap<ActorId, Artifact>),
    deploy: bool,
) -> Result<Edited, Report> {
    if application.name != *app {
        return Err(Report::new(ErrorCode::Manifest, "manifest of another application")
            .at("metadata.name")
            .got(&application.name)
            .limit(app));
    }
    let id = |name: &ActorName| ActorId::new(app.clone(), name.clone());
    if let Some(actor) = application.actors.iter().find(|actor| !artifacts.contains_key(&id(&actor.name))) {
        return Err(Report::new(
            ErrorCode::ArtifactNotFound,
            format!("artifact not found: {}", actor.artifact),
        )
        .at(format!("actor {}", actor.name))
        .hint("push the component, and name it by its digest: sha256:…"));
    }
    let mut next = have.cloned().unwrap_or_else(|| DesiredApp::empty(app.clone()));
    next.application = application.clone();
    next.artifacts = artifacts.clone();
    next.artifacts.retain(|id, _| application.actor(&id.name).is_some());
    next.deployed = deploy || have.is_some_and(|have| have.deployed);
    if have != Some(&next) {
        // What was ordered about the version before is no order about this one.
        (next.rollout.paused, next.rollout.finalise) = (false, false);
    }
    Edited::new(next, "put".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lattice_protocol::manifest::ActorManifest;

    fn shop() -> AppName {
        "shop".parse().unwrap()
    }

    fn written(artifact: &str) -> (Application, BTreeMap<ActorId, Artifact>) {
        let mut application = Application::empty(shop());
        application.actors.push(ActorManifest::new("web".parse().unwrap(), artifact));
        let digest = Artifact { digest: artifact.into(), size: 1 };
        (application, [("shop/web".parse().unwrap(), digest)].into())
    }

    fn make(have: Option<&DesiredApp>, change: &Change) -> Result<Edited, Report> {
        let known = ["A".parse().unwrap()].into();
        carry_out(&shop(), have, change, Circumstances { known: &known, placement: None })
    }

    fn put_of(artifact: &str, deploy: bool) -> Change {
        let (application, artifacts) = written(artifact);
        Change::Put { application: Box::new(application), artifacts, deploy }
    }

    #[test]
    fn an_application_is_put_once_and_the_same_again_is_no_change() {
        let mut first = make(None, &put_of("sha256:1", false)).unwrap().record;
        assert!(!first.deployed);
        first.stamp("ann", 1, "put");
        (first.rollout.paused, first.rollout.attempt) = (true, 3);
        assert_eq!(make(Some(&first), &put_of("sha256:1", false)).unwrap().record, first);
        let next = make(Some(&first), &put_of("sha256:2", true)).unwrap().record;
        assert!(next.deployed && !next.rollout.paused && next.rollout.attempt == 3);
        assert_eq!(next.history, first.history, "its writer adds to that");
        let (application, _) = written("sha256:3");
        let bare =
            Change::Put { application: Box::new(application), artifacts: BTreeMap::new(), deploy: true };
        assert_eq!(make(None, &bare).unwrap_err().code, ErrorCode::ArtifactNotFound);
        let other: AppName = "other".parse().unwrap();
        let (application, artifacts) = written("sha256:1");
        assert_eq!(
            put(&other, None, (&application, &artifacts), true).unwrap_err().code,
            ErrorCode::Manifest
        );
    }

    #[test]
    fn only_the_imperative_application_comes_into_being_by_an_edit() {
        let missing = make(None, &Change::Deploy {}).unwrap_err();
        assert_eq!(missing.code, ErrorCode::AppNotFound);
        let start = Change::StartProvider(StartProvider {
            reference: "keyvalue-redis".to_owned(),
            name: None,
            hosts: Vec::new(),
            link_name: None,
            config: BTreeMap::new(),
        });
        let known = BTreeSet::new();
        let cx = Circumstances { known: &known, placement: None };
        assert!(carry_out(&AppName::imperative(), None, &start, cx).is_ok());
    }

    #[test]
    fn a_change_reads_back_and_what_it_does_not_know_is_refused() {
        let changes = [
            put_of("sha256:1", true),
            Change::Rollback { version: Some(3) },
            Change::Pause {},
            Change::ScaleActor(ScaleActor { name: "web".parse().unwrap(), hosts: Vec::new(), max: Some(3) }),
            Change::StopActor { name: "web".parse().unwrap(), host: Some("A".parse().unwrap()) },
        ];
        for change in changes {
            let text = serde_json::to_string(&change).unwrap();
            assert_eq!(serde_json::from_str::<Change>(&text).unwrap(), change, "{text}");
        }
        for bad in [
            r#"{"change":"deploy","force":true}"#,
            r#"{"change":"scale-actor","name":"web","maximum":3}"#,
            r#"{"change":"explode"}"#,
            r#"{"change":"stop-actor","name":"a.b"}"#,
        ] {
            assert!(serde_json::from_str::<Change>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn scaling_without_a_number_keeps_it_and_needs_something_to_change() {
        let record = make(None, &put_of("sha256:1", true)).unwrap().record;
        let scale = |hosts: &[&str], max| {
            let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
            make(Some(&record), &Change::ScaleActor(ScaleActor { name: "web".parse().unwrap(), hosts, max }))
        };
        assert_eq!(scale(&[], None).unwrap_err().code, ErrorCode::Usage);
        assert_eq!(scale(&["B"], Some(2)).unwrap_err().code, ErrorCode::HostNotFound);
        let confined = scale(&["A"], None).unwrap();
        assert_eq!(confined.change, "scale actor web 1");
    }
}
