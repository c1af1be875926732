//! What a provider's NATS user may do, on a real server with decentralised users; and who answers.

use crate::support::{SOON, Sized, within};
use anyhow::{Result, ensure};
use keys::nats::{AccountSpec, Responses, RoleSpec, Subjects as Allowed, UserSpec};
use keys::{KeyKind, KeyPair};
use lattice_io::nats::{NatsAuth, NatsLattice, NatsOptions, connect};
use lattice_io::{Bus, BusError, BusMessage, TaskScope};
use lattice_protocol::permission::{HostDomains, Permissions, ProviderRole, provider_inbox};
use lattice_protocol::provider::{Place, process_name};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{LatticeName, ProviderId};
use providers_sdk::remote::{Remote, Served, describe, serve};
use providers_sdk::{Provider, ProviderErrorKind};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tests_harness::NatsServer;

fn key(kind: KeyKind, n: u8) -> KeyPair {
    KeyPair::from_entropy(kind, [n; 32])
}

fn responses() -> Option<Responses> {
    Some(Responses { max_messages: 1_000, ttl_ms: 60_000 })
}

/// A server whose account knows the roles, and users of it.
struct Users {
    server: NatsServer,
    subjects: Subjects,
    now: i64,
}

impl Users {
    async fn start() -> Result<Self> {
        let now = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_secs())?;
        let subjects = Subjects::new("test".parse()?);
        let (operator, system) = (key(KeyKind::Operator, 1), key(KeyKind::Account, 3).public());
        let mut account = AccountSpec::new(key(KeyKind::Account, 2).public(), "test");
        for (n, role) in (10..).zip(ProviderRole::ALL) {
            let Permissions { publish, subscribe, .. } =
                subjects.provider_permissions(role, &["edge.>".to_owned()]);
            account.roles.push(RoleSpec {
                key: key(KeyKind::Account, n).public(),
                name: role.as_str().to_owned(),
                publish: Allowed::allow(publish),
                subscribe: Allowed::allow(subscribe),
                responses: responses(),
            });
        }
        let mut accounts = BTreeMap::new();
        for spec in [account, AccountSpec::system(system)] {
            accounts.insert(spec.account, keys::nats::account_jwt(&operator, &spec, now)?);
        }
        let operator = keys::nats::operator_jwt(&operator, "test", &system, now)?;
        let config = keys::nats::server_config(&operator, &system, &accounts);
        let options = tests_harness::NatsOptions {
            operator_config: Some(config),
            ..tests_harness::NatsOptions::default()
        };
        Ok(Self { server: NatsServer::start(options).await?, subjects, now })
    }

    async fn connect(&self, user: &KeyPair, jwt: String, inbox: String) -> Result<Arc<NatsLattice>> {
        let auth = NatsAuth::Jwt { jwt, seed: user.seed().to_string() };
        let options = NatsOptions { auth, inbox_prefix: Some(inbox), ..NatsOptions::new(self.server.url()) };
        Ok(connect(options).await?)
    }

    /// A process of this name, with this role.
    async fn process(&self, n: u8, role: usize, name: &str) -> Result<Arc<NatsLattice>> {
        let (user, signer) = (key(KeyKind::User, n), key(KeyKind::Account, 10 + u8::try_from(role)?));
        let account = key(KeyKind::Account, 2).public();
        let jwt = keys::nats::role_user_jwt(&signer, account, user.public(), name, self.now)?;
        self.connect(&user, jwt, provider_inbox(user.public().as_str())).await
    }

    async fn host(&self) -> Result<Arc<NatsLattice>> {
        let user = key(KeyKind::User, 99);
        let granted =
            self.subjects.host_permissions(&"H1".parse()?, &["edge.>".to_owned()], &HostDomains::default());
        let mut spec = UserSpec::new(user.public(), "H1");
        spec.publish = Allowed::allow(granted.publish);
        spec.publish.deny = granted.publish_deny.into_iter().collect();
        spec.subscribe = Allowed::allow(granted.subscribe);
        spec.responses = responses();
        let jwt = keys::nats::user_jwt(&key(KeyKind::Account, 2), &spec, self.now)?;
        self.connect(&user, jwt, granted.inbox_prefix).await
    }
}

fn lattice() -> LatticeName {
    "test".parse().unwrap()
}

fn store() -> ProviderId {
    "shop/store".parse().unwrap()
}

async fn serve_store(bus: &Arc<dyn Bus>, scope: &TaskScope, n: u8) -> Result<()> {
    let provider = Provider::KeyValue(Arc::new(Sized::default()));
    let key = key(KeyKind::Provider, n);
    let served = Served { lattice: lattice(), id: store(), place: Place::Shared, provider, key };
    serve(served, bus, scope).await?;
    Ok(())
}

