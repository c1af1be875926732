//! Kinds in the JetStream domain of a site: on real servers, a hub and a leaf node with a domain of its own. The site's
//! hosts work on and fail over among themselves while the uplink is cut; what is in one domain is in no other; a
//! host reaches the domains that it was enrolled for.

use crate::lattice::{Node, node_in, owned, policy, submit};
use crate::support::{PATIENCE, as_user, key, nats_user, until};
use anyhow::{Context, Result, ensure};
use host_actors::{KindPolicy, LatticeActors, Policy};
use lattice_io::log::{Log, LogError, LogOptions};
use lattice_io::nats::{self, NatsOptions};
use lattice_io::{KvError, KvOptions, Lattice, Replicas};
use lattice_journal::Position;
use lattice_protocol::permission::HostDomains;
use lattice_protocol::subject::Subjects;
use lattice_protocol::{DomainName, ErrorCode};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use tests_harness::{NatsServer, Site, SiteOptions, eventually};

fn domain(name: &str) -> DomainName {
    name.parse().unwrap()
}

fn subjects() -> Subjects {
    Subjects::new("test".parse().unwrap())
}

/// Connected to a server, with the lattice in the hub's domain, as hosts are.
async fn at(server: &NatsServer) -> Result<Lattice> {
    let options = NatsOptions { domain: Some(domain("hub")), ..NatsOptions::new(server.url()) };
    let lattice = nats::connect(options).await?.lattice();
    reached(&lattice).await?;
    Ok(lattice)
}

async fn reached(lattice: &Lattice) -> Result<()> {
    eventually(PATIENCE, "the domain to answer", || async { Ok(lattice.domains.check().await?) }).await
}

/// Checkpoints come soon.
fn policies() -> (Policy, KindPolicy) {
    (Policy { checkpoint_records: 2, ..policy() }, KindPolicy::default())
}

fn of_factory(name: &str, lattice: &Lattice) -> Node {
    node_in(Some(&domain("factory")), name, lattice, policies())
}

/// As SIGKILL: nothing is given back, and nothing is said.
async fn kill(node: Node) {
    node.scope.shutdown(Duration::ZERO).await;
}

async fn all_owned(nodes: &[&Node]) {
    until("every shard has one owner", async || {
        nodes.iter().map(|node| owned(node).len()).sum::<usize>() == 16
            && nodes.iter().all(|node| !owned(node).is_empty())
    })
    .await;
}

