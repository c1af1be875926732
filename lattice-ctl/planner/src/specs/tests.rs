//! From decisions to specs, and when there is a new generation.

use super::*;
use crate::fixtures::{actor, app, host, link, provider};
use lattice_protocol::Places;
use lattice_protocol::manifest::Scale;
use lattice_protocol::rollout::{Base, Content, Phase, Progress, Rollout};

struct World {
    lattice: LatticeName,
    incarnation: u64,
    desired: BTreeMap<AppName, DesiredApp>,
    placements: BTreeMap<AppName, Revised<Placement>>,
    specs: BTreeMap<HostId, HostSpec>,
    astray: BTreeMap<HostId, Generation>,
}

impl World {
    /// `shop` with `web` (linked to a store, an HTTP server, and `blog`'s store) and `api` (linked
    /// to nothing), and `blog` with nothing but that store.
    fn new() -> Self {
        let mut web = actor("web", Scale::Replicas(2));
        web.links = vec![
            link("shop/web", "wasi:keyvalue", "shop/kv"),
            link("shop/web", "wasi:http/incoming-handler", "shop/http"),
            link("shop/web", "wasi:blobstore", "blog/files"),
        ];
        let mut shop = app("shop", vec![web, actor("api", Scale::Replicas(1))]);
        shop.application.providers = vec![
            provider("kv", "keyvalue-nats"),
            provider("http", "http-server"),
            provider("idle", "http-client"),
        ];
        let mut blog = app("blog", vec![]);
        blog.application.providers = vec![provider("files", "blobstore-embedded")];
        let mut world = Self {
            lattice: "prod".parse().unwrap(),
            incarnation: 0,
            desired: [("shop".parse().unwrap(), shop), ("blog".parse().unwrap(), blog)].into(),
            placements: BTreeMap::new(),
            specs: BTreeMap::new(),
            astray: BTreeMap::new(),
        };
        world.place(&[("web", "A", 1), ("web", "B", 1), ("api", "A", 1)], 10);
        world
    }

    fn place(&mut self, places: &[(&str, &str, u32)], revision: u64) {
        let app: AppName = "shop".parse().unwrap();
        let mut actors: BTreeMap<ActorId, Places> = BTreeMap::new();
        for (name, on, count) in places {
            let id = ActorId::new(app.clone(), name.parse().unwrap());
            actors.entry(id).or_default().insert(host(on), *count);
        }
        let placement = Placement { actors, ..Placement::empty(app.clone(), 1) };
        self.placements.insert(app, Revised::new(placement, revision));
    }

    /// Derives, writes, and says what was written: `A 0.1: shop/api shop/web | providers | links`.
    fn write(&mut self) -> Vec<String> {
        let specs = host_specs(&SpecInput {
            lattice: &self.lattice,
            incarnation: self.incarnation,
            desired: self.desired.iter().collect(),
            placements: self.placements.iter().collect(),
            previous: self.specs.iter().collect(),
            astray: self.astray.iter().map(|(host, generation)| (host, *generation)).collect(),
        });
        self.specs.extend(specs.clone());
        specs.values().map(words).collect()
    }

    fn shop(&mut self) -> &mut DesiredApp {
        self.desired.get_mut(&"shop".parse().unwrap()).unwrap()
    }
}

fn words(spec: &HostSpec) -> String {
    let actors: Vec<String> =
        spec.actors.iter().map(|actor| format!("{}x{}", actor.id, actor.replicas)).collect();
    let providers: Vec<String> = spec.providers.iter().map(|provider| provider.id.to_string()).collect();
    format!(
        "{} {}: {} | {} | {}",
        spec.host,
        spec.generation,
        actors.join(" "),
        providers.join(" "),
        spec.links.len()
    )
}

#[test]
fn a_host_gets_its_actors_their_links_and_the_providers_behind_them() {
    let mut world = World::new();
    assert_eq!(
        world.write(),
        [
            "A 0.1: shop/apix1 shop/webx1 | blog/files shop/http shop/kv | 3",
            "B 0.1: shop/webx1 | blog/files shop/http shop/kv | 3",
        ]
    );
    assert_eq!(world.specs[&host("A")].apps, [("shop".parse().unwrap(), 10)].into());
}

#[test]
fn only_what_changed_gets_a_new_generation() {
    let mut world = World::new();
    world.write();
    assert_eq!(world.write(), [""; 0]);
    world.shop().application.actors[1].config.insert("k".into(), "v".into());
    assert_eq!(world.write(), ["A 0.2: shop/apix1 shop/webx1 | blog/files shop/http shop/kv | 3"]);
    world.shop().application.actors[0].links.remove(1);
    assert_eq!(
        world.write(),
        [
            "A 0.3: shop/apix1 shop/webx1 | blog/files shop/kv | 2",
            "B 0.2: shop/webx1 | blog/files shop/kv | 2"
        ]
    );
}

#[test]
fn a_host_that_lost_everything_is_told_so() {
    let mut world = World::new();
    world.write();
    world.place(&[("web", "A", 2), ("api", "A", 1)], 11);
    assert_eq!(
        world.write(),
        ["A 0.2: shop/apix1 shop/webx2 | blog/files shop/http shop/kv | 3", "B 0.2:  |  | 0"]
    );
    world.shop().deployed = false;
    assert_eq!(world.write(), ["A 0.3:  |  | 0"]);
}

#[test]
fn a_provider_of_an_application_that_is_gone_is_not_started() {
    let mut world = World::new();
    world.desired.remove(&"blog".parse().unwrap());
    assert!(world.write()[1].starts_with("B 0.1: shop/webx1 | shop/http shop/kv | 3"));
}

