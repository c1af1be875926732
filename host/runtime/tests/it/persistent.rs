//! Live states of persistent actors: what they may reach, what ends them, and whom that touches.

use crate::support::fakes::Broker;
use crate::support::{RUNTIME, guest, id, link, signed, wiring};
use bytes::Bytes;
use host_core::guest::{Guest, GuestFault, GuestKind, Opening, Saved, Turn, Verdict};
use host_runtime::{KindOptions, PersistentKind, Runtime, RuntimeConfig};
use lattice_journal::{Command, CommandId, CommandRef, Effect, Event};
use lattice_protocol::{ErrorCode, Limits, Report};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

fn options() -> KindOptions {
    KindOptions {
        id: id("account"),
        lattice: "test".parse().unwrap(),
        host: "NTEST".parse().unwrap(),
        limits: Limits { memory_bytes: 16 << 20, ..Limits::default() },
        turn_ms: 500,
        states: 8,
        config: BTreeMap::from([("colour".to_owned(), "green".to_owned())]),
    }
}

async fn kind_with(options: KindOptions) -> Arc<PersistentKind> {
    let wiring = wiring("account", []);
    PersistentKind::start(&RUNTIME, guest("fixture-account").await, options, wiring).await.unwrap()
}

async fn kind() -> Arc<PersistentKind> {
    kind_with(options()).await
}

/// Waits for what a callback gets.
async fn told<T: Send + 'static>(ask: impl FnOnce(host_core::guest::Done<T>)) -> Result<T, GuestFault> {
    let (sender, receiver) = oneshot::channel();
    ask(Box::new(move |answer| drop(sender.send(answer))));
    receiver.await.unwrap()
}

async fn open_with(
    kind: &PersistentKind,
    name: &str,
    snapshot: Option<Saved>,
    alone: bool,
) -> Result<Arc<dyn Guest>, GuestFault> {
    let opening = Opening { key: format!("account/{name}").parse().unwrap(), snapshot, alone };
    told(|done| kind.open(opening, done)).await
}

async fn open(kind: &PersistentKind, name: &str) -> Arc<dyn Guest> {
    open_with(kind, name, None, false).await.unwrap()
}

async fn decide(guest: &dyn Guest, name: &str, body: &str) -> Result<Verdict, GuestFault> {
    let command = Command {
        reference: CommandRef::Id(CommandId::new(1, [0; 10])),
        name: name.to_owned(),
        body: Bytes::copy_from_slice(body.as_bytes()),
    };
    let turn = Turn {
        now_ms: 1_800_000_000_000,
        seq: 7,
        seed: 42,
        command_id: "c-1".to_owned(),
        sender: Some("meter/m-1".parse().unwrap()),
    };
    told(|done| guest.decide(turn, command.into(), done)).await
}

async fn reply(guest: &dyn Guest, name: &str, body: &str) -> String {
    match decide(guest, name, body).await {
        Ok(Verdict::Decided(decision)) => String::from_utf8(decision.reply.to_vec()).unwrap(),
        other => panic!("{name}: {other:?}"),
    }
}

async fn ask(guest: &dyn Guest, name: &str) -> Result<Result<Bytes, Report>, GuestFault> {
    told(|done| guest.query(5, (name.to_owned(), Bytes::new()), done)).await
}

async fn query(guest: &dyn Guest, name: &str) -> String {
    String::from_utf8(ask(guest, name).await.unwrap().unwrap().to_vec()).unwrap()
}

async fn save(guest: &dyn Guest) -> Saved {
    told(|done| guest.save(done)).await.unwrap()
}

fn event(name: &str, version: u32, payload: impl Into<Vec<u8>>) -> Event {
    Event { name: name.into(), version, payload: Bytes::from(payload.into()) }
}

