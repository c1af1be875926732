//! Clients: each gives one command after the other, repeats it under its id until it is acknowledged, and
//! asks for the sum now and then. What they ask and are told is written down in the order in which they see it.

use super::Plan;
use crate::PATIENCE;
use anyhow::{Context, Result, bail, ensure};
use lattice_io::call::ask_entity;
use lattice_io::{Bus, Lattice};
use lattice_journal::CommandId;
use lattice_protocol::entity::{CommandBy, EntityAsk, EntityCall};
use lattice_protocol::seeded::Seeded;
use lattice_protocol::subject::Subjects;
use lattice_protocol::{EntityKey, ErrorCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tests_chaos::history::{Entry, Outcome};
use tokio::task::JoinSet;

/// Patience of one attempt, milliseconds.
const ATTEMPT_MS: u64 = 4_000;
/// One in so many asks is a query.
const QUERIES: u64 = 8;

/// See the module. Clones are handles to the same.
#[derive(Clone)]
pub(super) struct Clients {
    shared: Arc<Shared>,
}

struct Shared {
    bus: Arc<dyn Bus>,
    subjects: Subjects,
    seed: u64,
    count: u32,
    commands: u64,
    actors: Vec<EntityKey>,
    given: AtomicU64,
    acknowledged: AtomicU64,
    attempts: AtomicU64,
    ops: AtomicU64,
    entries: Mutex<Vec<Entry>>,
}

/// Clients at work.
pub(super) struct Working {
    shared: Arc<Shared>,
    tasks: JoinSet<Result<()>>,
}

impl Clients {
    pub(super) fn new(plan: &Plan, lattice: &Lattice, subjects: &Subjects) -> Result<Self> {
        let parse = |actor: String| actor.parse().map_err(|error| anyhow::anyhow!("{error}"));
        let shared = Shared {
            bus: Arc::clone(&lattice.bus),
            subjects: subjects.clone(),
            seed: plan.seed,
            count: plan.clients,
            commands: plan.commands,
            actors: plan.actors()?.into_iter().map(parse).collect::<Result<_>>()?,
            given: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            attempts: AtomicU64::new(0),
            ops: AtomicU64::new(0),
            entries: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Every shard of the run has an owner.
    pub(super) async fn warm(&self) -> Result<()> {
        for actor in &self.shared.actors {
            self.shared.query(actor, false).await?;
        }
        Ok(())
    }

    pub(super) fn start(&self) -> Working {
        let mut tasks = JoinSet::new();
        for client in 0..self.shared.count {
            let shared = Arc::clone(&self.shared);
            #[allow(clippy::disallowed_methods, reason = "a test's own tasks; the set ends them")]
            tasks.spawn(async move { shared.work(client).await });
        }
        Working { shared: Arc::clone(&self.shared), tasks }
    }

    /// Commands that were acknowledged so far.
    pub(super) fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::SeqCst)
    }

    /// Commands that there will be.
    pub(super) fn commands(&self) -> u64 {
        self.shared.commands
    }

    /// Attempts so far.
    pub(super) fn attempts(&self) -> u64 {
        self.shared.attempts.load(Ordering::SeqCst)
    }
}

impl Working {
    /// What they saw, when all of them are done.
    pub(super) async fn end(mut self) -> Result<Vec<Entry>> {
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        let mut entries = self.shared.entries.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut *entries))
    }
}

impl Shared {
    async fn work(&self, client: u32) -> Result<()> {
        // The numbers of one seed are the next seed's, one later: so each client has a seed from them.
        let mut seeds = Seeded::new(self.seed);
        let own = (0..=client).map(|_| seeds.number()).last().unwrap_or_default();
        let mut random = Seeded::new(own);
        loop {
            let at = usize::try_from(random.below(self.actors.len() as u64))?;
            let actor = self.actors.get(at).context("an actor")?;
            if random.below(QUERIES) == 0 {
                // Unanswered, it says nothing.
                drop(self.query(actor, true).await);
                continue;
            }
            if self.given.fetch_add(1, Ordering::SeqCst) >= self.commands {
                return Ok(());
            }
            let amount = 1 + random.below(9);
            let mut entropy = [0; 10];
            entropy.iter_mut().for_each(|byte| *byte = u8::try_from(random.below(256)).unwrap_or_default());
            self.command(actor, amount, entropy).await?;
        }
    }

    async fn command(&self, actor: &EntityKey, amount: u64, entropy: [u8; 10]) -> Result<()> {
        let issued_ms = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let id = CommandId::new(issued_ms, entropy).to_string();
        let (name, body) = ("add", amount.to_string());
        let began = Instant::now();
        loop {
            let by = CommandBy::Id(id.clone());
            let ask = EntityAsk::Command { key: actor.clone(), name: name.to_owned(), by };
            let outcome = self.ask(actor, ask, (Some(id.clone()), name, &body, false)).await;
            match outcome {
                Outcome::Ok { .. } => {
                    self.acknowledged.fetch_add(1, Ordering::SeqCst);
                    return Ok(());
                }
                Outcome::Refused { code } => bail!("{actor}: {id}: {code}"),
                Outcome::Unknown { why } => {
                    ensure!(began.elapsed() < 3 * PATIENCE, "{actor}: {id} was never acknowledged: {why}");
                    // Whoever has no server answers at once.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    async fn query(&self, actor: &EntityKey, write_down: bool) -> Result<()> {
        let ask = EntityAsk::Query { key: actor.clone(), name: "balance".to_owned(), stale: false };
        if !write_down {
            let call = self.call(ask);
            ask_entity((&*self.bus, &self.subjects), None, &call, b"")
                .await
                .map_err(|report| anyhow::anyhow!("{report}"))?;
            return Ok(());
        }
        // The model's word for it.
        self.ask(actor, ask, (None, "read", "", true)).await;
        Ok(())
    }

    #[allow(clippy::indexing_slicing, reason = "no plan is without actors")]
    fn call(&self, ask: EntityAsk) -> EntityCall {
        let kind = ask.key().map(|key| key.kind.clone());
        EntityCall {
            kind: kind.unwrap_or_else(|| self.actors[0].kind.clone()),
            app: None,
            ask,
            remaining_ms: ATTEMPT_MS,
            traceparent: None,
        }
    }

    async fn ask(
        &self,
        actor: &EntityKey,
        ask: EntityAsk,
        (id, name, body, consistent): (Option<String>, &str, &str, bool),
    ) -> Outcome {
        let op = self.ops.fetch_add(1, Ordering::SeqCst);
        self.attempts.fetch_add(1, Ordering::SeqCst);
        let (actor_name, name) = (actor.to_string(), name.to_owned());
        self.write(Entry::Invoke { op, actor: actor_name, id, name, body: body.to_owned(), consistent });
        let answer = ask_entity((&*self.bus, &self.subjects), None, &self.call(ask), body.as_bytes()).await;
        let outcome = match answer {
            Ok((answer, reply)) => Outcome::Ok {
                seq: answer.seq,
                epoch: answer.epoch,
                reply: String::from_utf8_lossy(&reply).into_owned(),
            },
            // Only the actor's own word is certain: a host may have tried before it gave up.
            Err(report) if report.code == ErrorCode::Guest => Outcome::Refused { code: report.to_string() },
            Err(report) => Outcome::Unknown { why: report.to_string() },
        };
        self.write(Entry::Answer { op, outcome: outcome.clone() });
        outcome
    }

    fn write(&self, entry: Entry) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }
}
