//! A provider's own process that does not answer as it should: late, twice, something else, far too
//! much, for a link that is not its own, with another's key. It is a sound provider with its own
//! rights on a real server; only its answers are changed on their way out.

use super::{Played, words};
use crate::case::Case;
use crate::command::trellis;
use crate::desk::{self, Desk};
use crate::judge::Outcome;
use crate::wire;
use crate::world::{GHOST, Lab, World};
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use keys::{KeyKind, KeyPair};
use lattice_io::nats::{NatsAuth, NatsLattice, NatsOptions, connect};
use lattice_io::{Bus, BusError, BusMessage, BusStatus, Subscription, TaskScope};
use lattice_protocol::LatticeName;
use lattice_protocol::provider::{Place, process_name};
use lattice_protocol::subject::Subjects;
use providers_keyvalue_embedded::{Config, EmbeddedKeyValue};
use providers_sdk::process::Membership;
use providers_sdk::remote::{Served, serve};
use providers_sdk::{BoxFuture, Provider};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Longer than the link's patience.
const LATE: Duration = Duration::from_millis(1_500);
/// How long something waits that does not come.
const BEAT: Duration = Duration::from_millis(100);
/// How long a process may take to end.
const END: Duration = Duration::from_secs(5);
/// Loans so far: cases run beside each other, each with an application of its own.
static LOANS: AtomicU32 = AtomicU32::new(0);

/// An actor that keeps its keys with somebody else.
const MANIFEST: &str = r#"
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: APP }
spec:
  actors:
    - name: probe
      artifact: fixture_probe.wasm
      links:
        - { to: lab/http, interface: "wasi:http/incoming-handler", config: { path: /, hosts: APP } }
        - { to: loan, interface: "wasi:keyvalue", timeoutMs: 700, retries: 0 }
  providers:
    - { name: loan, kind: keyvalue-redis, run: remote, config: { key: KEY } }
"#;

/// How answers are changed.
#[derive(Debug, Clone, Copy)]
enum Bent {
    Late,
    Twice,
    OtherType,
    NoFrame,
    Nothing,
    Huge,
}

impl Bent {
    fn read(name: &str) -> Result<Self> {
        Ok(match name {
            "late" => Self::Late,
            "twice" => Self::Twice,
            "of another type" => Self::OtherType,
            "no frame" => Self::NoFrame,
            "nothing" => Self::Nothing,
            "a length of 4 GiB" => Self::Huge,
            other => bail!("no answer is {other:?}"),
        })
    }

    /// What is sent in the place of `good`.
    fn payload(self, good: &Bytes) -> Bytes {
        match self {
            Self::Late | Self::Twice => good.clone(),
            // A whole number of values, and not the one that a read gives back.
            Self::OtherType => vec![1, 0, 0, 0, 0].into(),
            Self::NoFrame => Bytes::from_static(b"\xff\xfe{}"),
            Self::Nothing => Bytes::new(),
            Self::Huge => vec![1, 0, 1, 0xff, 0xff, 0xff, 0xff, b'x'].into(),
        }
    }
}

/// A bus on which answers are changed while `bent` is set.
struct Crooked {
    inner: Arc<dyn Bus>,
    how: Bent,
    is_on: AtomicBool,
}

impl Bus for Crooked {
    fn publish(&self, message: BusMessage) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(async move {
            if !self.is_on.load(Ordering::SeqCst) {
                return self.inner.publish(message).await;
            }
            let bent = BusMessage { payload: self.how.payload(&message.payload), ..message };
            match self.how {
                Bent::Late => tokio::time::sleep(LATE).await,
                Bent::Twice => self.inner.publish(bent.clone()).await?,
                _ => {}
            }
            self.inner.publish(bent).await
        })
    }
    fn request(&self, message: BusMessage, timeout: Duration) -> BoxFuture<'_, Result<BusMessage, BusError>> {
        self.inner.request(message, timeout)
    }
    fn subscribe<'a>(
        &'a self,
        subject: &'a str,
        queue: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Subscription, BusError>> {
        self.inner.subscribe(subject, queue)
    }
    fn flush(&self) -> BoxFuture<'_, Result<(), BusError>> {
        self.inner.flush()
    }
    fn new_inbox(&self) -> String {
        self.inner.new_inbox()
    }
    fn max_payload(&self) -> usize {
        self.inner.max_payload()
    }
    fn status(&self) -> watch::Receiver<BusStatus> {
        self.inner.status()
    }
    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