fn trapped(fault: GuestFault) -> Report {
    match fault {
        GuestFault::Trapped(report) => report,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_state_decides_applies_answers_and_saves() {
    let kind = kind().await;
    let one = open(&kind, "a-1").await;
    assert_eq!(reply(&*one, "add", "5").await, "5");
    assert_eq!(reply(&*one, "add", "7").await, "12");
    assert_eq!(query(&*one, "balance").await, "12");
    assert_eq!(reply(&*one, "where", "").await, "7 c-1 meter/m-1");
    let Ok(Verdict::Refused(no)) = decide(&*one, "withdraw", "13").await else { panic!("refused") };
    assert_eq!((no.code, no.got.as_deref()), (ErrorCode::Guest, Some("insufficient")));
    assert_eq!(no.what, "a-1: 13 is more than 12");
    let saved = save(&*one).await;
    let two = open_with(&kind, "a-1", Some(saved.clone()), false).await.unwrap();
    assert_eq!(save(&*two).await, saved, "a loaded state saves the same bytes");
    let folded = open(&kind, "a-1").await;
    let history = vec![event("added", 1, 5i64.to_le_bytes()), event("added", 2, "7")];
    told(|done| folded.fold(history, done)).await.unwrap();
    assert_eq!(save(&*folded).await, saved, "so does one that was folded from old and new events");
    assert_eq!(kind.stats().states, 3);
    assert_eq!(kind.stats().instances, 1, "they share an instance");
}

#[tokio::test]
async fn every_effect_comes_out_as_the_journal_knows_it() {
    let kind = kind().await;
    let one = open(&kind, "a-1").await;
    for (name, body, expected) in [
        ("send", "account/a-2 add 5", "Send"),
        ("publish", "out edge.level 5", "Publish"),
        ("call", "calc example:calc/sums.add sum [1]", "Call"),
        ("later", "alarm 1000 add 1", "TimerSet"),
        ("cancel", "alarm", "TimerCancel"),
        ("snapshot", "", "SnapshotNow"),
        ("passivate", "", "Passivate"),
        ("stop", "", "Stop"),
    ] {
        let Ok(Verdict::Decided(decision)) = decide(&*one, name, body).await else { panic!("{name}") };
        let shown = format!("{:?}", decision.effects);
        assert!(shown.starts_with(&format!("[{expected}")), "{name}: {shown}");
        if let [Effect::TimerSet { due_ms, .. }] = &decision.effects[..] {
            assert_eq!(*due_ms, 1_800_000_001_000, "after the turn's own time");
        }
    }
    let Ok(Verdict::Refused(no)) = decide(&*one, "send", "nobody add 5").await else { panic!("refused") };
    assert_eq!(no.code, ErrorCode::Name);
}

#[tokio::test]
async fn while_folding_time_stands_still_dice_repeat_and_nothing_else_answers() {
    let kind = kind().await;
    let (one, two) = (open(&kind, "a-1").await, open_with(&kind, "a-1", None, true).await.unwrap());
    for state in [&one, &two] {
        told(|done| state.fold(vec![event("clock", 1, "")], done)).await.unwrap();
    }
    let seen = query(&*one, "seen").await;
    assert!(seen.starts_with("0 "), "{seen}");
    assert_eq!(seen, query(&*two, "seen").await, "in whatever instance");
    let clock = reply(&*one, "clock", "").await;
    assert!(clock.starts_with("1800000000000 42 1800000000000 "), "deciding sees the turn's time: {clock}");
    assert_eq!(clock, reply(&*two, "clock", "").await);
    for (event_name, interface) in
        [("log", "wasi:logging/logging"), ("config", "wasi:config"), ("kv", "wasi:keyvalue/store")]
    {
        let state = open(&kind, "a-3").await;
        let fault = told(|done| state.fold(vec![event(event_name, 1, "colour")], done)).await.unwrap_err();
        let report = trapped(fault);
        assert_eq!(report.code, ErrorCode::CapabilityDenied);
        assert!(report.what.contains(interface) && report.what.ends_with("while folding"), "{report}");
    }
}

#[tokio::test]
async fn while_deciding_it_may_log_and_read_its_configuration_and_reach_nothing() {
    let kind = kind().await;
    let one = open(&kind, "a-1").await;
    assert_eq!(reply(&*one, "config", "colour").await, "Ok(Some(\"green\"))");
    assert_eq!(reply(&*one, "log", "hello").await, "");
    let report = trapped(decide(&*one, "kv", "").await.unwrap_err());
    assert_eq!(report.code, ErrorCode::CapabilityDenied);
    assert_eq!(report.what, "capability denied: wasi:keyvalue/store@0.2.0-draft while deciding");
}

#[tokio::test]
async fn a_trap_ends_the_instance_and_every_state_in_it_is_gone() {
    let kind = kind().await;
    let (bad, other) = (open(&kind, "a-1").await, open(&kind, "a-2").await);
    let alone = open_with(&kind, "a-3", None, true).await.unwrap();
    for command in ["trap", "trap-fold"] {
        let state = open_with(&kind, "a-4", None, true).await.unwrap();
        assert_eq!(trapped(decide(&*state, command, "").await.unwrap_err()).code, ErrorCode::Trap);
    }
    assert_eq!(trapped(decide(&*bad, "trap", "").await.unwrap_err()).code, ErrorCode::Trap);
    assert_eq!(decide(&*other, "add", "1").await.unwrap_err(), GuestFault::Gone);
    assert_eq!(decide(&*bad, "add", "1").await.unwrap_err(), GuestFault::Gone);
    assert_eq!(reply(&*alone, "add", "1").await, "1", "who is alone feels nothing");
    let again = open(&kind, "a-2").await;
    assert_eq!(reply(&*again, "add", "1").await, "1", "another instance");
    assert_eq!(kind.stats().traps, 3);
}

#[tokio::test]
async fn what_does_not_end_is_ended_at_its_time() {
    let kind = kind_with(KindOptions { turn_ms: 50, ..options() }).await;
    for command in ["loop", "loop-fold"] {
        let state = open(&kind, "a-1").await;
        let report = trapped(decide(&*state, command, "").await.unwrap_err());
        assert_eq!(report.code, ErrorCode::Timeout, "{command}: {report}");
    }
    let state = open(&kind, "a-1").await;
    assert_eq!(trapped(ask(&*state, "loop").await.unwrap_err()).code, ErrorCode::Timeout);
    let state = open(&kind, "a-1").await;
    let report = trapped(decide(&*state, "grow", "").await.unwrap_err());
    assert_eq!(report.code, ErrorCode::Memory, "{report}");
}

#[tokio::test]
async fn an_event_that_is_refused_costs_its_own_state_only() {
    let kind = kind().await;
    let (bad, other) = (open(&kind, "a-1").await, open(&kind, "a-2").await);
    let report = trapped(decide(&*bad, "refuse-fold", "").await.unwrap_err());
    assert_eq!(report.got.as_deref(), Some("event strange of version 1 is not mine"));
    assert_eq!(decide(&*bad, "add", "1").await.unwrap_err(), GuestFault::Gone);
    assert_eq!(reply(&*other, "add", "1").await, "1");
    let old = Saved { version: 9, state: Bytes::new() };
    let refused = open_with(&kind, "a-3", Some(old), false).await.map(drop).unwrap_err();
    assert_eq!(trapped(refused).code, ErrorCode::Version);
    assert_eq!(reply(&*other, "add", "1").await, "2");
}

#[tokio::test]
async fn what_does_not_fit_together_is_spread_over_more_instances() {
    let kind = kind_with(KindOptions { states: 64, ..options() }).await;
    let mut states = Vec::new();
    // Six times 5 MB fit into no 16 MiB; each that fails is opened and folded again, as a host does.
    for n in 0..6 {
        loop {
            let state = open(&kind, &format!("a-{n}")).await;
            if told(|done| state.fold(vec![event("filled", 1, "5000000")], done)).await.is_ok() {
                states.push(state);
                break;
            }
        }
    }
    assert!(kind.stats().instances > 1, "{:?}", kind.stats());
}

#[tokio::test]
async fn instances_that_nobody_is_in_go_and_then_the_code_and_both_come_again() {
    let (claims, file) =
        signed(&std::fs::read(tests_harness::fixtures::guest("fixture-account").unwrap()).unwrap());
    let config = RuntimeConfig { start_ms: 20_000, unload_ms: 1, ..RuntimeConfig::default() };
    let (runtime, again) = (Runtime::new(config).unwrap(), file.clone());
    let component = runtime.load_from(claims, file, Some(Arc::new(move || Ok(again.clone())))).await.unwrap();
    let started = PersistentKind::start(&runtime, Arc::clone(&component), options(), wiring("account", []));
    let kind = started.await.unwrap();
    let mut states = Vec::new();
    for n in 0..20 {
        let state = open(&kind, &format!("a-{n}")).await;
        assert_eq!(reply(&*state, "add", "5").await, "5");
        states.push(state);
    }
    assert_eq!(kind.stats().instances, 3, "eight states in each");
    // The first eight leave: their instance goes, at one of the ticker's looks.
    let saved = save(&*states.remove(0)).await;
    drop(states.drain(..7));
    until(|| kind.stats().instances == 2).await;
    assert_eq!(query(&*states.remove(0), "balance").await, "5");
    assert!(component.is_loaded(), "somebody is there");
    drop(states);
    until(|| kind.stats().instances == 0 && !component.is_loaded()).await;
    let state = open_with(&kind, "a-0", Some(saved), false).await.unwrap();
    assert_eq!(reply(&*state, "add", "5").await, "10");
    assert!(component.is_loaded());
}

/// Waits for what a look of the ticker, twice a second, leads to.
async fn until(there: impl Fn() -> bool) {
    for _ in 0..1_200 {
        if there() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it does not come");
}

#[tokio::test]
async fn effects_go_out_through_links_with_their_key() {
    let kind = kind().await;
    let denied = kind
        .publish("out", ("edge.level", Bytes::from_static(b"5")), "k-1", Duration::from_secs(5))
        .await
        .unwrap_err();
    assert_eq!(denied.code, ErrorCode::CapabilityDenied);
    let broker = Broker::shared();
    kind.set_wiring(wiring(
        "account",
        [link("account", "wasmcloud:messaging", broker.target()).named("out")],
    ));
    kind.publish("out", ("edge.level", Bytes::from_static(b"5")), "k-1", Duration::from_secs(5))
        .await
        .unwrap();
    assert_eq!(broker.published(), ["edge.level 5"]);
    for (function, code) in [
        ("nonsense", ErrorCode::Name),
        ("example:calc/sums.", ErrorCode::Name),
        ("example:calc/sums.add", ErrorCode::CapabilityDenied),
    ] {
        let call = kind.call("out", (function, Bytes::from_static(b"[1]")), "k-2", Duration::from_secs(5));
        assert_eq!(call.await.unwrap_err().code, code, "{function}");
    }
}

#[tokio::test]
async fn a_component_that_is_no_persistent_actor_is_refused() {
    let started =
        PersistentKind::start(&RUNTIME, guest("http-hello").await, options(), wiring("account", [])).await;
    assert_eq!(started.map(drop).unwrap_err().code, ErrorCode::NoHandler);
}
