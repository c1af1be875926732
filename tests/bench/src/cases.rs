//! The cases, by the names of the command line. Each gives one row: what it measured, against
//! what, with which goal; how is said in the file that measures it.

mod actors;
mod calls;
mod failover;
mod hosts;
mod http;
mod journal;
mod latency;
mod losses;
mod many;
mod messages;
mod orders;
mod overload;
mod plans;
mod redis;
mod remote;
mod typed;

use crate::report::Row;
use anyhow::Result;
use clap::ValueEnum;
use plans::{Size, What};
use std::path::PathBuf;
use tests_lattice::fleet::Loss;

/// How much to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Runs; the median counts.
    pub runs: u32,
    /// Seconds of HTTP load in one run.
    pub seconds: u32,
    /// Beside others too.
    pub compare: bool,
    /// The program to measure.
    pub trellis: PathBuf,
    /// That of a gateway, which compiles nothing.
    pub gateway: Option<PathBuf>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Case {
    /// HTTP hello, WASI 0.2, a new instance per request
    HttpHelloFresh,
    /// HTTP hello, WASI 0.2, warm instances
    HttpHelloWarm,
    /// HTTP hello, WASI 0.3, warm instances
    HttpHelloP3Warm,
    /// A 10 KB order as JSON, stored, read back and announced, a new instance per request
    JsonOrder,
    /// The same, warm instances
    JsonOrderWarm,
    /// Three times as much as a host can do: what is served, beside its peak
    HttpOverload,
    /// The same: the latency of what is served, 99th percentile, beside little load
    #[value(name = "http-overload-p99")]
    HttpOverloadP99,
    /// The same: refusals that say when to come back
    #[value(name = "http-overload-503")]
    HttpOverload503,
    /// The same: the most resident memory of the host, beside its peak's
    HttpOverloadMemory,
    /// What a host adds to the latency of one request when 1 000 come in a second
    HttpLatency,
    /// One actor calls another on the same host, by a WIT interface: a small record, warm
    TypedCallWarm,
    /// The same, a new instance for each call
    TypedCallFresh,
    /// The same, warm, a text back
    TypedCallText,
    /// The same, warm, 64 KiB one way, beside one copy of them
    TypedBytes,
    /// The same by a signature that the host does not know: as generic values
    TypedValues,
    /// A guest reads a key of the embedded store through a link
    KeyvalueGet,
    /// One actor calls another on another host, through a nats-server
    NatsRemoteCall,
    /// A guest reads a key of a store in a process of its own, through a nats-server
    KeyvalueGetProcess,
    /// Guests read a key of a Redis server through links, 64 at once
    KeyvalueRedis,
    /// Messages from NATS to an actor and its answers back, 64 at once
    MessagingEcho,
    /// A call that makes its instance: store, instance, call, drop
    InstantiateFresh,
    /// From a signed file, compiled before, to the first answer
    SignedStart,
    /// From the start of the host's process to its first answer, everything cached
    HostStart,
    /// Resident memory of an idle host with ten actors
    HostIdleMemory,
    /// The same of a gateway's program, which compiles nothing
    GatewayIdleMemory,
    /// What an idle actor adds to its host's resident memory
    ActorIdleMemory,
    /// 1 000 actors of one host, asked in turn
    ManyActors,
    /// The start of the last of 1 000 actors beside the first, compiled before
    ManyActorsStart,
    /// The program's size
    ProgramSize,
    /// The size of a gateway's, which compiles nothing
    GatewaySize,
    /// The local journal, records of one 200-byte event
    #[value(name = "journal-append-1")]
    JournalAppend1,
    /// The local journal, records of 32 200-byte events
    #[value(name = "journal-append-32")]
    JournalAppend32,
    /// Bytes written to the disk for each byte of an event, records of 32
    JournalBytes,
    /// A plan from nothing, 1 000 hosts and 100 000 actors
    PlanFromNothing,
    /// A plan when one of 1 000 hosts is lost
    PlanHostLost,
    /// A plan from nothing, 10 000 hosts and 1 000 000 actors
    PlanFromNothingHuge,
    /// A plan when one of 10 000 hosts is lost
    PlanHostLostHuge,
    /// Heartbeats of 10 000 hosts with 100 actors each
    PlanHeartbeats,
    /// Memory of a planner of 10 000 hosts and 1 000 000 actors
    PlanMemory,
    /// Durable commands, durability device, 1 000 actors in a closed loop
    DurableCommands,
    /// One durable command, one actor, one client
    DurableLatency,
    /// Commands of durability lattice, 1 000 actors in a closed loop, sync_interval always
    LatticeCommands,
    /// The same with three copies on three servers
    LatticeCommandsThree,
    /// One turn in memory: decide and apply
    ActorTurn,
    /// An actor of 100 000 events answers again, with a snapshot
    RecoverySnapshot,
    /// An actor of 100 000 events answers again, without a snapshot
    RecoveryFull,
    /// 10 000 actors of a lost host answer again, from the detection
    RecoveryHost,
    /// From the detection of a host's death to a command, median over shards
    #[value(name = "takeover-p50")]
    TakeoverP50,
    /// The same, 99th percentile
    #[value(name = "takeover-p99")]
    TakeoverP99,
    /// Longest wait of a command while its actor moves, median over moves
    #[value(name = "migration-p50")]
    MigrationP50,
    /// The same, 99th percentile
    #[value(name = "migration-p99")]
    MigrationP99,
    /// Resident memory of 100 000 idle actors of 1 KiB
    ActorDensity,
    /// Resident memory of 100 000 actors that have left memory
    ActorPassivated,
    /// A host is killed: until what only it served is served again
    FailoverKill,
    /// A host's packets are dropped, silently: the same (takes root)
    FailoverSilent,
    /// Hosts leave under load: requests that fail
    Drain,
}

