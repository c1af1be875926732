//! Persistent actors on real processes: what is acknowledged survives SIGKILL, each command is carried
//! out once, and people can look into it all.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};
use tests_harness::{eventually, fixtures};
use tests_lattice::{PATIENCE, TestLattice};

pub(crate) const BANK: &str = r#"
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: bank }
spec:
  actors:
    - name: account
      artifact: account.wasm
      persistent: { snapshots: { events: 20 }, turnMs: 500 }
"#;

/// A lattice of one host that runs accounts.
async fn bank() -> Result<TestLattice> {
    bank_of(1, BANK).await
}

pub(crate) async fn bank_of(hosts: u8, manifest: &str) -> Result<TestLattice> {
    bank_at(TestLattice::start(hosts).await?, manifest)
}

fn bank_at(lattice: TestLattice, manifest: &str) -> Result<TestLattice> {
    lattice.deploy_accounts(manifest)?;
    Ok(lattice)
}

fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

/// The n-th id of a sender: a `UUIDv7` issued now.
pub(crate) fn id(sender: u64, n: u64) -> String {
    id_of(now_ms(), sender, n)
}

fn id_of(issued_ms: u128, sender: u64, n: u64) -> String {
    let time = format!("{issued_ms:012x}");
    format!("{}-{}-7{:03x}-8{:03x}-{n:012x}", &time[..8], &time[8..], sender & 0xfff, sender >> 12 & 0xfff)
}

/// The same one each time: issued when this process first asked for one.
pub(crate) fn id_at(sender: u64, n: u64) -> String {
    static BEGAN: LazyLock<u128> = LazyLock::new(now_ms);
    id_of(*BEGAN, sender, n)
}

