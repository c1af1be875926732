//! The strict compact JWS that carries claims: `header.claims.signature`.
//!
//! There is one algorithm and one form. The header must say exactly `{"typ":"JWT","alg":"EdDSA"}`
//! in any order; nothing in it can choose a key or a check. Length is checked before anything is
//! allocated, base64url must be canonical, JSON keys unique, times whole seconds, and claims that
//! we do not know are refused, as they may restrict what we would then grant.
//!
//! A parsed token proves nothing: only `verify` turns one into [`crate::Verified`].

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::claims::Claims;
use crate::error::{ClaimsError, KeyError, excerpt};
use crate::json::{self, Fields, Json, JsonError};
use crate::nkey::KeyPair;

mod read;
pub mod request;

/// The longest token: 16 KiB.
pub const MAX_TOKEN_BYTES: usize = 16 << 10;

const ALGORITHM: &str = "EdDSA";
/// How we write the header; other orders of the two members are read as well.
const HEADER_JSON: &str = r#"{"typ":"JWT","alg":"EdDSA"}"#;

/// A token that was read and not verified.
#[derive(Clone, Debug)]
pub struct Unverified<'a> {
    /// What the token says.
    pub claims: Claims,
    /// The bytes that the signature covers.
    pub(crate) signed: &'a str,
    pub(crate) signature: [u8; 64],
}

/// Signs claims. The key must be the issuer's; `jti` is replaced by one derived from the rest, so
/// that signing is deterministic.
pub fn sign(claims: &Claims, issuer: &KeyPair) -> Result<String, ClaimsError> {
    let mut claims = claims.clone();
    if claims.issuer != issuer.public() {
        return Err(ClaimsError::Signature { issuer: claims.issuer });
    }
    claims.jti = "-".to_owned();
    claims.jti = identify(&encode(&claims));
    claims.check()?;
    let header = URL_SAFE_NO_PAD.encode(HEADER_JSON);
    let payload = URL_SAFE_NO_PAD.encode(encode(&claims).to_string());
    let signed = format!("{header}.{payload}");
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()));
    let token = format!("{signed}.{signature}");
    check_length(token.as_bytes())?;
    Ok(token)
}

/// Reads a token strictly, without checking its signature: for `inspect`, and as the first step
/// of verification.
pub fn parse(token: &str) -> Result<Unverified<'_>, ClaimsError> {
    check_length(token.as_bytes())?;
    let [header, payload, signature] = segments(token)?;
    check_header(&decode("header", header)?, "JWT")?;
    let fields = object("claims", &decode("claims", payload)?)?;
    let signature = decode("signature", signature)?
        .try_into()
        .map_err(|_| ClaimsError::Base64 { segment: "signature" })?;
    let claims = read::claims(fields)?;
    claims.check()?;
    let signed = token.get(..header.len() + 1 + payload.len());
    Ok(Unverified { claims, signed: signed.unwrap_or_default(), signature })
}

impl Unverified<'_> {
    /// Checks the signature by the key that the claims name as issuer. Whether that issuer is
    /// trusted must have been decided before.
    pub(crate) fn check_signature(&self) -> Result<(), ClaimsError> {
        self.claims.issuer.verify(self.signed.as_bytes(), &self.signature).map_err(|error| match error {
            KeyError::Signature { key } => ClaimsError::Signature { issuer: key },
            source => ClaimsError::Key { name: "iss", source },
        })
    }
}

/// Refuses a token that is too long, before anything looks at it.
pub(crate) fn check_length(token: &[u8]) -> Result<(), ClaimsError> {
    if token.len() <= MAX_TOKEN_BYTES {
        return Ok(());
    }
    Err(ClaimsError::TokenTooLong { got: token.len(), limit: MAX_TOKEN_BYTES })
}

/// Reads the claims segment of another system's token, leniently and without trust.
pub(crate) fn read_foreign(token: &str) -> Option<Value> {
    const MAX_FOREIGN_BYTES: usize = 64 << 10;
    if token.len() > MAX_FOREIGN_BYTES {
        return None;
    }
    let payload = token.split('.').nth(1)?;
    let raw = URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice(&raw).ok()
}

fn segments(token: &str) -> Result<[&str; 3], ClaimsError> {
    let mut parts = token.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(payload), Some(signature), None) => Ok([header, payload, signature]),
        _ => Err(ClaimsError::Segments { got: token.split('.').count() }),
    }
}

/// This engine refuses padding, other alphabets, white space and trailing bits.
fn decode(segment: &'static str, text: &str) -> Result<Vec<u8>, ClaimsError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| ClaimsError::Base64 { segment })
}

fn object(segment: &'static str, bytes: &[u8]) -> Result<Fields, ClaimsError> {
    json::parse_object(bytes).map_err(|error| match error {
        JsonError::Syntax(reason) => ClaimsError::Json { segment, reason },
        JsonError::Duplicate(key) => ClaimsError::DuplicateKey { segment, key: excerpt(&key) },
    })
}

fn check_header(bytes: &[u8], typ: &'static str) -> Result<(), ClaimsError> {
    let mut fields = match object("header", bytes) {
        Err(ClaimsError::DuplicateKey { key, .. }) if key == "alg" => {
            let got = "given twice".to_owned();
            return Err(ClaimsError::Algorithm { got });
        }
        fields => fields?,
    };
    match fields.remove("alg") {
        Some(Json::Text(alg)) if alg == ALGORITHM => {}
        Some(Json::Text(alg)) => return Err(ClaimsError::Algorithm { got: excerpt(&alg) }),
        Some(_) | None => return Err(ClaimsError::Algorithm { got: String::new() }),
    }
    if fields.remove("typ") != Some(Json::Text(typ.to_owned())) {
        return Err(ClaimsError::HeaderType { expected: typ });
    }
    match fields.into_keys().next() {
        Some(name) => Err(ClaimsError::HeaderField { name: excerpt(&name) }),
        None => Ok(()),
    }
}

/// The claims' JSON. `read::claims` is its inverse.
fn encode(claims: &Claims) -> Value {
    let mut payload = json!({
        "iss": claims.issuer,
        "sub": claims.subject,
        "iat": claims.issued_at,
        "jti": claims.jti,
        "name": claims.name,
        "version": claims.version,
        "revision": claims.revision,
        "capabilities": claims.capabilities,
        "digest": claims.digest,
    });
    if let Value::Object(members) = &mut payload {
        let optional = [
            ("nbf", claims.not_before.map(Value::from)),
            ("exp", claims.expires.map(Value::from)),
            ("alias", claims.alias.clone().map(Value::from)),
            ("tags", (!claims.tags.is_empty()).then(|| json!(claims.tags))),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                members.insert(name.to_owned(), value);
            }
        }
    }
    payload
}

/// A short name for a statement: the first half of its SHA-256.
fn identify(payload: &Value) -> String {
    let hash = Sha256::digest(payload.to_string());
    hash.iter().take(16).map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests;
