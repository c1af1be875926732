//! Two JetStream domains over one connection: what is stored in one is in no other, a domain that is not there is
//! said to be so, and the uplink between them may go and come.

use crate::SOON;
use crate::kv::event;
use anyhow::{Result, ensure};
use keys::Digest;
use lattice_io::log::LogOptions;
use lattice_io::nats::{NatsAuth, NatsOptions, connect};
use lattice_io::{DomainError, KvError, KvEvent, KvOptions, Lattice, Replicas, WatchKeys};
use lattice_journal::Position;
use lattice_journal::append::AppendOutcome;
use lattice_protocol::{DomainName, ErrorCode, Report};
use tests_harness::{NatsServer, Site, SiteOptions, eventually};

fn domain(name: &str) -> DomainName {
    name.parse().unwrap()
}

async fn at(server: &NatsServer) -> Result<Lattice> {
    Ok(connect(NatsOptions::new(server.url())).await?.lattice())
}

/// Waits until a domain answers.
async fn there(lattice: &Lattice) -> Result<()> {
    eventually(SOON, "the domain to answer", || async { Ok(lattice.domains.check().await?) }).await
}

#[tokio::test]
async fn what_is_stored_in_one_domain_is_in_no_other_whoever_stores_it_from_where() -> Result<()> {
    let both = Site::start(SiteOptions::default()).await?;
    let (hub, site) = (at(&both.hub).await?, at(&both.site).await?);
    // The same names in both, which is what names of ours never are.
    for (number, lattice) in [&hub, &site, &hub, &site].into_iter().enumerate() {
        for name in ["hub", "factory"] {
            let there_now = lattice.in_domain(&domain(name));
            there(&there_now).await?;
            let kv = there_now.kv.open("b", KvOptions::default()).await?;
            kv.put(&format!("{name}.{number}"), name.to_owned().into()).await?;
            let got = kv.get(&format!("{name}.{number}")).await?;
            ensure!(got.is_some_and(|entry| entry.value == name), "{number} {name}");
        }
    }
    for (lattice, own, other) in [(&hub, "hub", "factory"), (&site, "factory", "hub")] {
        // Without a name it is that of the server.
        let kv = lattice.kv.lookup("b").await?.unwrap();
        let expected: Vec<String> = (0..4).map(|number| format!("{own}.{number}")).collect();
        assert_eq!(kv.keys().await?, expected);
        assert_eq!(lattice.in_domain(&domain(own)).kv.lookup("b").await?.unwrap().keys().await?, expected);
        ensure!(kv.get_latest(&format!("{other}.0")).await?.is_none());
    }
    Ok(())
}

