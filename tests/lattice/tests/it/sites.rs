//! A lattice with a site: hosts connected to the site's own server, a leaf node with a JetStream domain of its own,
//! and a kind of persistent actors whose journals are in that domain. Real processes, real users, an uplink that is cut.

use crate::persistent::id_at;
use anyhow::{Context, Result, ensure};
use std::fs;
use tests_harness::{JetStream, Leaf, NatsOptions, NatsServer, SiteOptions, Uplink, eventually};
use tests_lattice::{PATIENCE, TestLattice};

/// Accounts that live at the site, and the same that live nowhere.
const BANK: &str = r#"
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: bank }
spec:
  actors:
    - name: account
      artifact: account.wasm
      replicas: 2
      persistent: { durability: lattice, domain: factory }
      placement: { hosts: [H2, H3] }
    - name: lost
      artifact: account.wasm
      persistent: { kind: lost, durability: lattice, domain: nowhere }
      placement: { hosts: [H1] }
"#;

/// A lattice whose hub is in the domain `hub`, and the server of its site.
async fn with_site() -> Result<(TestLattice, NatsServer, Uplink)> {
    let options = NatsOptions {
        name: "hub".to_owned(),
        jetstream: Some(JetStream { domain: Some("hub".to_owned()) }),
        leaf: Leaf { listen: true, remotes: Vec::new() },
        ..NatsOptions::default()
    };
    let lattice = TestLattice::prepare_by(None, (1, options), 1).await?;
    for host in ["H2", "H3"] {
        lattice.trellis(&["lattice", "enroll", host, "--domain", "factory"])?;
    }
    // It may reach no domain but the hub's: that is what it is told about the one that nobody has.
    lattice.trellis(&["lattice", "enroll", "H1", "--domain", "nowhere"])?;
    let dir = lattice.path().join("trellis-lattice");
    let file: serde_json::Value = serde_json::from_slice(&fs::read(dir.join("lattice.json"))?)?;
    let account = file["account"].as_str().context("no account")?.to_owned();
    let options = SiteOptions {
        operator_config: Some(fs::read_to_string(dir.join("nats/auth.conf"))?),
        account: Some((dir.join("users/admin.creds"), account)),
        ..SiteOptions::default()
    };
    let (site, uplink) = Uplink::join(&lattice.nats, options).await?;
    Ok((lattice, site, uplink))
}

/// The same command, by way of this server, until somebody has carried it out.
async fn carried_out(lattice: &TestLattice, url: &str, (n, data): (u64, &str)) -> Result<String> {
    let id = id_at(90, n);
    let args = ["--nats-url", url, "call", "account/a-1", "add", "--data", data, "--id", &id];
    let asking = || async { Ok(lattice.trellis(&args)?.trim().to_owned()) };
    eventually(PATIENCE, "an owner to answer", asking).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_goes_on_without_its_uplink_fails_over_there_and_the_hub_finds_it_all_afterwards() -> Result<()>
{
    let (lattice, site, uplink) = with_site().await?;
    let (hub, site_url) = (lattice.url(), site.url());
    let first = lattice.spawn_host(1).await?;
    let mut second = lattice.spawn_host_by(2, &site_url, &[]).await?;
    let third = lattice.spawn_host_by(3, &site_url, &[]).await?;
    lattice.write_accounts(BANK)?;
    lattice.trellis(&["app", "deploy", "app.yaml", "--no-wait"])?;
    assert_eq!(carried_out(&lattice, &hub, (1, "5")).await?, "5");

    // What lives nowhere is told of, and nothing else suffers.
    eventually(PATIENCE, "the actor without a domain to be reported", || async {
        let actors = lattice.trellis(&["get", "inventory", "H1"])?;
        ensure!(actors.contains("E_DOMAIN") && actors.contains("nowhere"), "{actors}");
        Ok(())
    })
    .await?;
    fs::write(lattice.path().join("moved.yaml"), BANK.replace("domain: factory", "domain: depot"))?;
    let moved = lattice.trellis(&["app", "put", "moved.yaml"]).unwrap_err().to_string();
    ensure!(moved.contains("E_CONFLICT") && moved.contains("persistent.domain"), "{moved}");

    uplink.cut().await?;
    assert_eq!(carried_out(&lattice, &site_url, (2, "7")).await?, "12");
    second.kill()?;
    assert_eq!(carried_out(&lattice, &site_url, (3, "1")).await?, "13", "the other host of the site has it");
    assert_eq!(carried_out(&lattice, &site_url, (2, "7")).await?, "12", "it was carried out, once");

    uplink.heal().await?;
    assert_eq!(carried_out(&lattice, &hub, (4, "1")).await?, "14");
    let journal = lattice.json(&["actor", "journal", "account/a-1"])?;
    assert_eq!(journal.as_array().map(Vec::len), Some(4), "{journal}");
    lattice.trellis(&["actor", "verify", "account/a-1"])?;
    drop((first, third));
    Ok(())
}
