//! Rows 42 and 43 of BAD_INPUT.md, anchors' checks, and what is written to disk.

use super::*;
use crate::fixtures::{NOW, anchors, component, issuer, key, request, signed};
use crate::{ClaimRequest, VerifyPolicy, sign_component, verify};

fn verified(revision: u64, file: &[u8]) -> Verified<Claims> {
    let request = ClaimRequest { revision, ..request() };
    let file = sign_component(file, &request, &issuer(), NOW).unwrap();
    verify(&file, &anchors(), NOW, &VerifyPolicy::ACTOR).unwrap()
}

#[test]
fn older_and_equivocating_revisions_are_refused() {
    let mut seen = HighWater::default();
    let mut other = component();
    other.extend(crate::fixtures::custom("x", b"y"));
    assert_eq!(seen.admit(&verified(7, &component())), Ok(true));
    assert_eq!(seen.admit(&verified(7, &component())), Ok(false));
    let rollback = seen.admit(&verified(6, &component())).unwrap_err();
    assert_eq!(rollback.code(), "E_ROLLBACK");
    assert!(rollback.to_string().ends_with("have 7"), "{rollback}");
    let other_file = seen.admit(&verified(7, &other)).unwrap_err();
    assert_eq!(other_file.code(), "E_EQUIVOCATION");
    assert_eq!(seen.mark(request().subject).unwrap().revision, 7);
    assert_eq!(seen.admit(&verified(8, &other)), Ok(true));
    assert_eq!(seen.admit(&verified(7, &component())).unwrap_err().code(), "E_ROLLBACK");
}

#[test]
fn marks_survive_a_restart() {
    let mut seen = HighWater::default();
    seen.admit(&verified(7, &component())).unwrap();
    let text = serde_json::to_string(&seen).unwrap();
    let again: HighWater = serde_json::from_str(&text).unwrap();
    assert_eq!(again, seen);
    assert!(again.check(request().subject, 6, Digest::of(b"")).is_err());
    assert!(serde_json::from_str::<HighWater>(r#"{"M1":{"revision":1,"digest":"x"}}"#).is_err());
}

#[test]
fn anchors_are_accounts() {
    for kind in [KeyKind::Operator, KeyKind::Module, KeyKind::User] {
        let wrong = BTreeSet::from([key(kind, 1).public()]);
        assert!(TrustAnchors::new(wrong.clone(), BTreeMap::new()).is_err());
        let text = serde_json::json!({ "issuers": wrong });
        let error = serde_json::from_value::<TrustAnchors>(text).unwrap_err();
        assert!(error.to_string().contains("wrong kind"), "{error}");
    }
    let text = serde_json::to_string(&anchors()).unwrap();
    assert_eq!(serde_json::from_str::<TrustAnchors>(&text).unwrap(), anchors());
    let unknown = r#"{"issuers":[],"extra":1}"#;
    assert!(serde_json::from_str::<TrustAnchors>(unknown).is_err());
}

#[test]
fn no_anchors_trust_no_one_and_revocation_keeps_its_time() {
    let none = TrustAnchors::default();
    let error = verify(&signed(), &none, NOW, &VerifyPolicy::ACTOR).unwrap_err();
    assert!(matches!(error, ClaimsError::IssuerNotTrusted { .. }));
    let mut anchors = anchors();
    anchors.revoke(issuer().public(), 20);
    anchors.revoke(issuer().public(), 30);
    anchors.revoke(issuer().public(), 10);
    assert_eq!(anchors.revoked()[&issuer().public()], 10);
}