/// A provider that was enrolled, as it is connected, and where its application is deployed.
struct Loan {
    app: String,
    desk: Desk,
    lab: Arc<Lab>,
    /// The key that was made for it.
    key: KeyPair,
    client: Arc<NatsLattice>,
}

impl Loan {
    async fn enroll(lab: &Arc<Lab>) -> Result<Self> {
        let app = format!("loan{}", LOANS.fetch_add(1, Ordering::SeqCst));
        let desk = lab.desk()?;
        let component = lab.lattice.path().join("fixture_probe.wasm");
        std::fs::copy(component, desk.path().join("fixture_probe.wasm"))?;
        let loan = |line: String| run(lab, &desk, line);
        let enroll = format!("provider enroll {app}/loan --kind keyvalue-redis --to loan.membership");
        let done = loan(enroll).await?;
        ensure!(done.status == Some(0), "{}", done.said);
        let file: Value = serde_json::from_slice(&std::fs::read(desk.path().join("loan.membership"))?)?;
        let membership: Membership = serde_json::from_value(file["membership"].clone())?;
        let key = KeyPair::from_seed(file["seed"].as_str().context("a seed")?)?;
        let mut options = NatsOptions::new(lab.lattice.nats.url());
        options.auth = NatsAuth::Creds(membership.credentials.context("credentials")?);
        options.inbox_prefix = membership.inbox_prefix;
        let client = connect(options).await?;
        Ok(Self { app, desk, lab: Arc::clone(lab), key, client })
    }

    /// Serves a sound store on this bus, by this key.
    async fn serve(&self, bus: Arc<dyn Bus>, key: KeyPair) -> Result<TaskScope> {
        let config = Config { memory: true, ..Config::default() };
        let store = EmbeddedKeyValue::open(self.desk.path(), &config)?;
        let served = Served {
            lattice: lattice()?,
            id: format!("{}/loan", self.app).parse()?,
            place: Place::Shared,
            provider: Provider::KeyValue(Arc::new(store)),
            key,
        };
        let scope = TaskScope::new("loan");
        serve(served, &bus, &scope).await?;
        Ok(scope)
    }

    /// Deploys the application; what the command says.
    async fn deploy(&self, wait_s: u32) -> Result<Outcome> {
        let manifest = MANIFEST.replace("APP", &self.app).replace("KEY", self.key.public().as_str());
        self.desk.write("loan.yaml", manifest)?;
        run(&self.lab, &self.desk, format!("app deploy loan.yaml --wait-for {wait_s}")).await
    }

    async fn end(self, scope: TaskScope) -> Result<()> {
        let done = run(&self.lab, &self.desk, format!("app delete {}", self.app)).await?;
        ensure!(done.status == Some(0), "{}", done.said);
        scope.shutdown(END).await;
        self.client.close().await;
        Ok(())
    }
}

fn lattice() -> Result<LatticeName> {
    Ok("test".parse()?)
}

async fn run(lab: &Arc<Lab>, desk: &Desk, line: String) -> Result<Outcome> {
    let (dir, url) = (desk.path().to_owned(), lab.lattice.nats.url());
    let env = move || trellis(&dir, &line, &[("TRELLIS_NATS_URL", url.as_str())]);
    tokio::task::spawn_blocking(env).await?
}

