//! Verification end to end: rows 17, 23–25, 32–34, 38, 40 and 44 of BAD_INPUT.md, and promise P13:
//! no changed file is accepted, whichever bit was changed.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::fixtures::{NOW, anchors, component, issuer, key, request, signed};
use crate::{ClaimRequest, KeyPair, PublicKey, sign_component, sign_detached};
use proptest::prelude::*;

fn refusal(file: &[u8]) -> ClaimsError {
    verify(file, &anchors(), NOW, &VerifyPolicy::ACTOR).unwrap_err()
}

fn signed_by(issuer: &KeyPair, request: &ClaimRequest) -> Vec<u8> {
    sign_component(&component(), request, issuer, NOW).unwrap()
}

#[test]
fn a_signed_file_is_accepted() {
    let verified = verify(&signed(), &anchors(), NOW, &VerifyPolicy::ACTOR).unwrap();
    assert_eq!(verified.issuer, issuer().public());
    assert_eq!(verified.digest, Digest::of(&component()));
    assert!(verified.may_use("wasi:keyvalue/store@0.2.0-draft"));
    assert!(!verified.may_use("wasi:http/outgoing-handler@0.2.3"));
}

#[test]
fn signing_again_replaces() {
    let twice = sign_component(&signed(), &request(), &issuer(), NOW).unwrap();
    assert_eq!(twice, signed());
}

#[test]
fn unsigned_and_nested_claims_are_no_signature() {
    let error = refusal(&component());
    assert_eq!(error.code(), "E_UNSIGNED");
    assert!(error.to_string().starts_with("no signature"));
    // A whole signed component nested in another: its claims are not the outer's.
    let inner = signed();
    let mut outer = component()[..8].to_vec();
    outer.push(4);
    outer.extend([(inner.len() & 0x7f) as u8 | 0x80, (inner.len() >> 7) as u8]);
    outer.extend(inner);
    assert_eq!(refusal(&outer), ClaimsError::Unsigned);
}

#[test]
fn an_untrusted_issuer_is_named() {
    let stranger = key(KeyKind::Account, 9);
    let error = refusal(&signed_by(&stranger, &request()));
    let words = format!("issuer {} not trusted", stranger.public());
    assert!(error.to_string().starts_with(&words), "{error}");
    // The trusted issuer's name over a stranger's signature.
    let token = sign_detached(&component(), &request(), &stranger, NOW).unwrap();
    let real = sign_detached(&component(), &request(), &issuer(), NOW).unwrap();
    let (body, _) = real.rsplit_once('.').unwrap();
    let (_, signature) = token.rsplit_once('.').unwrap();
    let forged = section::embed(&component(), &format!("{body}.{signature}"), 1 << 20).unwrap();
    let error = refusal(&forged);
    let issuer = issuer().public();
    assert_eq!(error, ClaimsError::Signature { issuer });
}

#[test]
fn changed_code_is_a_digest_mismatch() {
    let mut file = signed();
    file[20] ^= 1;
    let text = refusal(&file).to_string();
    assert!(text.starts_with("digest mismatch (signed "), "{text}");
    assert!(text.contains(".., file "), "{text}");
}

#[test]
fn expired_and_early_claims_are_refused() {
    let at = |now| verify(&signed(), &anchors(), now, &VerifyPolicy::ACTOR).unwrap_err();
    let text = at(NOW + 86_400 + 3 * 3_600).to_string();
    assert!(text.starts_with("expired 3 h ago (2026-01-02T"), "{text}");
    let text = at(NOW - 3_600).to_string();
    assert!(text.starts_with("valid from 2026-01-01T00:00:00Z; check this host's clock"), "{text}");
}

#[test]
fn revoked_keys_start_nothing() {
    for revoked in [issuer().public(), request().subject] {
        let mut anchors = anchors();
        anchors.revoke(revoked, NOW + 5);
        let error = verify(&signed(), &anchors, NOW, &VerifyPolicy::ACTOR).unwrap_err();
        assert_eq!(error.code(), "E_REVOKED");
        assert!(error.to_string().starts_with("key revoked 2026-01-01T00:00:05Z"), "{error}");
    }
}

#[test]
fn weak_issuer_keys_prove_nothing() {
    // The identity point: with R = identity and S = 0 the plain equation holds for any message.
    let weak: PublicKey =
        "AAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEHT".parse().unwrap_or_else(|_| weak_key());
    let anchors = TrustAnchors::new(BTreeSet::from([weak]), BTreeMap::new()).unwrap();
    let real = sign_detached(&component(), &request(), &issuer(), NOW).unwrap();
    let claims = real.split('.').nth(1).unwrap();
    let json = String::from_utf8(base64(claims)).unwrap();
    let json = json.replace(issuer().public().as_str(), weak.as_str());
    let mut signature = [0; 64];
    signature[0] = 1;
    let token =
        format!("{}.{}.{}", real.split('.').next().unwrap(), encode(json.as_bytes()), encode(&signature));
    let error = verify_detached(&component(), &token, &anchors, NOW, &VerifyPolicy::ACTOR);
    assert_eq!(error.unwrap_err(), ClaimsError::Signature { issuer: weak });
}