/// The streams of a server.
async fn streams(server: &NatsServer) -> Result<Vec<String>> {
    let page = server.monitor("/jsz?streams=true").await?;
    let accounts = page["account_details"].as_array().context("no accounts")?;
    let details = accounts.iter().filter_map(|account| account["stream_detail"].as_array()).flatten();
    let name = |stream: &Value| stream["name"].as_str().map(str::to_owned);
    details.map(|stream| name(stream).context("a stream without a name")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_of_a_site_acknowledge_and_fail_over_while_the_uplink_is_cut_and_lose_nothing() -> Result<()> {
    let both = Site::start(SiteOptions::default()).await?;
    let (one, two, hub) = (at(&both.site).await?, at(&both.site).await?, at(&both.hub).await?);
    let (first, second) = (of_factory("H1", &one), of_factory("H2", &two));
    // The same kind again, in the lattice's own domain: never so in a lattice, and not even then mixed.
    let elsewhere = node_in(None, "H1", &hub, policies());
    all_owned(&[&first, &second]).await;
    all_owned(&[&elsewhere]).await;
    let actors: Vec<String> = (0..24).map(|n| format!("sum/a-{n}")).collect();
    for (n, actor) in (0..).zip(&actors) {
        assert_eq!(submit(&[&first, &second], n, actor, "5").await.reply, "5");
        assert_eq!(submit(&[&elsewhere], n, actor, "100").await.reply, "100");
    }
    both.cut().await?;
    for (n, actor) in (0..).zip(&actors) {
        assert_eq!(submit(&[&first, &second], 100 + n, actor, "2").await.reply, "7", "{actor}");
    }
    kill(first).await;
    until("the other one has them all", async || owned(&second).len() == 16).await;
    for (n, actor) in (0..).zip(&actors) {
        let again = submit(&[&second], 100 + n, actor, "2").await;
        assert!(again.repeated && again.reply == "7", "{actor}: {again:?}");
        assert_eq!(submit(&[&second], 200 + n, actor, "1").await.reply, "8", "{actor}");
    }
    both.heal().await?;
    // From the hub, in the site's domain: the same journals.
    reached(&hub.in_domain(&domain("factory"))).await?;
    let third = of_factory("H3", &hub);
    until("it is seen", async || third.actors.is_alive(&"H2".parse().unwrap())).await;
    kill(second).await;
    until("the third one has them all", async || owned(&third).len() == 16).await;
    for (n, actor) in (0..).zip(&actors) {
        assert_eq!(submit(&[&third], 300 + n, actor, "1").await.reply, "9", "{actor}");
        assert_eq!(submit(&[&elsewhere], 300 + n, actor, "1").await.reply, "101", "{actor}");
    }
    for (server, is_of_factory) in [(&both.hub, false), (&both.site, true)] {
        let names = eventually(PATIENCE, "shards and checkpoints", || async {
            let names = streams(server).await?;
            ensure!(names.iter().any(|name| name.contains("_shard_")), "{names:?}");
            ensure!(names.iter().any(|name| name.contains("_snapshots_")), "{names:?}");
            Ok(names)
        })
        .await?;
        ensure!(names.iter().all(|name| name.ends_with("_factory") == is_of_factory), "{names:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_cut_off_from_a_kinds_domain_says_so_and_its_other_kinds_know_nothing_of_it()
-> Result<()> {
    let both = Site::start(SiteOptions::default()).await?;
    let hub = at(&both.hub).await?;
    reached(&hub.in_domain(&domain("factory"))).await?;
    let (far, near) = (of_factory("H1", &hub), node_in(None, "H2", &hub, policies()));
    all_owned(&[&far]).await;
    all_owned(&[&near]).await;
    assert_eq!(submit(&[&far], 1, "sum/a", "5").await.reply, "5");
    both.cut().await?;
    until("its lease ends", async || far.actors.cut_off().is_some()).await;
    let report = far.actors.cut_off().context("cut off")?;
    ensure!(report.code == ErrorCode::Domain && report.what.contains("domain factory"), "{report}");
    until("it owns nothing there", async || owned(&far).is_empty()).await;
    ensure!(near.actors.cut_off().is_none() && owned(&near).len() == 16);
    assert_eq!(submit(&[&near], 2, "sum/a", "7").await.reply, "7");
    both.heal().await?;
    until("it owns them again", async || owned(&far).len() == 16).await;
    ensure!(far.actors.cut_off().is_none());
    let again = submit(&[&far], 1, "sum/a", "5").await;
    ensure!(again.repeated && again.reply == "5", "{again:?}");
    let nowhere = far.domains.reach(&domain("nowhere")).await.unwrap_err();
    ensure!(nowhere.code == ErrorCode::Domain && nowhere.what.contains("nowhere"), "{nowhere}");
    // A kind is of one domain.
    let kind = "sum".parse()?;
    let moved = far.domains.put_kind(None, kind, far.kind.clone()).unwrap_err();
    ensure!(moved.code == ErrorCode::Conflict && moved.to_string().contains("factory"), "{moved}");
    Ok(())
}

/// The place of a log's last entry.
async fn last(log: &dyn Log) -> Result<Position> {
    let back = match log.read(Position(0), 1_000).await {
        Err(LogError::Trimmed { first }) => log.read(Position(first.0 - 1), 1_000).await?,
        back => back?,
    };
    Ok(back.entries.last().context("it is empty")?.0)
}

/// Users: a host of the site, one of another site, and somebody who may do everything.
fn users() -> String {
    let user = |host: &str, site: &str| {
        let domains = HostDomains { lattice: Some(domain("hub")), kinds: BTreeSet::from([domain(site)]) };
        nats_user(host, &subjects().host_permissions(&host.parse().unwrap(), &[], &domains))
    };
    let (host, other) = (user("H1", "factory"), user("H2", "depot"));
    format!("authorization {{ users: [ {host}, {other}, {{ user: all, password: pass }} ] }}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_may_all_that_its_sites_domain_needs_and_nothing_of_anothers() -> Result<()> {
    let options = SiteOptions {
        operator_config: Some(users()),
        user: Some("all:pass".to_owned()),
        ..SiteOptions::default()
    };
    let both = Site::start(options).await?;
    let there = subjects().in_domain(Some(domain("factory")));
    // Connected to the domain's own server, and from afar.
    for (n, server) in (0..).zip([&both.site, &both.hub]) {
        let lattice = as_user(server, "H1").await?;
        reached(&lattice.in_domain(&domain("factory"))).await?;
        let node = of_factory("H1", &lattice);
        until("it has every shard", async || owned(&node).len() == 16).await;
        node.domains.reach(&domain("factory")).await?;
        for step in 0..40 {
            submit(&[&node], n * 100 + step, "sum/a", "1").await;
        }
        let shard = LatticeActors::part(&key("sum/a")).0;
        let store = there.shard_store(&"sum".parse()?, shard);
        let all = as_user(&both.site, "all").await?;
        until("a checkpoint is made", async || {
            let store = all.blobs.open(&store, Replicas::One).await.unwrap();
            !store.list().await.unwrap().is_empty()
        })
        .await;
        kill(node).await;
    }
    let all = as_user(&both.site, "all").await?;
    let shard = LatticeActors::part(&key("sum/a")).0;
    let options = LogOptions {
        name: there.shard_stream(&"sum".parse()?, shard),
        subject: there.shard(&"sum".parse()?, shard),
        max_bytes: None,
        replicas: Replicas::One,
    };
    let log = all.logs.find(options.clone()).await?.context("its stream")?;
    let before = last(&*log).await?;
    // A host of another site: from the hub it reaches nothing of it, and writes no record from anywhere.
    let other = as_user(&both.hub, "H2").await?;
    let stranger = other.in_domain(&domain("factory"));
    ensure!(
        stranger.domains.check().await.is_err_and(|error| error.to_string().contains("permission denied"))
    );
    ensure!(stranger.logs.find(options.clone()).await.is_err());
    ensure!(stranger.logs.open(options.clone()).await.is_err());
    for bucket in [there.sessions_bucket(), there.shards_bucket()] {
        let kv = stranger.kv.assume(&bucket)?;
        ensure!(matches!(kv.get_latest("H1").await, Err(KvError::Denied { .. })));
        ensure!(matches!(kv.put("H1", "forged".into()).await, Err(KvError::Denied { .. })));
    }
    for server in [&both.hub, &both.site] {
        let node = node_in(None, "H2", &as_user(server, "H2").await?.in_domain(&domain("hub")), policies());
        let denied = node.domains.reach(&domain("factory")).await.unwrap_err();
        ensure!(denied.code == ErrorCode::Denied && denied.to_string().contains("enroll"), "{denied}");
        kill(node).await;
    }
    // At the site's own server it is let into that server's domain, and still says nothing there: it is told so.
    let intruder = of_factory("H2", &as_user(&both.site, "H2").await?);
    until("it is told", async || {
        intruder.actors.closed(&key("sum/a")).is_some_and(|report| report.code == ErrorCode::Denied)
    })
    .await;
    kill(intruder).await;
    assert_eq!(last(&*log).await?, before);
    // And of its own domain a host may not what it does not need.
    let mine = as_user(&both.hub, "H1").await?.in_domain(&domain("factory"));
    ensure!(matches!(mine.kv.delete(&there.shards_bucket()).await, Err(KvError::Denied { .. })));
    ensure!(matches!(mine.kv.assume("other")?.put("k", "v".into()).await, Err(KvError::Denied { .. })));
    let desired =
        as_user(&both.hub, "all").await?.kv.open(&subjects().desired_bucket(), KvOptions::default()).await?;
    desired.put("shop", "{}".into()).await?;
    let lattice = as_user(&both.site, "H1").await?.in_domain(&domain("hub"));
    reached(&lattice).await?;
    let desired = lattice.kv.assume(&subjects().desired_bucket())?;
    ensure!(desired.get("shop").await?.is_some(), "it reads the lattice's records by the name of its domain");
    ensure!(matches!(desired.put("shop", "forged".into()).await, Err(KvError::Denied { .. })));
    Ok(())
}