impl Case {
    /// All, in the order of the table.
    pub fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    /// As it is named on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Measures it.
    pub async fn run(self, plan: &Plan) -> Result<Row> {
        match self {
            Self::HttpHelloFresh | Self::HttpHelloWarm | Self::HttpHelloP3Warm => http::run(self, plan).await,
            Self::JsonOrder => orders::run(plan, false).await,
            Self::JsonOrderWarm => orders::run(plan, true).await,
            Self::HttpOverload => overload::run(plan, overload::What::Goodput).await,
            Self::HttpOverloadP99 => overload::run(plan, overload::What::Latency).await,
            Self::HttpOverload503 => overload::run(plan, overload::What::Refusals).await,
            Self::HttpOverloadMemory => overload::run(plan, overload::What::Memory).await,
            Self::HttpLatency => latency::run(plan).await,
            Self::TypedCallWarm
            | Self::TypedCallFresh
            | Self::TypedCallText
            | Self::TypedBytes
            | Self::TypedValues => typed::run(self, plan).await,
            Self::KeyvalueGet => calls::keyvalue_get(plan).await,
            Self::NatsRemoteCall => remote::run(plan).await,
            Self::KeyvalueGetProcess => remote::keyvalue_process(plan).await,
            Self::KeyvalueRedis => redis::run(plan).await,
            Self::MessagingEcho => messages::run(plan).await,
            Self::InstantiateFresh => calls::instantiate(plan).await,
            Self::SignedStart => calls::signed_start(plan).await,
            Self::HostStart => hosts::start(plan).await,
            Self::HostIdleMemory => hosts::idle_memory(plan).await,
            Self::GatewayIdleMemory => hosts::gateway_idle_memory(plan).await,
            Self::ActorIdleMemory => hosts::idle_actor(plan).await,
            Self::ManyActors => many::asked(plan).await,
            Self::ManyActorsStart => many::started(plan).await,
            Self::ProgramSize => hosts::program_size(plan),
            Self::GatewaySize => hosts::gateway_size(plan),
            Self::JournalAppend1 => journal::append(plan, "journal-append-1", 1),
            Self::JournalAppend32 => journal::append(plan, "journal-append-32", 32),
            Self::JournalBytes => journal::bytes_written(plan),
            Self::PlanFromNothing => plans::run("plan-from-nothing", Size::Large, What::FromNothing),
            Self::PlanHostLost => plans::run("plan-host-lost", Size::Large, What::HostLost),
            Self::PlanFromNothingHuge => plans::run("plan-from-nothing-huge", Size::Huge, What::FromNothing),
            Self::PlanHostLostHuge => plans::run("plan-host-lost-huge", Size::Huge, What::HostLost),
            Self::PlanHeartbeats => plans::run("plan-heartbeats", Size::Huge, What::Heartbeats),
            Self::PlanMemory => plans::run("plan-memory", Size::Huge, What::Memory),
            Self::DurableCommands => actors::durable(plan).await,
            Self::DurableLatency => actors::latency(plan).await,
            Self::LatticeCommands => actors::lattice(plan, 1).await,
            Self::LatticeCommandsThree => actors::lattice(plan, 3).await,
            Self::ActorTurn => actors::turn(plan).await,
            Self::RecoverySnapshot => actors::recovery(plan, true).await,
            Self::RecoveryFull => actors::recovery(plan, false).await,
            Self::RecoveryHost => failover::recovery(plan).await,
            Self::TakeoverP50 => failover::takeover(plan, 50).await,
            Self::TakeoverP99 => failover::takeover(plan, 99).await,
            Self::MigrationP50 => failover::migration(plan, 50).await,
            Self::MigrationP99 => failover::migration(plan, 99).await,
            Self::ActorDensity => actors::density().await,
            Self::ActorPassivated => actors::passivated().await,
            Self::FailoverKill => losses::run(plan, Loss::Killed).await,
            Self::FailoverSilent => losses::run(plan, Loss::Silent).await,
            Self::Drain => losses::drain(plan).await,
        }
    }
}