#[tokio::test]
async fn a_process_answers_its_own_calls_and_cannot_hear_or_answer_another_providers() -> Result<()> {
    let users = Users::start().await?;
    let (scope, host) = (TaskScope::new("test"), users.host().await?);
    let own = users.process(20, 0, "shop.store").await?;
    serve_store(&own.lattice().bus, &scope, 7).await?;
    let bus = host.lattice().bus;
    let expected = Some(key(KeyKind::Provider, 7).public());
    let description = describe(&*bus, &lattice(), "shop.store", expected, SOON).await?;
    let remote = Remote::new(Arc::clone(&bus), &users.subjects, &store(), &Place::Shared, scope.clone());
    let Provider::KeyValue(called) = remote.provider(&description) else { anyhow::bail!("no store") };
    assert_eq!(called.get(&within(SOON), "b", "3").await?, Some("vvv".into()));

    let other = users.process(21, 0, "shop.other").await?;
    let other_bus = other.lattice().bus;
    for subject in [
        "trellis.test.rpc.prov.shop.store",
        "trellis.test.rpc.prov.>",
        "trellis.test.rpc.links.shop.store",
        "edge.a",
    ] {
        let refused = other_bus.subscribe(subject, Some("serve")).await.err();
        ensure!(matches!(refused, Some(BusError::Denied { .. })), "{subject}: {refused:?}");
    }
    // What it publishes all the same is dropped by the server: it reaches neither inbox nor actor.
    let mut actor = bus.subscribe("trellis.test.rpc.actor.shop.cart", None).await?;
    let mut inbox = bus.subscribe(&format!("{}.x", bus.new_inbox()), None).await?;
    for subject in ["trellis.test.rpc.actor.shop.cart", "trellis.test.rpc.prov.shop.store", "edge.a"] {
        let _ = other_bus.publish(BusMessage::new(subject, "forged")).await;
    }
    other_bus.flush().await?;
    for subscription in [&mut actor, &mut inbox] {
        let nothing = tokio::time::timeout(Duration::from_millis(200), subscription.next()).await;
        ensure!(nothing.is_err(), "a store only answers: {nothing:?}");
    }
    assert_eq!(called.get(&within(SOON), "b", "3").await?, Some("vvv".into()));
    Ok(())
}

#[tokio::test]
async fn a_server_may_call_actors_and_a_broker_has_the_applications_subjects() -> Result<()> {
    let users = Users::start().await?;
    let host = users.host().await?.lattice().bus;
    let mut actor = host.subscribe("trellis.test.rpc.actor.shop.cart", None).await?;
    let mut edge = host.subscribe("edge.a", None).await?;
    let server = users.process(22, 1, "shop.http.H1").await?.lattice().bus;
    server.publish(BusMessage::new("trellis.test.rpc.actor.shop.cart", "call")).await?;
    assert_eq!(
        tokio::time::timeout(SOON, actor.next()).await?.map(|message| message.payload),
        Some("call".into())
    );
    ensure!(matches!(server.subscribe("edge.a", None).await.err(), Some(BusError::Denied { .. })));
    ensure!(server.subscribe(&users.subjects.provider_call("shop.http.H1"), None).await.is_ok());
    let broker = users.process(23, 2, "shop.nats").await?.lattice().bus;
    ensure!(broker.subscribe("edge.a", None).await.is_ok());
    broker.publish(BusMessage::new("edge.a", "reading")).await?;
    assert_eq!(
        tokio::time::timeout(SOON, edge.next()).await?.map(|message| message.payload),
        Some("reading".into())
    );
    Ok(())
}

#[tokio::test]
async fn who_answers_proves_its_key_or_is_not_taken() -> Result<()> {
    let (memory, scope) = (lattice_io::memory::Memory::new(), TaskScope::new("test"));
    let bus = memory.lattice().bus;
    serve_store(&bus, &scope, 7).await?;
    let name = process_name(&store(), &Place::Shared);
    let expected = key(KeyKind::Provider, 7).public();
    let description = describe(&*bus, &lattice(), &name, None, SOON).await?;
    assert_eq!(description.key, expected);
    let other = key(KeyKind::Provider, 8).public();
    let refused = describe(&*bus, &lattice(), &name, Some(other), SOON).await.unwrap_err();
    assert_eq!(refused.kind, ProviderErrorKind::Denied);

    // One that only claims the key: it says what the other said, to another question.
    let links = users_links();
    let question = serde_json::json!({ "describe": { "nonce": "earlier" } });
    let recorded = bus.request(BusMessage::new(&*links, serde_json::to_vec(&question)?), SOON).await?.payload;
    scope.shutdown(Duration::from_secs(1)).await;
    let mut asked = bus.subscribe(&links, None).await?;
    let of = lattice();
    let (answer, replayed) = tokio::join!(describe(&*bus, &of, &name, Some(expected), SOON), async {
        let question = asked.next().await.expect("the question");
        bus.publish(question.answer(recorded.clone()).expect("asks")).await
    });
    replayed?;
    let refused = answer.unwrap_err();
    ensure!(refused.message.contains("no valid answer"), "{refused:?}");
    Ok(())
}

fn users_links() -> String {
    Subjects::new(lattice()).provider_links(&process_name(&store(), &Place::Shared))
}
