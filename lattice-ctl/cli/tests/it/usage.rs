//! Help, completions, usage errors, keys, contexts.

use crate::{Person, mode};

#[test]
fn every_command_has_help_and_every_flag_a_word() {
    let person = Person::new();
    let top = person.run(&["--help"]).ok().stdout;
    for noun in [
        "lattice",
        "host",
        "controller",
        "provider",
        "run",
        "dev",
        "new",
        "build",
        "inspect",
        "claim",
        "keys",
        "app",
        "get",
        "start",
        "stop",
        "scale",
        "link",
        "call",
        "push",
        "pull",
        "config",
        "doctor",
        "completions",
        "version",
    ] {
        assert!(top.contains(&format!("\n  {noun} ")), "{noun} is not in:\n{top}");
        let help = person.run(&[noun, "--help"]).ok().stdout;
        assert!(help.contains("Usage: trellis"), "{help}");
    }
    let link = person.run(&["link", "put", "--help"]).ok().stdout;
    for flag in ["--bucket", "--region", "--port", "--timeout", "--retry-count", "--retry-delay"] {
        assert!(link.contains(flag), "{flag}");
    }
}

#[test]
fn a_misspelt_command_is_a_usage_error_with_a_suggestion() {
    let ran = Person::new().run(&["ap", "list"]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("similar"), "{}", ran.stderr);
}

#[test]
fn completions_are_a_script_that_knows_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = Person::new().run(&["completions", shell]).ok().stdout;
        assert!(script.contains("trellis") && script.contains("completions"), "{shell}");
    }
}

#[test]
fn a_made_key_is_secret_and_shown_only_by_its_public_half() {
    let person = Person::new();
    let made = person.run(&["keys", "gen", "account", "--name", "mine", "--output", "json"]).ok();
    let record = made.json();
    let path = person.path("home/keys/mine.nk");
    assert_eq!(mode(&path), 0o600);
    let seed = std::fs::read_to_string(&path).unwrap();
    assert!(record["public"].as_str().unwrap().starts_with('A') && record["kind"] == "account");
    assert!(!made.stdout.contains(seed.trim()) && !made.stderr.contains(seed.trim()));
    let listed = person.run(&["keys", "list", "--output", "json"]).ok().json();
    assert_eq!(listed[0]["public"], record["public"]);
    let again = person.run(&["keys", "gen", "account", "--name", "mine"]);
    again.failed(8, "E_IO");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), seed, "a key was overwritten");
    let shown = person.run(&["keys", "inspect", path.to_str().unwrap(), "--output", "json"]).ok().json();
    assert_eq!(shown["public"], record["public"]);
}

#[test]
fn a_key_that_others_can_read_is_refused_and_doctor_says_so() {
    use std::os::unix::fs::PermissionsExt;
    let person = Person::new();
    person.run(&["keys", "gen", "module", "--name", "open"]).ok();
    let path = person.path("home/keys/open.nk");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let line = person.run(&["keys", "inspect", path.to_str().unwrap()]).failed(4, "E_DENIED");
    assert!(line.contains("chmod 600"), "{line}");
    let doctor = person.run(&["doctor", "--nats-url", "nats://127.0.0.1:1", "--output", "json"]);
    let checks = doctor.json();
    let keys = checks.as_array().unwrap().iter().find(|check| check["what"] == "keys").unwrap();
    assert_eq!(keys["ok"], false);
    doctor.failed_as_json("E_CONFIG");
}

#[test]
fn a_seed_given_as_a_key_is_not_repeated() {
    let person = Person::new();
    let seed = "SAAELGKQZPTZ7N3CJIXQ4XKXIAXWRA7B3QN5BZ7V2F2UQWKQ4N7QZ5VYVU";
    let ran = person.run(&["keys", "inspect", seed]);
    assert!(!ran.stderr.contains(seed) && !ran.stdout.contains(seed));
    ran.failed(2, "E_USAGE");
}

#[test]
fn a_context_is_saved_selected_and_used() {
    let person = Person::new();
    person.run(&["config", "set", "lab", "--nats-url", "nats://10.0.0.1:4222", "--lattice", "lab"]).ok();
    let now = person.run(&["config", "get", "--output", "json"]).ok().json();
    assert_eq!(
        (now["lattice"].as_str(), now["natsUrl"].as_str()),
        (Some("lab"), Some("nats://10.0.0.1:4222"))
    );
    let flag = person.run(&["config", "get", "--lattice", "other", "--output", "json"]).ok().json();
    assert_eq!(flag["lattice"], "other", "flags come first");
    person.run(&["config", "use", "nowhere"]).failed(5, "E_NOT_FOUND");
    person.run(&["config", "set", "../x", "--lattice", "a"]).failed(2, "E_NAME");
    person.run(&["config", "set", "empty"]).failed(2, "E_USAGE");
}

#[test]
fn a_server_that_is_not_there_is_said_in_the_words_of_the_seed() {
    let line =
        Person::new().run(&["get", "hosts", "--nats-url", "nats://127.0.0.1:1"]).failed(8, "E_CONNECTION");
    assert!(line.contains("NATS: connection refused"), "{line}");
}

impl crate::Ran {
    #[track_caller]
    fn failed_as_json(self, code: &str) {
        let last = self.stderr.lines().last().unwrap_or_default();
        let report: serde_json::Value = serde_json::from_str(last).unwrap_or_default();
        assert_eq!(report["code"], code, "{}", self.stderr);
        assert_ne!(self.status, 0);
    }
}
