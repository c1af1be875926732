//! A document is accepted for one kind, from an allowed signer, unchanged; else refused.

use super::*;
use crate::KeyKind;
use crate::fixtures::key;
use proptest::prelude::*;

fn signer() -> KeyPair {
    key(KeyKind::Cluster, 1)
}

fn allowed() -> BTreeSet<PublicKey> {
    BTreeSet::from([signer().public()])
}

fn signed() -> Signed {
    sign_document("host-spec", b"generation 7".to_vec(), &signer()).unwrap()
}

#[test]
fn survives_json_and_opens() {
    let text = serde_json::to_string(&signed()).unwrap();
    let read: Signed = serde_json::from_str(&text).unwrap();
    let document = open("host-spec", &read, &allowed()).unwrap();
    assert_eq!(document.payload, b"generation 7");
    assert_eq!(document.signer, signer().public());
    let padded = text.replace("\"payload\":\"", "\"payload\":\"=");
    assert!(serde_json::from_str::<Signed>(&padded).is_err());
    let extra = text.replacen('{', "{\"x\":1,", 1);
    assert!(serde_json::from_str::<Signed>(&extra).is_err());
}

#[test]
fn kinds_are_separate() {
    let as_policy = open("policy", &signed(), &allowed()).unwrap_err();
    assert_eq!(as_policy.to_string(), "document: wrong kind (got \"host-spec\", expected \"policy\")");
    // Relabelled: the signature covers the kind.
    let mut relabelled = signed();
    relabelled.kind = "policy".to_owned();
    let error = open("policy", &relabelled, &allowed()).unwrap_err();
    assert!(matches!(error, DocumentError::Signature { .. }));
    // A kind cannot swallow a part of the payload.
    for kind in ["", "a\0b", "Host", "a b", &"k".repeat(65)] {
        let error = sign_document(kind, vec![], &signer()).unwrap_err();
        assert!(matches!(error, DocumentError::Kind { .. }), "{kind:?}");
    }
}

#[test]
fn strangers_and_oversized_payloads_are_refused() {
    let stranger = sign_document("host-spec", vec![], &key(KeyKind::Cluster, 2)).unwrap();
    let error = open("host-spec", &stranger, &allowed()).unwrap_err();
    assert!(matches!(error, DocumentError::SignerNotTrusted { .. }));
    let mut posing = stranger;
    posing.signer = signer().public();
    let error = open("host-spec", &posing, &allowed()).unwrap_err();
    assert!(matches!(error, DocumentError::Signature { .. }));
    let large = vec![0; MAX_DOCUMENT_BYTES + 1];
    let error = sign_document("host-spec", large, &signer()).unwrap_err();
    assert!(matches!(error, DocumentError::TooLarge { .. }));
}

proptest! {
    #[test]
    fn any_change_is_refused(payload: Vec<u8>, at: proptest::sample::Index, bit in 0..8u8) {
        let good = sign_document("policy", payload, &signer()).unwrap();
        let mut changed = good.clone();
        let place = at.index(good.payload.len() + good.signature.len());
        match place.checked_sub(good.payload.len()) {
            None => changed.payload[place] ^= 1 << bit,
            Some(place) => changed.signature[place] ^= 1 << bit,
        }
        prop_assert!(open("policy", &good, &allowed()).is_ok());
        prop_assert!(open("policy", &changed, &allowed()).is_err());
        changed = good;
        changed.signature.truncate(place % 64);
        prop_assert!(open("policy", &changed, &allowed()).is_err());
    }
}
