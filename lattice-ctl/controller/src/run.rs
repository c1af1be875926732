//! The loop. It owns the world; everything reaches it as an [`Input`] on one channel, and each
//! round ends with what KV and heartbeats say being what was planned from, or with a later round.
//!
//! It decides nothing before it has listened for as long as every host that lives needs to speak once:
//! a new controller that knew one host, or none, would otherwise win decisions over those that know all.
//!
//! Tasks: *watch* one per bucket, *heartbeats*, *echo*, *probe*s, *controller* (essential). A watch never ends by
//! itself; a subscription does when the bus is closed.

use crate::aged::Aged;
use crate::config::{ControllerConfig, ControllerDeps};
use crate::ears::Ears;
use crate::events;
use crate::probe::{Probes, Word};
use crate::release;
use crate::world::{Source, World};
use crate::write::{Buckets, Written};
use lattice_ctl_planner::observed::{Applied, Observed};
use lattice_ctl_planner::{Moment, NoPolicy, Pacer, Plan, Scaling, Step, Trials, Turn};
use lattice_io::{Bus, Events, Kv, KvEvent, KvOptions, Replicas, TaskScope, WatchKeys};
use lattice_protocol::desired::{ObservedHost, Verdict};
use lattice_protocol::heartbeat::Heartbeat;
use lattice_protocol::jetstream::kv_stream;
use lattice_protocol::subject::Subjects;
use lattice_protocol::{AppName, ErrorCode, HostId, Report};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Records kept per key, so that people can look back.
const HISTORY: u8 = 8;
/// Inputs taken together before a plan: a burst is planned once.
const BATCH: usize = 1_024;

/// What the loop is told.
pub(crate) enum Input {
    /// One event of a watch.
    Watch(Source, KvEvent),
    /// One heartbeat.
    Heartbeat(Box<Heartbeat>),
    /// Nobody listens for this host any more, since this word of it.
    Vanished(HostId, Word),
}

/// Opens the lattice's buckets (making them if need be) and starts to control, in this life of the
/// lattice. The scope that is given holds all of it.
///
/// # Errors
/// What KV or the bus says.
pub(crate) async fn begin(
    config: Arc<ControllerConfig>,
    incarnation: u64,
    deps: ControllerDeps,
    (parent, held): (&TaskScope, watch::Sender<Option<Report>>),
) -> Result<TaskScope, Report> {
    let subjects = Subjects::new(config.lattice.clone());
    let scope = parent.child("life");
    let options = || KvOptions { history: HISTORY, ..KvOptions::default() };
    let open = async |bucket: String| deps.lattice.kv.open(&bucket, options()).await.map_err(Report::from);
    let desired = open(subjects.desired_bucket()).await?;
    let buckets = Buckets {
        placement: open(subjects.placement_bucket()).await?,
        specs: open(subjects.spec_bucket()).await?,
        observed: open(subjects.observed_bucket()).await?,
    };
    deps.lattice.blobs.open(&subjects.artifact_store(), Replicas::One).await.map_err(Report::from)?;
    let (sender, inbox) = mpsc::channel(BATCH);
    for (source, kv) in [
        (Source::Desired, &desired),
        (Source::Placement, &buckets.placement),
        (Source::Specs, &buckets.specs),
    ] {
        watch(&scope, source, Arc::clone(kv), sender.clone());
    }
    heartbeats(&scope, &*deps.lattice.bus, &subjects, sender.clone()).await?;
    let (events, publisher) = lattice_io::events::channel(
        config.lattice.clone(),
        config.name.clone(),
        format!("{}-{incarnation}", deps.boot_id),
        Arc::clone(&deps.clock),
    );
    scope.spawn_until_cancelled("events", publisher.run(deps.lattice.clone()));
    let (bus, clock) = (&deps.lattice.bus, &deps.clock);
    let patience_ms = config.profile.lost_after_ms;
    let mut ears = Ears::open(Arc::clone(bus), Arc::clone(clock), patience_ms, &scope);
    let decisions = kv_stream(&subjects.placement_bucket());
    let aged = Aged::new(Arc::clone(&deps.lattice.streams), decisions, held);
    let probes = Probes::new(Arc::clone(bus), subjects, scope.clone(), sender);
    let now_ms = ears.now_ms();
    let control = Loop {
        world: World::new(incarnation, Observed::new(config.profile, now_ms)),
        pacer: Pacer::new(config.pace, now_ms),
        trials: Trials::default(),
        scaling: Scaling::default(),
        verdicts: BTreeMap::new(),
        ears,
        aged,
        probes,
        events,
        buckets,
        config,
        incarnation,
        deps,
        inbox,
    };
    scope.spawn_essential("controller", move |stop| async move {
        // Cut off where it stands, it has decided something or nothing: both are in KV.
        let _ = stop.run_until_cancelled(control.run()).await;
    });
    Ok(scope)
}