/// `with`: how its answers are. What is said is what the caller of the actor gets; besides, what it
/// gets from the same host and actor once the answers are sound again.
pub async fn answers(world: &World, case: &Case) -> Played {
    let loan = Loan::enroll(&world.lattice).await?;
    let inner = loan.client.lattice().bus;
    let crooked = Arc::new(Crooked { inner, how: Bent::read(&case.with)?, is_on: AtomicBool::new(false) });
    let scope = loan.serve(Arc::<Crooked>::clone(&crooked), loan.key.clone()).await?;
    let deployed = loan.deploy(60).await?;
    ensure!(deployed.status == Some(0), "{}{}", deployed.said, deployed.aside);
    let ask = |line: &'static str| wire::ask(world.lattice.address, &loan.app, line, b"here");
    let before = ask("PUT /kv/b/k").await?;
    ensure!(before.status == Some(204), "before: {}", before.said);
    crooked.is_on.store(true, Ordering::SeqCst);
    let mut outcome = ask("GET /kv/b/k").await?;
    crooked.is_on.store(false, Ordering::SeqCst);
    let after = ask("GET /kv/b/k").await?;
    ensure!(after.status == Some(200) && after.said.ends_with("here"), "afterwards: {}", after.said);
    outcome.aside = after.said;
    loan.end(scope).await?;
    Ok(vec![(case.with.clone(), outcome)])
}

/// `with`: what a provider does that is not its own.
pub async fn trespasses(world: &World, case: &Case) -> Played {
    let loan = Loan::enroll(&world.lattice).await?;
    let bus = loan.client.lattice().bus;
    let subjects = Subjects::new(lattice()?);
    let own = process_name(&format!("{}/loan", loan.app).parse()?, &Place::Shared);
    let other = process_name(&"lab/store".parse()?, &Place::Shared);
    let outcome = match case.with.as_str() {
        "takes another's calls" => {
            hears(world, &*bus, (subjects.provider_call(&other), subjects.provider_call(&own))).await?
        }
        "answers for what another is" => {
            hears(world, &*bus, (subjects.provider_links(&other), subjects.provider_links(&own))).await?
        }
        "answers what it was not asked" => unasked(world, &*bus).await?,
        "has another key" => {
            let another = desk::key(KeyKind::Provider, 92);
            let scope = loan.serve(Arc::clone(&bus), another).await?;
            let outcome = loan.deploy(3).await?;
            loan.end(scope).await?;
            return Ok(vec![(case.with.clone(), outcome)]);
        }
        other => bail!("no provider {other:?}"),
    };
    loan.client.close().await;
    Ok(vec![(case.with.clone(), outcome)])
}

/// What a provider hears of a subject (`to`: another's; its own) when a host speaks on it.
async fn hears(world: &World, bus: &dyn Bus, to: (String, String)) -> Result<Outcome> {
    let (others, own) = to;
    let mut mine = bus.subscribe(&own, None).await?;
    let theirs = bus.subscribe(&others, None).await;
    let host = world.lattice.connect(GHOST).await?;
    let speaker = host.lattice().bus;
    for subject in [others, own] {
        speaker.publish(BusMessage::new(subject, "a call")).await?;
    }
    // One connection keeps the order: what comes at all of the first is there when the second is.
    tokio::time::timeout(END, mine.next()).await?.context("a call of its own")?;
    host.close().await;
    let heard = match theirs {
        Ok(mut theirs) => tokio::time::timeout(BEAT, theirs.next()).await.is_ok_and(|call| call.is_some()),
        Err(_) => false,
    };
    Ok(words(0, if heard { "another's call" } else { "nothing" }))
}

/// An answer that nobody asked this provider for, to a subject on which somebody waits. What is said
/// is the first that arrives there.
async fn unasked(world: &World, bus: &dyn Bus) -> Result<Outcome> {
    let admin = world.lattice.connect("admin").await?;
    let asker = admin.lattice().bus;
    let inbox = asker.new_inbox();
    let mut waits = asker.subscribe(&inbox, None).await?;
    bus.publish(BusMessage::new(inbox.clone(), "from who was not asked")).await?;
    // What the server was sent before has been dealt with when it answers.
    let flushed = bus.flush().await;
    asker.publish(BusMessage::new(inbox, "from who may")).await?;
    let first = tokio::time::timeout(END, waits.next()).await?.context("an answer")?;
    admin.close().await;
    let said = String::from_utf8_lossy(&first.payload).into_owned();
    Ok(Outcome { aside: format!("{flushed:?}"), ..words(0, said) })
}
