//! Manifests, and the projects that `new` makes.

use crate::Person;

const GOOD: &str = "\
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: shop }
spec:
  actors:
    - name: cart
      artifact: cart.wasm
      links: [{ to: http, interface: wasi:http/incoming-handler }]
  providers:
    - { name: http, kind: http-server }
";

#[test]
fn a_good_manifest_is_valid_and_a_bad_one_says_every_problem() {
    let person = Person::new();
    person.write("app.yaml", GOOD);
    let record = person.run(&["app", "validate", "app.yaml", "--output", "json"]).ok().json();
    assert_eq!(record["application"]["name"], "shop");
    person.write("app.yaml", GOOD.replace("artifact:", "artefact:").replace("to: http", "to: htp"));
    let ran = person.run(&["app", "validate", "app.yaml"]);
    assert_eq!(ran.status, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("did you mean \"artifact\"?"), "{}", ran.stderr);
    assert!(ran.stderr.contains("htp"), "{}", ran.stderr);
    assert!(
        ran.stderr.lines().all(|line| line.starts_with("E_") && line.contains("app.yaml:")),
        "{}",
        ran.stderr
    );
}

#[test]
fn what_is_no_manifest_is_refused_in_one_line() {
    let person = Person::new();
    for (content, code) in [(&b"\xff\xfea\0"[..], "E_YAML"), (b"a: &a [*a]", "E_YAML"), (b"", "E_")] {
        person.write("app.yaml", content);
        let ran = person.run(&["app", "validate", "app.yaml"]);
        assert_eq!(ran.status, 2, "{}", ran.stderr);
        assert!(ran.stderr.starts_with(code), "{}", ran.stderr);
    }
    person.run(&["app", "validate", "nowhere.yaml"]).failed(5, "E_NOT_FOUND");
    person.write("app.yaml", vec![b'#'; (1 << 20) + 1]);
    person.run(&["app", "validate", "app.yaml"]).failed(2, "E_TOO_LARGE");
}

#[test]
fn the_schema_is_json() {
    let schema = Person::new().run(&["app", "schema"]).ok().json();
    assert!(schema["$schema"].as_str().unwrap().contains("2020-12"));
}

#[test]
fn nothing_unsigned_runs() {
    let person = Person::new();
    person.write("app.yaml", GOOD);
    person.write("cart.wasm", crate::guest("http-hello"));
    let key = person.run(&["keys", "gen", "account", "--output", "json"]).ok().json();
    let line = person
        .run(&["run", "app.yaml", "--trust-issuer", key["public"].as_str().unwrap()])
        .failed(3, "E_UNSIGNED");
    assert!(line.contains("actor start failed: invalid claim: no signature"), "{line}");
}

#[test]
fn a_new_project_has_a_valid_manifest_and_never_lands_on_another() {
    let person = Person::new();
    for template in ["http-hello", "kv-counter", "messaging-echo", "persistent"] {
        let name = format!("my-{template}");
        person.run(&["new", &name, "--template", template]).ok();
        person.run(&["app", "validate", &format!("{name}/app.yaml")]).ok();
        let cargo = std::fs::read_to_string(person.path(&format!("{name}/Cargo.toml"))).unwrap();
        assert!(cargo.contains("trellis-guest = {") && !cargo.contains('@'), "{cargo}");
        person.run(&["new", &name]).failed(7, "E_CONFLICT");
    }
    person.run(&["build", "--dir", "nowhere"]).failed(5, "E_NOT_FOUND");
}