pub(crate) fn call(
    lattice: &TestLattice,
    actor: &str,
    command: &str,
    data: &str,
    id: &str,
) -> Result<String> {
    let args = ["call", actor, command, "--data", data, "--id", id, "--timeout", "10000"];
    lattice.trellis(&args).map(|text| text.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_command_survives_a_killed_host_and_a_repetition_gets_the_first_answer() -> Result<()>
{
    let mut lattice = bank().await?;
    assert_eq!(lattice.trellis(&["call", "account/a-1", "add", "--data", "5"])?.trim(), "5");
    let second = id(1, 2);
    assert_eq!(call(&lattice, "bank/account/a-1", "add", "7", &second)?, "12");
    lattice.hosts[0].kill()?;
    lattice.hosts[0] = lattice.spawn_host(1).await?;
    eventually(PATIENCE, "the actor answers again", || async {
        ensure!(call(&lattice, "account/a-1", "add", "7", &second)? == "12");
        Ok(())
    })
    .await?;
    assert_eq!(lattice.trellis(&["query", "account/a-1", "balance"])?.trim(), "12");
    let journal = lattice.json(&["actor", "journal", "account/a-1"])?;
    assert_eq!(journal.as_array().map(Vec::len), Some(2), "{journal}");
    assert_eq!(journal[1]["command"], second.as_str());
    let before = lattice.json(&["actor", "history", "account/a-1", "--at", "1"])?;
    assert_eq!((&before["seq"], before["state"] == journal[0]["state"]), (&Value::from(1), false));
    lattice.trellis(&["actor", "verify", "account/a-1"])?;
    let listed = lattice.json(&["actor", "list"])?;
    assert_eq!(listed[0]["key"], "account/a-1");
    let refused = call(&lattice, "account/a-1", "withdraw", "13", &id(1, 3)).unwrap_err().to_string();
    assert!(refused.contains("E_GUEST") && refused.contains("insufficient"), "{refused}");
    let unknown = call(&lattice, "meter/m-1", "add", "1", &id(1, 4)).unwrap_err().to_string();
    assert!(unknown.contains("no host runs actors of kind meter"), "{unknown}");
    let other = call(&lattice, "shop/account/a-1", "add", "1", &id(1, 5)).unwrap_err().to_string();
    assert!(other.contains("kind account is not of shop"), "{other}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisonous_command_is_set_aside_seen_and_forgotten_and_the_actor_lives_on() -> Result<()> {
    let lattice = bank().await?;
    assert_eq!(call(&lattice, "account/a-1", "add", "5", &id(2, 1))?, "5");
    let poison = id(2, 2);
    for _ in 0..3 {
        let trapped = call(&lattice, "account/a-1", "trap", "boom", &poison).unwrap_err().to_string();
        ensure!(trapped.contains("E_TRAP"), "{trapped}");
    }
    let refused = call(&lattice, "account/a-1", "trap", "boom", &poison).unwrap_err().to_string();
    ensure!(refused.contains("E_QUARANTINED"), "{refused}");
    let slow = call(&lattice, "account/a-2", "loop", "", &id(2, 3)).unwrap_err().to_string();
    ensure!(slow.contains("turn took too long"), "{slow}");
    assert_eq!(call(&lattice, "account/a-1", "add", "5", &id(2, 4))?, "10");
    let aside = eventually(PATIENCE, "it is set aside", || async {
        let aside = lattice.json(&["actor", "quarantine", "account"])?;
        ensure!(aside.as_array().is_some_and(|all| all.len() == 1), "{aside}");
        Ok(aside)
    })
    .await?;
    assert_eq!((&aside[0]["why"], &aside[0]["name"]), (&"trapped".into(), &"trap".into()));
    let name = aside[0]["id"].as_str().context("an id")?;
    let again = lattice.trellis(&["actor", "replay", "account", name]).unwrap_err().to_string();
    ensure!(again.contains("E_TRAP"), "it is the same component still: {again}");
    lattice.trellis(&["actor", "discard", "account", name])?;
    ensure!(lattice.trellis(&["actor", "discard", "account", name]).is_err());
    Ok(())
}

pub(crate) const LATTICE_BANK: &str = r#"
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: bank }
spec:
  actors:
    - name: account
      artifact: account.wasm
      replicas: 2
      persistent: { durability: lattice }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn when_a_host_dies_the_next_command_is_answered_by_another_and_nothing_is_lost() -> Result<()> {
    let mut lattice = bank_of(2, LATTICE_BANK).await?;
    let actors: Vec<String> = (0..8).map(|n| format!("account/a-{n}")).collect();
    for (n, actor) in (0..).zip(&actors) {
        eventually(PATIENCE, "its shard has an owner", || async {
            let balance = call(&lattice, actor, "add", "5", &id_at(30, n))?;
            ensure!(balance == "5", "{balance}");
            Ok(())
        })
        .await?;
    }
    let listed = lattice.json(&["actor", "list", "account"])?;
    let lines = listed.as_array().into_iter().flatten();
    let keys: Vec<_> = lines.filter_map(|line| line["key"].as_str()).collect();
    ensure!(keys == actors, "all of them, whichever host is asked and whoever owns them: {listed}");
    lattice.hosts[0].kill()?;
    for (n, actor) in (0..).zip(&actors) {
        eventually(PATIENCE, "the other host answers", || async {
            let again = call(&lattice, actor, "add", "5", &id_at(30, n))?;
            ensure!(again == "5", "{actor}: the first answer, not {again}");
            let next = call(&lattice, actor, "add", "2", &id_at(31, n))?;
            ensure!(next == "7", "{actor}: {next}");
            Ok(())
        })
        .await?;
        lattice.trellis(&["actor", "verify", actor])?;
        let journal = lattice.json(&["actor", "journal", actor])?;
        ensure!(journal.as_array().is_some_and(|commits| commits.len() == 2), "{actor}: {journal}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_actor_is_gone_on_every_host_and_no_kill_brings_it_back() -> Result<()> {
    let mut lattice = bank_of(2, LATTICE_BANK).await?;
    let (actor, other) = ("account/secret", "account/other");
    for (sender, actor) in [(60, actor), (61, other)] {
        eventually(PATIENCE, "its shard has an owner", || async {
            ensure!(call(&lattice, actor, "add", "5", &id_at(sender, 1))? == "5");
            Ok(())
        })
        .await?;
    }
    let unasked = lattice.trellis(&["actor", "delete", actor]).unwrap_err().to_string();
    ensure!(unasked.contains("E_USAGE") && unasked.contains("--yes"), "{unasked}");
    let nobody = lattice.trellis(&["actor", "delete", "account/nobody", "--yes"]).unwrap_err().to_string();
    ensure!(nobody.contains("E_ACTOR_NOT_FOUND"), "{nobody}");
    ensure!(call(&lattice, actor, "add", "1", &id_at(60, 2))? == "6", "nothing was deleted");
    let deleted = lattice.json(&["actor", "delete", "bank/account/secret", "--yes"])?;
    ensure!(deleted["seq"] == 3 && deleted["repeated"] == false, "{deleted}");
    let is_gone = |lattice: &TestLattice| {
        let asked: [&[&str]; 7] = [
            &["query", actor, "balance"],
            &["query", actor, "balance", "--stale"],
            &["actor", "state", actor],
            &["actor", "journal", actor],
            &["actor", "history", actor, "--at", "1"],
            &["actor", "verify", actor],
            &["call", actor, "add", "--data", "1"],
        ];
        for args in asked {
            let refused = lattice.trellis(args).err().with_context(|| format!("{args:?} is answered"))?;
            ensure!(
                refused.to_string().contains("account/secret: the actor was deleted"),
                "{args:?}: {refused}"
            );
        }
        // What was acknowledged once is not acknowledged again.
        let old = call(lattice, actor, "add", "5", &id_at(60, 1)).err().context("an old id")?.to_string();
        ensure!(old.contains("E_ACTOR_NOT_FOUND"), "{old}");
        let listed = lattice.json(&["actor", "list", "account"])?;
        let keys: Vec<_> = listed.as_array().into_iter().flatten().map(|line| line["key"].clone()).collect();
        ensure!(keys == [other], "{listed}");
        Ok(())
    };
    is_gone(&lattice)?;
    for dead in 0..2_usize {
        lattice.hosts[dead].kill()?;
        eventually(PATIENCE, "another host answers for everybody else", || async {
            ensure!(call(&lattice, other, "add", "5", &id_at(61, 1))? == "5");
            is_gone(&lattice)
        })
        .await?;
        lattice.hosts[dead] = lattice.spawn_host(u8::try_from(dead)? + 1).await?;
        eventually(PATIENCE, "the host is back", || async {
            ensure!(call(&lattice, other, "add", "5", &id_at(61, 1))? == "5");
            Ok(())
        })
        .await?;
    }
    is_gone(&lattice)?;
    let again = lattice.json(&["actor", "delete", actor, "--yes"])?;
    ensure!(again["seq"] == 3 && again["repeated"] == true, "{again}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_actor_of_a_device_stays_deleted_after_a_kill() -> Result<()> {
    let mut lattice = bank().await?;
    call(&lattice, "account/secret", "add", "5", &id_at(62, 1))?;
    call(&lattice, "account/other", "add", "7", &id_at(62, 2))?;
    lattice.trellis(&["actor", "delete", "account/secret", "--yes"])?;
    lattice.hosts[0].kill()?;
    lattice.hosts[0] = lattice.spawn_host(1).await?;
    eventually(PATIENCE, "the other one answers again", || async {
        ensure!(lattice.trellis(&["query", "account/other", "balance"])?.trim() == "7");
        Ok(())
    })
    .await?;
    for id in [id_at(62, 1), id_at(62, 3)] {
        let refused = call(&lattice, "account/secret", "add", "5", &id).unwrap_err().to_string();
        ensure!(refused.contains("account/secret: the actor was deleted"), "{refused}");
    }
    let listed = lattice.json(&["actor", "list", "account"])?;
    ensure!(listed.as_array().map(Vec::len) == Some(1), "{listed}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_three_copies_the_death_of_any_one_server_loses_nothing_and_stops_nobody() -> Result<()> {
    let mut lattice = TestLattice::prepare_on(3, 2).await?;
    for host in 1..=2 {
        let process = lattice.spawn_host(host).await?;
        lattice.hosts.push(process);
    }
    let manifest = LATTICE_BANK.replace("durability: lattice", "durability: lattice, replicas: 3");
    let mut lattice = bank_at(lattice, &manifest)?;
    let actors: Vec<String> = (0..6).map(|n| format!("account/a-{n}")).collect();
    let add = |lattice: &TestLattice, actor: &str, sender, n, balance: u64| {
        let answer = call(lattice, actor, "add", "1", &id_at(sender, n))?;
        ensure!(answer == balance.to_string(), "{actor}: {answer}, not {balance}");
        Ok(())
    };
    for (n, actor) in (0..).zip(&actors) {
        eventually(PATIENCE, "its shard has an owner", || async { add(&lattice, actor, 50, n, 1) }).await?;
    }
    for dead in 0..3_u64 {
        lattice.server(usize::try_from(dead)?)?.kill()?;
        for (n, actor) in (0..).zip(&actors) {
            let what = "two servers go on";
            eventually(PATIENCE, what, || async { add(&lattice, actor, 51 + dead, n, 2 + dead) }).await?;
            // What was acknowledged before is not carried out again.
            eventually(PATIENCE, what, || async { add(&lattice, actor, 50, n, 1) }).await?;
        }
        lattice.server(usize::try_from(dead)?)?.restart_on_same_port().await?;
    }
    for actor in &actors {
        lattice.trellis(&["actor", "verify", actor])?;
        // A server that is just back may answer from a copy that has not caught up yet.
        eventually(PATIENCE, "the journal has every command once", || async {
            let journal = lattice.json(&["actor", "journal", actor])?;
            ensure!(journal.as_array().is_some_and(|commits| commits.len() == 4), "{actor}: {journal}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_moves_to_the_host_that_is_named_and_goes_on_there() -> Result<()> {
    let lattice = bank_of(2, LATTICE_BANK).await?;
    eventually(PATIENCE, "its shard has an owner", || async {
        call(&lattice, "account/a-1", "add", "5", &id_at(40, 0)).map(drop)
    })
    .await?;
    for (n, host) in (1..).zip(["H1", "H2", "H1"]) {
        lattice.trellis(&["migrate", "account/a-1", "--to", host])?;
        let balance = call(&lattice, "account/a-1", "add", "1", &id_at(40, n))?;
        ensure!(balance == (5 + n).to_string(), "on {host}: {balance}");
    }
    lattice.trellis(&["actor", "verify", "account/a-1"])?;
    let refused = lattice.trellis(&["migrate", "account/a-1", "--to", "H9"]).unwrap_err().to_string();
    ensure!(refused.contains("E_HOST_NOT_FOUND") && refused.contains("nothing was moved"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_set_aside_is_sent_again_to_wherever_its_actor_is_by_now() -> Result<()> {
    let lattice = bank_of(2, LATTICE_BANK).await?;
    let (actor, poison) = ("account/a-1", id_at(41, 1));
    eventually(PATIENCE, "its shard has an owner", || async {
        call(&lattice, actor, "add", "5", &id_at(41, 0)).map(drop)
    })
    .await?;
    lattice.trellis(&["migrate", actor, "--to", "H1"])?;
    for _ in 0..3 {
        let trapped = call(&lattice, actor, "trap", "boom", &poison).unwrap_err().to_string();
        ensure!(trapped.contains("E_TRAP"), "{trapped}");
    }
    let aside = eventually(PATIENCE, "it is set aside", || async {
        let aside = lattice.json(&["actor", "quarantine", "account"])?;
        ensure!(aside.as_array().is_some_and(|all| all.len() == 1), "{aside}");
        Ok(aside)
    })
    .await?;
    let name = aside[0]["id"].as_str().context("an id")?;
    lattice.trellis(&["migrate", actor, "--to", "H2"])?;
    // The other host carries it out, with the same component as yet.
    let again = lattice.trellis(&["actor", "replay", "account", name]).unwrap_err().to_string();
    ensure!(again.contains("E_TRAP"), "{again}");
    lattice.trellis(&["actor", "discard", "account", name])?;
    ensure!(call(&lattice, actor, "add", "5", &id_at(41, 2))? == "10", "the actor lives on");
    Ok(())
}

const TELLER: &str = r#"
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: bank }
spec:
  actors:
    - name: teller
      artifact: teller.wasm
      replicas: 2
      links:
        - { to: http, interface: "wasi:http/incoming-handler", config: { path: / } }
        - { to: account, interface: "trellis:actor/client" }
    - name: account
      artifact: account.wasm
      replicas: 2
      persistent: { durability: lattice }
  providers:
    - { name: http, kind: http-server, config: { port: "PORT" } }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_stateless_actor_asks_persistent_ones_through_its_link_wherever_they_are() -> Result<()> {
    let lattice = TestLattice::start(2).await?;
    std::fs::copy(fixtures::guest("fixture-teller")?, lattice.path().join("teller.wasm"))?;
    let sign =
        ["claim", "sign", "teller.wasm", "--name", "teller", "--cap", "trellis:actor", "--cap", "wasi:http"];
    let keys = ["--issuer", "trellis-lattice/keys/issuer.nk", "--subject", "trellis-lattice/keys/teller.nk"];
    lattice.trellis(&[&sign[..], &keys].concat())?;
    let manifest = TELLER.replace("PORT", &lattice.port().to_string());
    let lattice = bank_at(lattice, &manifest)?;
    let post = |lattice: &TestLattice, host, path: &str, body: &str| -> Result<(u16, String)> {
        let (status, body) = lattice.http(host, "POST", path, body)?;
        ensure!(status < 500, "{status} {body}");
        Ok((status, body))
    };
    // Whoever owns the actor, both hosts' tellers reach it; the same id is carried out once.
    for n in 0..4_u64 {
        let path = format!("/a-{n}/add?as={}", id_at(60, n));
        let first =
            eventually(PATIENCE, "the actor answers", || async { post(&lattice, 1, &path, "5") }).await?;
        assert_eq!(first, (200, "5 at 1\n".to_owned()));
        assert_eq!(post(&lattice, 2, &path, "5")?, (200, "5 at 1 again\n".to_owned()));
        let refused = post(&lattice, 2, &format!("/a-{n}/withdraw?as={}", id_at(61, n)), "9")?;
        ensure!(refused.0 == 409 && refused.1.starts_with("insufficient: "), "{refused:?}");
        assert_eq!(lattice.http(2, "GET", &format!("/a-{n}/balance"), "")?, (200, "5".to_owned()));
    }
    // Without the link it is denied, and nothing else.
    lattice.trellis(&["link", "del", "bank/teller", "trellis:actor/client"])?;
    eventually(PATIENCE, "the unlinked teller is denied", || async {
        let (status, body) = lattice.http(1, "GET", "/a-0/balance", "")?;
        ensure!(status >= 500 && body.contains("E_CAPABILITY_DENIED"), "{status} {body}");
        Ok(())
    })
    .await
}
