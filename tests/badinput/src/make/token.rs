//! Tokens that are nearly right, made without the signer that would refuse to make them.

use super::good;
use crate::case::Token;
use crate::desk::{self, issuer, now};
use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use keys::{KeyKind, KeyPair};
use serde_json::{Map, Value};

const HEADER: &str = r#"{"typ":"JWT","alg":"EdDSA"}"#;
/// The order of the curve's group, little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];
/// The neutral point: of order one.
const NEUTRAL: [u8; 32] =
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The token that a case describes, for the good component.
///
/// # Errors
/// The case asks for what there is not.
pub fn signed_token(token: &Token) -> Result<String> {
    let signer = issuer();
    let header = token.header.as_deref().unwrap_or(HEADER);
    let claims = claims(token, &signer)?;
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = signer.sign(message.as_bytes());
    match token.then.as_deref() {
        None => Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))),
        Some(then) => changed(&message, signature, then),
    }
}

/// The claims that the good component is signed with, as JSON, changed as the case says.
fn claims(token: &Token, signer: &KeyPair) -> Result<String> {
    let good = keys::sign_detached(&good(), &desk::request("a"), signer, now() - 60)?;
    let payload = good.split('.').nth(1).context("a token has three segments")?;
    let mut members: Map<String, Value> = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?;
    for (name, _) in &token.set {
        members.remove(name);
    }
    let kept = Value::Object(members).to_string();
    let (mut body, set) = (kept.trim_start_matches('{').to_owned(), &token.set);
    for (name, json) in set.iter().filter(|(_, json)| json != "-") {
        body = format!("{}:{},{body}", Value::from(name.as_str()), filled_keys(json));
    }
    Ok(format!("{{{}{body}", token.first.as_deref().unwrap_or_default()))
}

/// What is done to a token after it was signed.
fn changed(message: &str, signature: [u8; 64], then: &str) -> Result<String> {
    let encoded = URL_SAFE_NO_PAD.encode(signature);
    let (header, payload) = message.split_once('.').context("two segments")?;
    let raw = |signature: &[u8]| format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
    Ok(match then {
        "four segments" => format!("{message}.{encoded}.{encoded}"),
        "two segments" => message.to_owned(),
        "no segment" => String::new(),
        "padding" => format!("{message}.{encoded}=="),
        "white space" => format!("{message}.{encoded}\n"),
        "other alphabet" => {
            // Until the claims hold a character that the two alphabets write differently.
            let other = STANDARD.encode(URL_SAFE_NO_PAD.decode(payload)?);
            format!("{header}.+/{other}.{encoded}")
        }
        "trailing bits" => {
            let mut text = encoded;
            let last = text.pop().context("not empty")?;
            // 64 bytes leave four unused bits in the last character.
            text.push(char::from(u8::try_from(u32::from(last))?.wrapping_add(1)));
            format!("{message}.{text}")
        }
        "short signature" => raw(signature.get(..63).unwrap_or_default()),
        "zero signature" => raw(&[0; 64]),
        "malleable signature" => raw(&plus_order(signature)),
        "neutral signature" => raw(&[NEUTRAL, [0; 32]].concat()),
        "HS256 with the public key" => bail!("an HMAC needs no case of its own: the header is refused"),
        other => bail!("nothing called {other:?} can be done to a token"),
    })
}

/// The same signature with S + L for S: right by a lenient check.
fn plus_order(mut signature: [u8; 64]) -> [u8; 64] {
    let mut carry = 0u16;
    for (byte, order) in signature.iter_mut().skip(32).zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    signature
}

/// Public keys by name: `$NEUTRAL` and `$ZERO` are account keys that no seed leads to.
#[must_use]
pub fn filled_keys(text: &str) -> String {
    let public = |kind: KeyKind| desk::key(kind, 7).public().as_str().to_owned();
    text.replace("$NEUTRAL", &account(NEUTRAL))
        .replace("$ZERO", &account([0; 32]))
        .replace("$OPERATOR", &public(KeyKind::Operator))
        .replace("$USER", &public(KeyKind::User))
        .replace("$ACCOUNT", &public(KeyKind::Account))
        .replace("$MODULE", &public(KeyKind::Module))
        .replace("$LOWER", &public(KeyKind::Module).to_lowercase())
        .replace("$NOW", &now().to_string())
        .replace("$LATER", &(now() + 3_600).to_string())
        .replace("$HOURS_AGO", &(now() - 3 * 3_600).to_string())
        .replace("$DAYS_AGO", &(now() - 2 * 86_400).to_string())
        .replace("$DECADE", &(now() + 10 * 365 * 86_400).to_string())
}

/// An account key in NATS's text form: kind, point, CRC-16.
fn account(point: [u8; 32]) -> String {
    let mut framed = vec![0];
    framed.extend(point);
    let crc =
        framed.iter().fold(0u16, |crc, byte| {
            (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
            })
        });
    framed.extend(crc.to_le_bytes());
    data_encoding::BASE32_NOPAD.encode(&framed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unchanged_token_is_the_good_one() {
        let token = signed_token(&Token::default()).unwrap();
        let anchors = keys::TrustAnchors::new([issuer().public()].into(), Default::default()).unwrap();
        keys::verify_detached(&good(), &token, &anchors, now(), &keys::VerifyPolicy::ACTOR).unwrap();
        for text in ["$NEUTRAL", "$ZERO"] {
            filled_keys(text).parse::<keys::PublicKey>().unwrap();
        }
    }
}
