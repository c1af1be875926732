//! Small components, keys and claims for this crate's tests.

use std::collections::{BTreeMap, BTreeSet};

use crate::{ClaimRequest, KeyKind, KeyPair, TrustAnchors, sign_component};

/// 2026-01-01T00:00:00Z.
pub(crate) const NOW: i64 = 1_767_225_600;

pub(crate) fn key(kind: KeyKind, number: u8) -> KeyPair {
    KeyPair::from_entropy(kind, [number; 32])
}

pub(crate) fn issuer() -> KeyPair {
    key(KeyKind::Account, 1)
}

pub(crate) fn anchors() -> TrustAnchors {
    TrustAnchors::new(BTreeSet::from([issuer().public()]), BTreeMap::new()).unwrap()
}

/// A custom section with lengths below 128.
pub(crate) fn custom(name: &str, content: &[u8]) -> Vec<u8> {
    let size = 1 + name.len() + content.len();
    assert!(size < 128);
    let mut section = vec![0, size as u8, name.len() as u8];
    section.extend_from_slice(name.as_bytes());
    section.extend_from_slice(content);
    section
}

/// A component: the preamble, an inner core module, and a custom section.
pub(crate) fn component() -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    module.extend(custom("name", b"inner"));
    let mut file = b"\0asm\x0d\0\x01\0".to_vec();
    file.extend([1, module.len() as u8]);
    file.extend(module);
    file.extend(custom("producers", b"tests"));
    file
}

pub(crate) fn request() -> ClaimRequest {
    ClaimRequest {
        capabilities: ["wasi:keyvalue/store".to_owned()].into(),
        expires: Some(NOW + 86_400),
        ..ClaimRequest::new(key(KeyKind::Module, 2).public(), "edge-processor")
    }
}

pub(crate) fn signed() -> Vec<u8> {
    sign_component(&component(), &request(), &issuer(), NOW).unwrap()
}
