//! The runner can fail: each rule of [`judge`], broken once by the real binary.

use tests_badinput::command::trellis;
use tests_badinput::desk::{self, Desk};
use tests_badinput::{Expect, Outcome, judge};

/// A refusal as it should be: an empty file.
fn refused() -> Outcome {
    let desk = Desk::new().unwrap();
    desk.write("app.wasm", "").unwrap();
    trellis(desk.path(), "inspect app.wasm", &[]).unwrap()
}

fn good() -> Expect {
    Expect {
        code: Some("E_ARTIFACT_EMPTY".into()),
        status: Some("2".into()),
        line: Some("0 bytes".into()),
        ..Expect::default()
    }
}

#[test]
fn a_good_refusal_is_green_and_each_broken_rule_is_red() {
    let outcome = refused();
    assert_eq!(judge(&good(), &outcome, &[]), Vec::<String>::new());
    let expecting = |change: fn(&mut Expect)| {
        let mut expect = good();
        change(&mut expect);
        judge(&expect, &outcome, &desk::secrets()).join("; ")
    };
    assert_eq!(expecting(|expect| expect.code = Some("E_MALFORMED".into())), "code E_MALFORMED is missing");
    assert_eq!(expecting(|expect| expect.status = Some("3|4".into())), "status 2 (expected 3|4)");
    assert!(expecting(|expect| expect.line = Some("9 bytes".into())).starts_with("line does not match"));
    assert!(expecting(|expect| expect.max_ms = Some(0)).starts_with("took "));
    let becoming = |change: fn(&mut Outcome)| {
        let mut outcome = outcome.clone();
        change(&mut outcome);
        judge(&good(), &outcome, &desk::secrets()).join("; ")
    };
    assert_eq!(becoming(|outcome| outcome.status = None), "ended by a signal");
    assert!(becoming(|outcome| outcome.status = Some(3)).contains("does not follow from E_ARTIFACT_EMPTY"));
    assert!(becoming(|outcome| outcome.status = Some(0)).contains("with exit status 0"));
    assert!(becoming(|outcome| outcome.said.push_str("Segmentation fault")).contains("neither a report"));
    assert!(becoming(|outcome| outcome.aside = "thread 'main' panicked at x".into()).contains("panicked"));
    assert!(becoming(|outcome| outcome.said = "E_INTERNAL: a bug".into()).contains("blames us"));
    assert!(becoming(|outcome| outcome.said = "no code".into()).contains("failed without a code"));
    let secret = |outcome: &mut Outcome| outcome.aside = format!("log: {}", desk::CANARY);
    assert_eq!(becoming(secret), "a secret was shown");
    let grown = Expect { max_mib: Some(1), ..good() };
    let grew = Outcome { grew_kib: 1 << 20, ..outcome.clone() };
    assert_eq!(judge(&grown, &grew, &[]), ["took 1048576 KiB of memory (limit 1 MiB)"]);
}

#[test]
fn memory_is_measured() {
    let desk = Desk::new().unwrap();
    desk.write("app.wasm", vec![0; 30 << 20]).unwrap();
    let outcome = trellis(desk.path(), "inspect app.wasm", &[]).unwrap();
    assert!(outcome.grew_kib > 10 << 10, "a file of 30 MiB was read within {} KiB", outcome.grew_kib);
}