#[test]
fn of_an_application_that_is_not_decided_upon_a_host_keeps_what_it_has() {
    let mut world = World::new();
    world.write();
    world.shop().version = 2;
    world.shop().application.actors[0].config.insert("k".into(), "v".into());
    world.shop().application.providers[0].config.insert("k".into(), "v".into());
    assert_eq!(world.write(), [""; 0], "how a new version comes to hosts is the decision");
    // What is decided of others still comes.
    let blog: AppName = "blog".parse().unwrap();
    let files = "files".parse().unwrap();
    let provider = |world: &mut World| world.desired.get_mut(&blog).unwrap().application.providers[0].clone();
    assert_eq!(provider(&mut world).name, files);
    world.desired.get_mut(&blog).unwrap().application.providers[0].config.insert("k".into(), "v".into());
    assert_eq!(world.write().len(), 2);
    let spec = &world.specs[&host("A")];
    assert_eq!(spec.apps, [("shop".parse().unwrap(), 10)].into());
    let config =
        |name: &str| spec.providers.iter().find(|one| one.id.to_string() == name).unwrap().config.len();
    assert_eq!((config("blog/files"), config("shop/kv")), (1, 0));
    assert!(spec.actors.iter().all(|actor| actor.config.is_empty()));
    // The decision comes: so does the rest.
    world.place(&[("web", "A", 1), ("web", "B", 1), ("api", "A", 1)], 11);
    world
        .placements
        .values_mut()
        .for_each(|have| std::sync::Arc::make_mut(&mut have.value).desired_version = 2);
    world.write();
    let spec = &world.specs[&host("A")];
    assert_eq!(spec.actors.iter().map(|actor| actor.config.len()).sum::<usize>(), 1);
}

#[test]
fn a_host_gets_the_version_that_its_decision_gives_it() {
    let mut world = World::new();
    let app: AppName = "shop".parse().unwrap();
    let web: ActorId = "shop/web".parse().unwrap();
    let old = world.desired[&app].clone();
    world.shop().stamp("", 0, "put");
    let version = world.shop().version;
    world.shop().artifacts.get_mut(&web).unwrap().digest = "sha256:new".into();
    world.shop().application.actors[0].config.insert("k".into(), "v".into());
    world.shop().application.actors[0].links.remove(0);
    world.shop().application.providers.remove(0);
    let content = Content { application: old.application, artifacts: old.artifacts };
    let target = world.shop().component(&web);
    let progress = Progress { target, wave: 0, updated: [host("A")].into() };
    let rollout = Rollout {
        base: Base { version: 1, content },
        phase: Phase::Advancing,
        actors: [(web.clone(), progress)].into(),
        attempt: 0,
    };
    for have in world.placements.values_mut() {
        let placement = std::sync::Arc::make_mut(&mut have.value);
        placement.desired_version = version;
        placement.rollout = Some(Box::new(rollout.clone()));
    }
    world.write();
    let told = |world: &World, on: &str| {
        let spec = &world.specs[&host(on)];
        let web = spec.actors.iter().find(|actor| actor.id == web).unwrap().clone();
        let kv = spec.providers.iter().any(|provider| provider.id.to_string() == "shop/kv");
        (web.artifact.digest, web.trial, web.config.len(), kv)
    };
    assert_eq!(told(&world, "A"), ("sha256:new".into(), true, 1, false));
    assert_eq!(told(&world, "B"), ("sha256:web".into(), false, 0, true), "with its own links and providers");
    let why = "tried".to_owned();
    for have in world.placements.values_mut() {
        let placement = std::sync::Arc::make_mut(&mut have.value);
        let rollout = placement.rollout.as_mut().unwrap();
        rollout.phase = Phase::RolledBack { why: why.clone() };
        rollout.actors.values_mut().for_each(|progress| progress.updated.clear());
    }
    world.write();
    assert_eq!(told(&world, "A"), ("sha256:web".into(), false, 0, true));
}

#[test]
fn a_restored_lattice_begins_a_new_incarnation() {
    let mut world = World::new();
    world.write();
    world.incarnation = 1;
    world.placements.values_mut().for_each(|have| have.revision = 3);
    assert_eq!(world.write().len(), 2);
    assert!(world.specs.values().all(|spec| spec.generation == Generation { incarnation: 1, n: 1 }));
    world.incarnation = 0;
    world.shop().application.actors[0].config.insert("k".into(), "v".into());
    assert_eq!(world.write(), [""; 0], "a controller of the old life writes nothing");
}

#[test]
fn a_view_that_is_behind_writes_nothing() {
    let mut world = World::new();
    world.write();
    world.place(&[("web", "A", 2)], 9);
    assert_eq!(world.write(), [""; 0]);
}

#[test]
fn a_host_that_runs_a_newer_spec_than_the_store_has_is_told_by_a_newer_one_still() {
    let mut world = World::new();
    world.write();
    let (a, stored) = (host("A"), world.specs.clone());
    // Somebody put an old spec back: the host has seen more than the store has.
    world.astray.insert(a.clone(), Generation { incarnation: 0, n: 7 });
    world.write();
    assert_eq!(world.specs[&a].generation, Generation { incarnation: 0, n: 8 });
    assert_eq!(world.specs[&host("B")], stored[&host("B")]);
    // It runs another spec of the very generation in force: content cannot tell, so it is told again.
    world.astray.insert(a.clone(), world.specs[&a].generation);
    world.write();
    assert_eq!(world.specs[&a].generation.n, 9);
    // And a store that lost its key does not begin again at one.
    world.specs.remove(&a);
    world.write();
    assert_eq!(world.specs[&a].generation.n, 9);
}
