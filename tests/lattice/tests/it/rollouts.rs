//! New versions on real hosts: a bad one stops at its canary and is gone, a good one comes into force,
//! and what is final does not come back.

use anyhow::{Result, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use tests_harness::eventually;
use tests_lattice::{PATIENCE, SITE, TestLattice};

/// The site, with a canary of half of it.
fn site() -> String {
    SITE.replacen(
        "spec:\n",
        "spec:\n  rollout: { strategy: canary, waves: [50], gate: { windowMs: 2000, minCalls: 3 } }\n",
        1,
    )
}

fn phase(lattice: &TestLattice) -> Result<Value> {
    let status = lattice.json(&["app", "status", "site"])?;
    Ok(status["rollout"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_version_stops_at_its_canary_and_what_is_final_stays() -> Result<()> {
    let lattice = TestLattice::start(2).await?;
    lattice.version("http-hello", 1, &site())?;
    eventually(PATIENCE, "both hosts serve the first version", || async {
        for host in [1, 2] {
            let (status, body) = lattice.http(host, "GET", "/", "")?;
            ensure!(status == 200, "{status} {body}");
        }
        Ok(())
    })
    .await?;

    // The second version starts well and fails when it is called: it traps at this path.
    lattice.version("fixture-hostile", 2, &site())?;
    let mut failed = BTreeSet::new();
    let rollout = eventually(PATIENCE, "the bad version is rolled back", || {
        for host in [1, 2] {
            if lattice.http(host, "GET", "/trap", "").is_ok_and(|(status, _)| status >= 500) {
                failed.insert(host);
            }
        }
        let rollout = phase(&lattice);
        async move {
            let rollout = rollout?;
            ensure!(rollout["phase"] == "rolled-back", "{rollout}");
            Ok(rollout)
        }
    })
    .await?;
    assert_eq!(failed.len(), 1, "one of two hosts was the canary, and nobody else had it");
    assert!(rollout["why"].as_str().is_some_and(|why| why.contains("call")), "{rollout}");
    // Its revision was on trial: the hosts let the one before in again.
    eventually(PATIENCE, "both hosts serve the first version again", || async {
        for host in [1, 2] {
            let (status, body) = lattice.http(host, "GET", "/trap", "")?;
            ensure!(status < 500, "H{host}: {status} {body}");
        }
        let actors = lattice.json(&["get", "actors"])?;
        ensure!(actors[0]["running"] == 2, "{actors}");
        Ok(())
    })
    .await?;

    // A good one goes through both waves and is final.
    lattice.version("http-hello", 3, &site())?;
    eventually(PATIENCE, "the good version is final", || async {
        let status = lattice.json(&["app", "status", "site"])?;
        ensure!(status["rollout"].is_null() && status["state"] == "running", "{status}");
        let web = &status["actors"][0];
        ensure!(web["running"] == 2, "{status}");
        Ok(())
    })
    .await?;

    // From then on the first one is a rollback, which hosts refuse: it is taken back in its turn.
    lattice.trellis(&["app", "rollback", "site", "1"])?;
    let rollout = eventually(PATIENCE, "the older revision is refused", || async {
        let rollout = phase(&lattice)?;
        ensure!(rollout["phase"] == "rolled-back", "{rollout}");
        Ok(rollout)
    })
    .await?;
    assert!(rollout["why"].as_str().is_some_and(|why| why.contains("E_ROLLBACK")), "{rollout}");
    for host in [1, 2] {
        assert_eq!(lattice.http(host, "GET", "/", "")?.0, 200);
    }
    Ok(())
}

/// The site with a check of its own: nobody calls it in this test but the hosts that ask.
fn checked(check: &str) -> String {
    let gate = format!("gate: {{ windowMs: 1000, deadlineMs: 20000, check: {check} }}");
    SITE.replacen("spec:\n", &format!("spec:\n  rollout: {{ strategy: canary, waves: [50], {gate} }}\n"), 1)
}

async fn is_final(lattice: &TestLattice, version: u64) -> Result<()> {
    eventually(PATIENCE, "the version is final everywhere", || async {
        let status = lattice.json(&["app", "status", "site"])?;
        let is_there = status["version"] == version && status["rollout"].is_null();
        ensure!(is_there && status["state"] == "running" && status["actors"][0]["running"] == 2, "{status}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_does_not_pass_its_own_check_goes_no_further() -> Result<()> {
    let lattice = TestLattice::start(2).await?;
    lattice.version("http-hello", 1, &checked("{ http: /ready }"))?;
    is_final(&lattice, 1).await?;
    lattice.version("http-hello", 2, &checked("{ http: /ready, everyMs: 200 }"))?;
    is_final(&lattice, 2).await?;

    // It runs, and knows no such path. Nobody but its host has called it.
    lattice.version("ping", 3, &checked("{ http: /ready, everyMs: 200 }"))?;
    let rollout = eventually(PATIENCE, "the bad version is rolled back", || async {
        let rollout = phase(&lattice)?;
        ensure!(rollout["phase"] == "rolled-back", "{rollout}");
        Ok(rollout)
    })
    .await?;
    let why = rollout["why"].as_str().unwrap_or_default().to_owned();
    assert!(why.contains("check /ready: not a good answer (got 404"), "{why}");
    eventually(PATIENCE, "both hosts serve the version before", || async {
        for host in [1, 2] {
            let (status, body) = lattice.http(host, "GET", "/ready", "")?;
            ensure!(status == 200, "H{host}: {status} {body}");
        }
        Ok(())
    })
    .await?;

    // One that exports no HTTP handler is asked by a function of its own.
    let with = |check: &str| {
        checked(check)
            .replace(
                "        - { to: http, interface: \"wasi:http/incoming-handler\", config: { path: / } }\n",
                "",
            )
            .replace("      links:\n", "")
    };
    let call = "{ call: \"example:pong/pingpong@0.1.0#ping\", everyMs: 200 }";
    lattice.version("pong", 4, &with(call))?;
    is_final(&lattice, 4).await?;
    lattice.version("pong", 5, &with("{ call: \"example:pong/pingpong@0.1.0#pang\", everyMs: 200 }"))?;
    let rollout = eventually(PATIENCE, "what does not exist is not answered", || async {
        let rollout = phase(&lattice)?;
        ensure!(rollout["phase"] == "rolled-back", "{rollout}");
        Ok(rollout)
    })
    .await?;
    let why = rollout["why"].as_str().unwrap_or_default().to_owned();
    assert!(why.contains("E_NO_HANDLER"), "{why}");
    Ok(())
}