fn watch(scope: &TaskScope, source: Source, kv: Arc<dyn Kv>, sender: mpsc::Sender<Input>) {
    scope.spawn_until_cancelled("watch", async move {
        let mut watch = kv.watch(WatchKeys::All);
        while let Some(event) = watch.next().await {
            if sender.send(Input::Watch(source, event)).await.is_err() {
                return;
            }
        }
    });
}

async fn heartbeats(
    scope: &TaskScope,
    bus: &dyn Bus,
    subjects: &Subjects,
    sender: mpsc::Sender<Input>,
) -> Result<(), Report> {
    let mut subscription = bus.subscribe(&subjects.heartbeats(), None).await.map_err(Report::from)?;
    scope.spawn_until_cancelled("heartbeats", async move {
        while let Some(message) = subscription.next().await {
            let Ok(heartbeat) = serde_json::from_slice::<Heartbeat>(&message.payload) else {
                tracing::warn!(subject = message.subject, "heartbeat not readable");
                continue;
            };
            // NATS lets a host publish only to its own subject: the name inside must be that one.
            if message.subject.rsplit('.').next() != Some(heartbeat.host.as_str()) {
                tracing::error!(subject = message.subject, host = %heartbeat.host, "heartbeat for another host dropped");
                continue;
            }
            if sender.send(Input::Heartbeat(Box::new(heartbeat))).await.is_err() {
                return;
            }
        }
    });
    Ok(())
}

struct Loop {
    config: Arc<ControllerConfig>,
    /// Which life of the lattice this is.
    incarnation: u64,
    deps: ControllerDeps,
    buckets: Buckets,
    inbox: mpsc::Receiver<Input>,
    world: World,
    /// How much may move, after what has moved lately.
    pacer: Pacer,
    /// What hosts with new versions have shown: seen anew after a restart, which costs one window.
    trials: Trials,
    /// What was seen of actors that scale by themselves: seen anew as well, for one cool-down.
    scaling: Scaling,
    /// What was last written about each host: verdict, and whether it said it was leaving.
    verdicts: BTreeMap<HostId, (Verdict, String)>,
    /// Time, by which hosts are judged.
    ears: Ears,
    /// Asks for hosts that are late.
    probes: Probes,
    /// Whether the store has gone back.
    aged: Aged,
    /// What happened, for the lattice's audit stream.
    events: Events,
}

impl Loop {
    async fn run(mut self) {
        let tick = self.config.tick;
        let tick_ms = u64::try_from(tick.as_millis()).unwrap_or(u64::MAX);
        let mut batch = Vec::new();
        let (mut is_news, mut looked_ms) = (true, 0);
        loop {
            // Elapsed: nothing came; time itself may have changed a verdict.
            let received = tokio::time::timeout(tick, self.inbox.recv_many(&mut batch, BATCH)).await;
            if matches!(received, Ok(0)) {
                return; // Every sender is gone: the scope is ending.
            }
            let now_ms = self.ears.now_ms();
            for input in batch.drain(..) {
                is_news |= self.apply(input, now_ms);
            }
            // What hosts say again and again is looked at once a tick, however many they are.
            let clock_ms = self.deps.clock.monotonic_ms();
            let is_time = clock_ms.saturating_sub(looked_ms) >= tick_ms;
            let is_listening = self.world.observed.is_listening(now_ms);
            if !self.world.is_complete() || !(is_time || is_news && !is_listening) {
                continue;
            }
            looked_ms = clock_ms;
            self.conclude().await;
            if is_listening {
                continue; // What came meanwhile is decided then.
            }
            is_news = false;
            if let Err(report) = self.decide().await {
                tracing::warn!(error = %report, "decision not written: trying again");
                is_news = true;
                tokio::time::sleep(tick.max(Duration::from_millis(250))).await;
            }
        }
    }

    /// Takes one input; `true` when it may change a plan at once.
    fn apply(&mut self, input: Input, now_ms: u64) -> bool {
        match input {
            Input::Vanished(host, (boot_id, seq)) => {
                tracing::info!(%host, "late host is not connected any more");
                self.world.observed.vanish(&host, &boot_id, seq);
                true
            }
            Input::Watch(source, event) => self.world.apply(source, event),
            Input::Heartbeat(heartbeat) => {
                let host = heartbeat.host.clone();
                self.aged.hear(&heartbeat, self.incarnation);
                let (applied, is_news) = self.world.hear(*heartbeat, now_ms);
                match applied {
                    Applied::Joined => tracing::info!(%host, "host joined"),
                    Applied::Rejoined => tracing::info!(%host, "host came back"),
                    Applied::Rebooted => tracing::info!(%host, "host started again"),
                    Applied::Conflict => tracing::error!(%host, "host id in use by two machines"),
                    Applied::Heard | Applied::Stale => {}
                }
                is_news
            }
        }
    }