fn weak_key() -> PublicKey {
    // Found by encoding the raw point, since no seed leads to it.
    let raw: [u8; 32] = std::array::from_fn(|i| u8::from(i == 0));
    let mut framed = vec![0u8];
    framed.extend(raw);
    let crc =
        framed.iter().fold(0u16, |crc, byte| {
            (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
            })
        });
    framed.extend(crc.to_le_bytes());
    data_encoding::BASE32_NOPAD.encode(&framed).parse().unwrap()
}

fn encode(bytes: &[u8]) -> String {
    data_encoding::BASE64URL_NOPAD.encode(bytes)
}

fn base64(text: &str) -> Vec<u8> {
    data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()
}

#[test]
fn detached_claims_serve_components_and_providers() {
    let token = sign_detached(&component(), &request(), &issuer(), NOW).unwrap();
    let check = |file: &[u8], token: &str, policy: &VerifyPolicy| {
        verify_detached(file, token, &anchors(), NOW, policy).map(|v| v.subject)
    };
    let subject = request().subject;
    assert_eq!(check(&component(), &token, &VerifyPolicy::ACTOR), Ok(subject));
    assert_eq!(check(&signed(), &token, &VerifyPolicy::ACTOR), Ok(subject));

    let provider = key(KeyKind::Provider, 3).public();
    let binary = b"\x7fELF any native binary";
    let token = sign_detached(binary, &ClaimRequest::new(provider, "redis"), &issuer(), NOW).unwrap();
    assert_eq!(check(binary, &token, &VerifyPolicy::PROVIDER), Ok(provider));
    let mismatch = check(b"\x7fELF another binary", &token, &VerifyPolicy::PROVIDER);
    assert!(matches!(mismatch, Err(ClaimsError::DigestMismatch { .. })));
    // A provider's claims never start an actor, nor an actor's a provider.
    let file = component();
    let as_provider = sign_detached(&file, &ClaimRequest::new(provider, "p"), &issuer(), NOW).unwrap();
    let as_actor = sign_detached(&file, &request(), &issuer(), NOW).unwrap();
    for (token, policy) in [(as_provider, VerifyPolicy::ACTOR), (as_actor, VerifyPolicy::PROVIDER)] {
        let error = check(&file, &token, &policy).unwrap_err().to_string();
        assert!(error.starts_with("claim sub: nkey: wrong kind"), "{error}");
    }
    assert_eq!(check(b"", "", &VerifyPolicy::PROVIDER), Err(ClaimsError::Empty));
}

#[test]
fn only_components_get_embedded_claims() {
    let provider = ClaimRequest::new(key(KeyKind::Provider, 3).public(), "p");
    assert!(sign_component(&component(), &provider, &issuer(), NOW).is_err());
    let user = ClaimRequest::new(key(KeyKind::User, 3).public(), "u");
    assert!(sign_detached(&component(), &user, &issuer(), NOW).is_err());
    let operator = key(KeyKind::Operator, 1);
    assert!(sign_component(&component(), &request(), &operator, NOW).is_err());
}

/// P13, exhaustively: every bit of a signed file.
#[test]
fn no_flipped_bit_is_accepted() {
    let good = signed();
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut file = good.clone();
            file[at] ^= 1 << bit;
            let result = verify(&file, &anchors(), NOW, &VerifyPolicy::ACTOR);
            assert!(result.is_err(), "bit {bit} of byte {at} may be changed");
        }
    }
}

#[test]
fn no_truncated_or_lengthened_file_is_accepted() {
    let good = signed();
    for length in 0..good.len() {
        assert!(verify(&good[..length], &anchors(), NOW, &VerifyPolicy::ACTOR).is_err());
    }
    for byte in 0..=255 {
        let mut file = good.clone();
        file.push(byte);
        assert_eq!(refusal(&file).code(), "E_TRAILING");
    }
}

proptest! {
    /// P13 with other values than flipped bits, and bytes put in or taken out.
    #[test]
    fn no_other_byte_is_accepted(at: proptest::sample::Index, value: u8, how in 0..3u8) {
        let good = signed();
        let mut file = good.clone();
        let at = at.index(file.len());
        match how {
            0 => file[at] = value,
            1 => file.insert(at, value),
            _ => drop(file.remove(at)),
        }
        let result = verify(&file, &anchors(), NOW, &VerifyPolicy::ACTOR);
        prop_assert_eq!(result.is_ok(), file == good);
    }
}