#[tokio::test]
async fn a_domain_that_nobody_has_is_said_to_be_silent_and_nothing_is_made_elsewhere() -> Result<()> {
    let both = Site::start(SiteOptions::default()).await?;
    let site = at(&both.site).await?;
    let nowhere = site.in_domain(&domain("nowhere"));
    let error = nowhere.domains.check().await.unwrap_err();
    ensure!(matches!(&error, DomainError::Silent { domain: Some(name), .. } if name.as_str() == "nowhere"));
    let report = Report::from(error);
    assert_eq!(report.code, ErrorCode::Domain);
    let text = report.to_string();
    ensure!(text.contains("JetStream domain nowhere does not answer") && text.contains("leaf"), "{text}");
    let opened = nowhere.kv.open("b", KvOptions::default()).await.map(drop);
    ensure!(matches!(opened, Err(KvError::Unreachable { .. })), "{opened:?}");
    ensure!(site.kv.lookup("b").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn the_uplink_goes_and_comes_and_what_was_stored_is_there() -> Result<()> {
    let both = Site::start(SiteOptions::default()).await?;
    let hub = at(&both.site).await?.in_domain(&domain("hub"));
    there(&hub).await?;
    let options = LogOptions {
        name: "SHARD".to_owned(),
        subject: "shards.one".to_owned(),
        max_bytes: None,
        replicas: Replicas::One,
    };
    let log = hub.logs.open(options).await?;
    let (kv, blobs) =
        (hub.kv.open("b", KvOptions::default()).await?, hub.blobs.open("o", Replicas::One).await?);
    let mut watch = kv.watch(WatchKeys::All);
    assert_eq!(event(&mut watch).await?, KvEvent::Current);
    assert_eq!(log.append(Position(0), "one".into(), SOON).await?, AppendOutcome::Stored(Position(1)));
    let digest = Digest::of(b"blob");
    blobs.put(digest, "blob".into()).await?;
    kv.create("k", "1".into()).await?;
    ensure!(matches!(event(&mut watch).await?, KvEvent::Put(entry) if entry.value == "1"));
    both.cut().await?;
    ensure!(matches!(hub.domains.check().await, Err(DomainError::Silent { .. })));
    // Nobody is there to store it, and that is certain.
    ensure!(log.append(Position(1), "lost".into(), SOON).await.unwrap_err().is_unsent());
    ensure!(matches!(kv.update("k", "2".into(), 1).await, Err(KvError::Unreachable { .. })));
    both.heal().await?;
    there(&hub).await?;
    eventually(SOON, "the log to be reached", || async {
        let stored = log.append(Position(1), "two".into(), SOON).await?;
        ensure!(matches!(stored, AppendOutcome::Stored(_) | AppendOutcome::Conflict), "{stored:?}");
        Ok(())
    })
    .await?;
    let back = log.read(Position(0), 10).await?;
    assert_eq!(back.entries, [(Position(1), "one".into()), (Position(2), "two".into())]);
    assert_eq!(blobs.get(digest).await?, "blob");
    kv.update("k", "3".into(), 1).await?;
    // The connection stood all the while: the watch finds out by the silence that it was not told.
    loop {
        if matches!(event(&mut watch).await?, KvEvent::Put(entry) if entry.value == "3") {
            return Ok(());
        }
    }
}

/// A user who may use one domain only, and says so to servers of either domain.
const USERS: &str = r#"
authorization {
  users: [
    { user: all, password: all }
    { user: host, password: host, permissions: {
      publish: ["$JS.factory.API.INFO", "$JS.API.INFO", "_INBOX_me.>"]
      subscribe: ["_INBOX_me.>"]
    } }
  ]
}
"#;

#[tokio::test]
async fn who_may_not_use_a_domain_is_told_at_once_also_by_servers_of_that_domain() -> Result<()> {
    let options = SiteOptions {
        operator_config: Some(USERS.to_owned()),
        user: Some("all:all".to_owned()),
        ..SiteOptions::default()
    };
    let both = Site::start(options).await?;
    for server in [&both.hub, &both.site] {
        let mut options = NatsOptions::new(server.url());
        options.auth = NatsAuth::Password { user: "host".to_owned(), password: "host".to_owned() };
        options.inbox_prefix = Some("_INBOX_me".to_owned());
        let client = connect(options).await?;
        let lattice = client.lattice();
        let factory = lattice.in_domain(&domain("factory"));
        there(&factory).await?;
        let opened = factory.kv.open("b", KvOptions::default()).await.map(drop);
        ensure!(matches!(opened, Err(KvError::Denied { .. })), "{opened:?}");
        let written = factory.kv.assume("b")?.put("k", "1".into()).await;
        ensure!(matches!(written, Err(KvError::Denied { .. })), "{written:?}");
        let other = lattice.in_domain(&domain("depot")).domains.check().await.unwrap_err();
        ensure!(matches!(&other, DomainError::Denied { .. }), "{other:?}");
        let report = Report::from(other);
        ensure!(
            report.code == ErrorCode::Denied && report.to_string().contains("--domain depot"),
            "{report}"
        );
    }
    Ok(())
}
