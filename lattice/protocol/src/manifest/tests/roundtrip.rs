//! Laws: what is rendered reads back the same, and no text makes the reader panic.

use super::EDGE;
use crate::manifest::{Application, Scale, parse, parse_bytes, render};
use proptest::prelude::*;

#[test]
fn a_rendered_manifest_shows_patience_and_hides_defaults() {
    let app = parse(
        "{apiVersion: trellis.dev/v1, kind: Application, metadata: {name: a}, spec: {actors: [\
         {name: x, artifact: x.wasm, config: {code: '012'}, links: [{to: kv, interface: 'wasi:keyvalue'}]}], \
         providers: [{name: kv, kind: keyvalue-embedded, config: {password: {secretRef: p}}}]}}",
        "a.yaml",
    )
    .unwrap();
    let expected = "\
apiVersion: trellis.dev/v1
kind: Application
metadata:
  name: a
spec:
  actors:
    - name: x
      artifact: x.wasm
      replicas: 1
      config:
        code: \"012\"
      links:
        - to: kv
          interface: wasi:keyvalue
          name: default
          timeoutMs: 5000
          retries: 3
          retryDelayMs: 1000
  providers:
    - name: kv
      kind: keyvalue-embedded
      config:
        password: { secretRef: p }
";
    assert_eq!(render(&app), expected);
}

#[test]
fn everything_there_is_reads_back() {
    let app = parse(EDGE, "edge.yaml").unwrap();
    assert_eq!(parse(&render(&app), "again.yaml").unwrap(), app);
    let mut empty = app;
    empty.actors.clear();
    empty.providers.clear();
    assert_eq!(parse(&render(&empty), "again.yaml").unwrap(), empty);
}

fn with_texts(key: &str, value: &str, replicas: u32) -> Application {
    let mut app = parse(EDGE, "edge.yaml").unwrap();
    app.description = value.to_owned();
    app.labels.insert(key.to_owned(), value.to_owned());
    app.actors[0].config.insert(format!("x{key}"), value.to_owned());
    app.actors[0].scale = Scale::Replicas(replicas);
    app.actors[0].links[0].grants.key_prefixes = vec![format!("p{value}")];
    app
}

proptest! {
    #[test]
    fn any_text_reads_back(
        key in "[^=\\x00-\\x1f\\x7f-\\x9f]{1,20}",
        value in "[^\\x00]{0,30}",
        replicas in 0..=100_000_u32,
    ) {
        let app = with_texts(&key, &value, replicas);
        let text = render(&app);
        let back = parse(&text, "again.yaml");
        prop_assert_eq!(back.as_ref(), Ok(&app), "{}", text);
    }

    #[test]
    fn words_that_mean_something_read_back(
        value in "(no|yes|true|null|~|012|1_000|-?[0-9]{1,3}(\\.[0-9]{1,2})?|\\.inf|[-?:,#&*!|>'%@`{}\\[\\]\" ]{1,3}[a-z]{0,2})"
    ) {
        let app = with_texts(&value.replace('=', ""), &value, 1);
        prop_assert_eq!(parse(&render(&app), "again.yaml"), Ok(app));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_bytes(&bytes, "x");
    }

    #[test]
    fn damage_is_reported_and_never_panics(at: proptest::sample::Index, with in "[-:,#&*!|>'%@{}\\[\\]\" a0\\n\\t]{1,4}") {
        let mut text = EDGE.to_owned();
        let at = at.index(text.len());
        text.insert_str(at, &with);
        if let Err(reports) = parse(&text, "edge.yaml") {
            prop_assert!(!reports.is_empty());
            for report in reports {
                prop_assert!(report.to_string().contains("edge.yaml"), "{}", report);
            }
        }
    }
}
