//! `rollout` and `autoscale`: what they read as, what is refused, and that they read back.

use crate::manifest::{AutoScale, Metric, Resources, check, parse, render};
use crate::rollout::{Ask, Check, Gate, RolloutPolicy, Share, Strategy};

fn with(spec: &str, actor: &str) -> Result<crate::manifest::Application, Vec<String>> {
    let text = format!(
        "apiVersion: trellis.dev/v1\nkind: Application\nmetadata: {{ name: a }}\nspec:\n  {spec}\n  actors:\n    - {{ name: x, artifact: x.wasm{actor} }}\n"
    );
    parse(&text, "a.yaml").map_err(|reports| reports.iter().map(ToString::to_string).collect())
}

#[test]
fn every_strategy_reads_and_reads_back() {
    for (written, strategy) in [
        ("{ strategy: canary }", Strategy::Canary { waves: vec![10, 50] }),
        ("{ strategy: canary, waves: [5] }", Strategy::Canary { waves: vec![5] }),
        ("{ strategy: blue-green }", Strategy::BlueGreen),
        (
            "{ strategy: rolling }",
            Strategy::Rolling { max_unavailable: Share::Percent(25), max_surge: Share::Count(0) },
        ),
        (
            "{ strategy: rolling, maxUnavailable: 0, maxSurge: 50% }",
            Strategy::Rolling { max_unavailable: Share::Count(0), max_surge: Share::Percent(50) },
        ),
    ] {
        let app = with(&format!("rollout: {written}"), "").unwrap();
        assert_eq!(app.rollout, Some(RolloutPolicy::new(strategy)), "{written}");
        assert_eq!(parse(&render(&app), "again.yaml").unwrap(), app);
        let of_actor = with("providers: []", &format!(", rollout: {written}")).unwrap();
        assert_eq!((&of_actor.rollout, &of_actor.actors[0].rollout), (&None, &app.rollout.map(Box::new)));
        assert_eq!(parse(&render(&of_actor), "again.yaml").unwrap(), of_actor);
    }
    let gate = "rollout: { strategy: blue-green, finalise: manual, gate: { windowMs: 0, deadlineMs: 5000, maxErrorPercent: 0, minCalls: 1, maxRestarts: 0, maxLatencyMs: 9, check: { http: /ready } } }";
    let policy = with(gate, "").unwrap();
    let expected = Gate {
        window_ms: 0,
        deadline_ms: 5_000,
        max_error_percent: 0,
        min_calls: 1,
        max_restarts: 0,
        max_latency_ms: Some(9),
        check: Some(Check::new(Ask::http("/ready").unwrap())),
    };
    assert_eq!(policy.rollout.as_ref().map(|policy| &policy.gate), Some(&expected));
    assert!(policy.rollout.as_ref().is_some_and(|policy| policy.manual_finalise));
    assert_eq!(parse(&render(&policy), "again.yaml").unwrap(), policy);
    let check = "check: { call: \"acme:shop/health#ready\", timeoutMs: 200, everyMs: 5000 }";
    let called = with(&format!("rollout: {{ strategy: canary, gate: {{ {check} }} }}"), "").unwrap();
    let expected =
        Check { ask: Ask::call("acme:shop/health#ready").unwrap(), timeout_ms: 200, every_ms: 5_000 };
    assert_eq!(called.rollout.as_ref().and_then(|policy| policy.gate.check.as_ref()), Some(&expected));
    assert_eq!(parse(&render(&called), "again.yaml").unwrap(), called);
}

#[test]
fn settings_that_would_do_nothing_or_mean_nothing_are_refused() {
    for (written, says) in [
        ("{ waves: [5] }", "missing field \"strategy\""),
        ("{ strategy: recreate }", "expected rolling or canary or blue-green"),
        (
            "{ strategy: rolling, waves: [5] }",
            "a setting of another strategy: a.yaml:5:40: spec.rollout.waves",
        ),
        ("{ strategy: canary, maxSurge: 1 }", "it is one of strategy: rolling"),
        ("{ strategy: canary, waves: [50, 10] }", "not the waves of a canary"),
        ("{ strategy: canary, waves: [100] }", "out of range"),
        ("{ strategy: canary, waves: [] }", "not the waves of a canary"),
        ("{ strategy: rolling, maxSurge: 101% }", "got 101%, expected 0%..100%"),
        ("{ strategy: rolling, maxSurge: -1 }", "expected 0..100000"),
        ("{ strategy: blue-green, gate: { windowms: 1 } }", "did you mean \"windowMs\""),
        ("{ strategy: canary, gate: { check: {} } }", "a check asks one thing"),
        ("{ strategy: canary, gate: { check: { http: /a, call: \"a:b/c#d\" } } }", "expected http or call"),
        ("{ strategy: canary, gate: { check: { http: ready } } }", "spec.rollout.gate.check.http (got"),
        ("{ strategy: canary, gate: { check: { call: ready } } }", "namespace:package/interface#function"),
        ("{ strategy: canary, gate: { check: { http: /a, everyMs: 1 } } }", "expected 100..3600000"),
    ] {
        let found = with(&format!("rollout: {written}"), "").unwrap_err().join("\n");
        assert!(found.contains(says), "{written}: {found}");
    }
    let checked = "rollout: { strategy: canary, gate: { check: { http: /ready } } }";
    let own = with("providers: []", &format!(", persistent: true, {checked}")).unwrap_err().join("\n");
    assert!(own.contains("rollout.gate.check") && own.contains("a persistent actor"), "{own}");
    assert!(with(checked, ", persistent: true").is_ok(), "that of the application is for the others");
}

#[test]
fn automatic_scaling_reads_and_is_checked() {
    let actor = ", replicas: 2, autoscale: { metric: rate, target: 100, max: 9, cooldownMs: 5000, budget: { cpuMillis: 900 } }";
    let app = with("providers: []", actor).unwrap();
    let expected = AutoScale {
        metric: Metric::Rate,
        target: 100,
        max: 9,
        cooldown_ms: 5_000,
        budget: Some(Resources { cpu_millis: 900, memory_mib: 0 }),
    };
    assert_eq!(app.actors[0].autoscale.as_deref(), Some(&expected));
    assert_eq!(parse(&render(&app), "again.yaml").unwrap(), app);
    for (written, says) in [
        (", replicas: 5, autoscale: { metric: rate, target: 1, max: 4 }", "got 4, expected 5..100000"),
        (", daemon: true, autoscale: { metric: lag, target: 1, max: 4 }", "exclude each other"),
        (", autoscale: { metric: cpu, target: 1, max: 4 }", "concurrency or queue or rate or lag"),
        (", autoscale: { metric: lag, target: 0, max: 4 }", "expected 1..1000000000"),
        (", autoscale: { metric: lag }", "missing field \"max\""),
    ] {
        let found = with("providers: []", written).unwrap_err().join("\n");
        assert!(found.contains(says), "{written}: {found}");
    }
    let mut app = app;
    app.actors[0].autoscale.as_mut().unwrap().max = 1;
    assert!(
        check(&app)[0].to_string().contains("autoscale.max (got 1, expected 2..100000)"),
        "{:?}",
        check(&app)
    );
}