    /// Tells people what changed about hosts.
    async fn conclude(&mut self) {
        let now_ms = self.ears.now_ms();
        self.ask_for_late(now_ms);
        let since_unix_ms = self.deps.clock.unix_ms();
        let changed: Vec<(HostId, ObservedHost)> = self
            .world
            .observed
            .views(now_ms)
            .filter(|view| {
                let seen = (view.verdict, view.heartbeat.boot_id.clone());
                self.verdicts.get(view.id) != Some(&seen)
            })
            .map(|view| {
                let reason = matches!(view.verdict, Verdict::Lost | Verdict::CutOff)
                    .then(|| self.world.observed.timeout_report(view.id).to_string());
                let heartbeat = view.heartbeat.clone();
                let record = ObservedHost { verdict: view.verdict, heartbeat, since_unix_ms, reason };
                (view.id.clone(), record)
            })
            .collect();
        for (host, record) in changed {
            if record.verdict == Verdict::Lost {
                tracing::warn!(%host, error = %self.world.observed.timeout_report(&host), "host lost");
            }
            let before = self.verdicts.get(&host).map(|(verdict, _)| *verdict);
            events::host(&self.events, &host, before, &record);
            match self.buckets.conclude(&host, &record).await {
                Ok(()) => {
                    self.verdicts.insert(host, (record.verdict, record.heartbeat.boot_id));
                }
                Err(report) => tracing::warn!(%host, error = %report, "verdict not written"),
            }
        }
    }

    fn ask_for_late(&mut self, now_ms: u64) {
        let (observed, probes) = (&self.world.observed, &mut self.probes);
        if observed.profile().ask_for_late && self.ears.hear() {
            observed.views(now_ms).for_each(|view| probes.look(&view));
        }
    }

    /// Plans, and writes what is new: decisions first, then the specs that follow from them.
    async fn decide(&mut self) -> Result<(), Report> {
        if !self.aged.may_decide(&self.events).await {
            return Ok(());
        }
        let plan = self.plan()?;
        for step in &plan.explanation {
            match step.reason() {
                Some(why) => tracing::info!(why, "{step}"),
                None => tracing::info!("{step}"),
            }
        }
        let turns: Vec<(AppName, Turn)> = plan
            .explanation
            .iter()
            .filter_map(|step| {
                if let Step::Rollout { app, what } = step { Some((app.clone(), what.clone())) } else { None }
            })
            .collect();
        let now_ms = self.ears.now_ms();
        self.pacer.spend(&plan.moved, now_ms);
        if plan.moved.failovers > 0 {
            tracing::info!("Total failovers: {}", self.pacer.failovers());
        }
        for placement in plan.changed.into_values() {
            let before =
                self.world.known.placements().get(&placement.app).map(|have| Arc::clone(&have.value));
            let decision = placement.clone();
            if matches!(self.buckets.place(&mut self.world.known, placement).await?, Written::At(_)) {
                let observed = &self.world.observed;
                let is_lost = |host: &HostId| observed.judge(host, now_ms) == Verdict::Lost;
                events::placed(&self.events, before.as_deref(), &decision, is_lost);
                let of_app = turns.iter().filter(|(app, _)| *app == decision.app);
                of_app.for_each(|(app, turn)| events::turned(&self.events, app, turn));
            }
        }
        for app in plan.removed {
            if matches!(self.buckets.unplace(&mut self.world.known, &app).await?, Written::At(_)) {
                self.events.emit("app.removed", Some(app.to_string()), json!({}));
            }
        }
        for host in self.world.known.due() {
            let spec = self.world.known.due_spec(&host, &self.config.lattice, self.incarnation);
            let Some(spec) = spec else { continue };
            let World { known, observed, .. } = &self.world;
            if release::is_early(known, observed, &spec, now_ms) {
                continue; // It is due until it is told: it comes again with the next look.
            }
            let (host, generation) = (spec.host.to_string(), spec.generation);
            if matches!(self.buckets.tell(&mut self.world.known, &self.config, spec).await?, Written::At(_)) {
                tracing::info!(host, %generation, "host told");
            }
        }
        Ok(())
    }

    fn plan(&mut self) -> Result<Plan, Report> {
        let now_ms = self.ears.now_ms();
        let allowance = self.pacer.allowance(now_ms);
        let World { known, observed, .. } = &mut self.world;
        self.scaling.observe(known.scaling(), observed, now_ms);
        self.trials.observe(known.rolling(), observed, now_ms);
        let moment = Moment {
            observed,
            now_ms,
            allowance,
            trials: &self.trials,
            scaling: &self.scaling,
            policy: &NoPolicy,
        };
        let plan = known.plan(&moment);
        match known.check(&moment, &plan).first() {
            None => Ok(plan),
            Some(first) => {
                known.begin_anew();
                Err(Report::new(ErrorCode::Internal, format!("plan refused by its check: {first}")))
            }
        }
    }
}
