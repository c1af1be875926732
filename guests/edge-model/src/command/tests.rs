//! One effect per command, versions that only rise, and the words for what is refused.

use super::*;

const NODE: &str = "edge-ap-east-1";

fn command(id: &str, kind: &str, version: u64, payload: &str) -> SyncCommand {
    SyncCommand {
        command_id: id.into(),
        command_type: kind.into(),
        target_node: NODE.into(),
        config_version: version,
        payload: payload.into(),
    }
}

/// The state after commands that must all be applied.
fn after(commands: &[SyncCommand]) -> NodeState {
    commands.iter().fold(NodeState::default(), |state, command| {
        let (next, outcome) = state.step(NODE, command).unwrap();
        assert_eq!(outcome, Outcome::Applied);
        next
    })
}

#[test]
fn the_command_of_the_pattern_is_read_and_logged() {
    let body = br#"{"command_id":"cmd-001","command_type":"config_update","target_node":"edge-ap-east-1","config_version":42,"payload":[]}"#;
    let parsed = parse(body).unwrap();
    assert_eq!(parsed, command("cmd-001", "config_update", 42, ""));
    assert_eq!(log_line(NODE, &parsed).unwrap(), "[edge-ap-east-1] Config update v42 received");
    let migrate = SyncCommand { target_node: "edge-2".into(), ..command("c", "actor_migrate", 1, "") };
    assert_eq!(log_line(NODE, &migrate).unwrap(), "[edge-ap-east-1] Actor migration to edge-2");
    assert_eq!(
        log_line(NODE, &command("c", "security_policy", 1, "")).unwrap(),
        "[edge-ap-east-1] Security policy synced"
    );
}

#[test]
fn a_command_delivered_a_thousand_times_has_one_effect() {
    let migrate = command("m-1", "actor_migrate", 1, "");
    let mut state = after(std::slice::from_ref(&migrate));
    for _ in 0..1_000 {
        let (next, outcome) = state.step(NODE, &migrate).unwrap();
        assert_eq!((outcome, next.pending_acks()), (Outcome::Repeated, 1));
        state = next;
    }
    // A late repetition of an old version is a repetition, not a step back.
    let first = command("a", "config_update", 1, "");
    let state = after(&[first.clone(), command("b", "config_update", 2, "")]);
    assert_eq!(state.step(NODE, &first).unwrap().1, Outcome::Repeated);
}

#[test]
fn an_id_with_other_content_is_refused() {
    let state = after(&[command("m-1", "actor_migrate", 1, "")]);
    let error = state.step(NODE, &command("m-1", "actor_migrate", 2, "")).unwrap_err();
    assert_eq!(error.to_string(), "E_ID_REUSED: command m-1: seen with other content; send it with a new id");
}

#[test]
fn versions_only_rise_and_each_has_one_content() {
    let state = after(&[command("a", "config_update", 42, r#"{"temp_threshold":50}"#)]);
    assert_eq!(state.config_version(), Some(42));
    let refused = |number, payload: &str| {
        state.step(NODE, &command("b", "config_update", number, payload)).unwrap_err()
    };
    assert_eq!(refused(41, ""), CommandError::WentBack { got: 41, have: 42 });
    assert_eq!(refused(42, ""), CommandError::Equivocation { version: 42 });
    let same = command("b", "config_update", 42, r#"{"temp_threshold":50}"#);
    assert_eq!(state.step(NODE, &same).unwrap().0.config_version(), Some(42));
    // Policies count for themselves.
    assert!(state.step(NODE, &command("p", "security_policy", 1, "")).is_ok());
}

#[test]
fn an_update_changes_only_what_it_names() {
    let state =
        after(&[command("a", "config_update", 1, r#"{"temp_threshold":50.5,"alert_enabled":false}"#)]);
    let config = state.config().apply(ActorConfig::default());
    assert_eq!(config, ActorConfig { temp_threshold: 50.5, humidity_threshold: 90.0, alert_enabled: false });
    for payload in ["{", r#"{"temp":1}"#, r#"{"temp_threshold":"hot"}"#, r#"{"temp_threshold":1e400}"#] {
        let error = state.step(NODE, &command("b", "config_update", 2, payload)).unwrap_err();
        assert!(matches!(error, CommandError::Payload { .. }), "{payload}: {error}");
    }
}

#[test]
fn commands_for_others_and_unknown_ones_are_refused() {
    let state = NodeState::default();
    let elsewhere = state.step("edge-2", &command("a", "config_update", 1, "")).unwrap_err();
    assert_eq!(
        elsewhere.to_string(),
        "target_node: edge-ap-east-1 (sent to cloud.cmd.edge-2); send it to cloud.cmd.edge-ap-east-1"
    );
    let unknown = command("a", "reboot", 1, "");
    assert_eq!(state.step(NODE, &unknown).unwrap_err().to_string(), "Unknown command: reboot");
    assert_eq!(log_line(NODE, &unknown).unwrap_err().to_string(), "Unknown command: reboot");
}

#[test]
fn what_is_no_command_is_refused() {
    let whole = r#"{"command_id":"a","command_type":"x","target_node":"n","config_version":1,"payload":[]}"#;
    assert!(parse(whole.as_bytes()).is_ok());
    for (from, to) in [
        (r#""command_id":"a","#, ""),
        (r#""a""#, r#""a.b""#),
        (r#""n""#, r#"">""#),
        (":1,", ":-1,"),
        (":1,", ":18446744073709551616,"),
        ("[]", "[256]"),
        ("[]", &"[".repeat(100_000)),
    ] {
        assert!(parse(whole.replace(from, to).as_bytes()).is_err(), "{from} -> {to:.20}");
    }
}

#[test]
fn what_is_remembered_is_bounded() {
    let many: Vec<_> =
        (0..WINDOW as u64 + 10).map(|n| command(&format!("p-{n}"), "security_policy", n, "")).collect();
    let state = after(&many);
    assert_eq!(state.seen.len(), WINDOW);
    let migrations: Vec<_> =
        (0..MAX_PENDING).map(|n| command(&format!("m-{n}"), "actor_migrate", 1, "")).collect();
    let full = after(&migrations);
    assert_eq!(
        full.step(NODE, &command("m-x", "actor_migrate", 1, "")).unwrap_err(),
        CommandError::TooManyPending
    );
}

#[test]
fn the_state_survives_storage() {
    let state = after(&[
        command("a", "config_update", 7, r#"{"humidity_threshold":60}"#),
        command("m", "actor_migrate", 1, ""),
    ]);
    let stored = serde_json::to_vec(&state).unwrap();
    assert_eq!(serde_json::from_slice::<NodeState>(&stored).unwrap(), state);
}
