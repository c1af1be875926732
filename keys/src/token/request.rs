//! The token that makes one HTTP request a user's own: a compact JWS, signed by the user's nkey over
//! the method, the target, the body's digest and the lattice, good for at most a minute and for one
//! use.
//!
//! ```text
//! header  {"typ":"trellis-request","alg":"EdDSA"}
//! claims  {"iss":"U…","aud":"<lattice>","mth":"PUT","uri":"/v1/apps/shop","dig":"sha256:…",
//!          "iat":…,"exp":…,"jti":"<nonce, 16 to 64 of A-Za-z0-9_->"}
//! ```
//! The form is as strict as that of claims about artifacts (see [`super`]), and the type in the header
//! keeps the two apart. [`RequestToken::parse`] proves nothing; [`RequestToken::verify`] does, but for
//! two things that need a memory: whether the key is a user's, and whether the nonce is a new one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use thiserror::Error;

use super::read::{Members, missing};
use super::{check_header, decode, object, segments};
use crate::digest::Digest;
use crate::error::{ClaimsError, KeyError, excerpt};
use crate::nkey::{KeyKind, KeyPair, PublicKey};
use crate::verified::Verified;

/// The longest token of a request: 4 KiB.
pub const MAX_REQUEST_TOKEN_BYTES: usize = 4 << 10;
/// The longest life of one, seconds.
pub const MAX_LIFE_S: i64 = 60;
/// How far the clocks of the two may be apart, seconds.
pub const MAX_SKEW_S: i64 = 30;

const TYPE: &str = "trellis-request";
const HEADER_JSON: &str = r#"{"typ":"trellis-request","alg":"EdDSA"}"#;
const NONCE_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// What a token is about: the request as it is sent, or as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestParts<'a> {
    /// The lattice that it is for.
    pub lattice: &'a str,
    /// `GET`, `PUT`, …
    pub method: &'a str,
    /// Path and query, as in the request line.
    pub target: &'a str,
    /// All of the body.
    pub body: &'a [u8],
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestClaims {
    /// The user's key.
    pub user: PublicKey,
    /// The lattice.
    pub lattice: String,
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Of the body.
    pub digest: Digest,
    /// When it was signed, seconds since 1970.
    pub issued_at: i64,
    /// The second from which it is refused.
    pub expires: i64,
    /// Used once.
    pub nonce: String,
}

/// Why the token of a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// It has not the form of one, or its signature does not fit.
    #[error(transparent)]
    Form(#[from] ClaimsError),
    /// It says another thing than the request that it came with.
    #[error("token is for another request: {part} (signed {signed:?}, got {got:?})")]
    Other {
        /// Which part.
        part: &'static str,
        /// What was signed, shortened.
        signed: String,
        /// What came, shortened.
        got: String,
    },
    /// It lives too long.
    #[error("token lives {life_s} s (limit {MAX_LIFE_S}); sign each request when it is sent")]
    Life {
        /// Its life, seconds.
        life_s: i64,
    },
    /// Its time is over.
    #[error("token expired {ago_s} s ago; sign each request when it is sent, and check the clock")]
    Expired {
        /// Since when, seconds.
        ago_s: i64,
    },
    /// Its time has not come.
    #[error("token is from the future ({ahead_s} s); check the clock")]
    Future {
        /// How far, seconds.
        ahead_s: i64,
    },
}

/// A token that was read and not verified.
#[derive(Clone, Debug)]
pub struct RequestToken<'a> {
    claims: RequestClaims,
    signed: &'a str,
    signature: [u8; 64],
}

/// Signs one request. `nonce` must be a new one each time.
///
/// # Errors
/// [`RequestError::Form`] for a key that is no user's or a nonce of another form,
/// [`RequestError::Life`].
pub fn sign_request(
    user: &KeyPair,
    parts: &RequestParts<'_>,
    (issued_at, expires): (i64, i64),
    nonce: &str,
) -> Result<String, RequestError> {
    let claims = RequestClaims {
        user: user.public(),
        lattice: parts.lattice.to_owned(),
        method: parts.method.to_owned(),
        target: parts.target.to_owned(),
        digest: Digest::of(parts.body),
        issued_at,
        expires,
        nonce: nonce.to_owned(),
    };
    claims.check()?;
    let payload = json!({
        "iss": claims.user, "aud": claims.lattice, "mth": claims.method, "uri": claims.target,
        "dig": claims.digest, "iat": claims.issued_at, "exp": claims.expires, "jti": claims.nonce,
    });
    let payload = URL_SAFE_NO_PAD.encode(payload.to_string());
    let signed = format!("{}.{payload}", URL_SAFE_NO_PAD.encode(HEADER_JSON));
    let signature = URL_SAFE_NO_PAD.encode(user.sign(signed.as_bytes()));
    let token = format!("{signed}.{signature}");
    check_length(&token)?;
    Ok(token)
}

fn check_length(token: &str) -> Result<(), ClaimsError> {
    if token.len() <= MAX_REQUEST_TOKEN_BYTES {
        return Ok(());
    }
    Err(ClaimsError::TokenTooLong { got: token.len(), limit: MAX_REQUEST_TOKEN_BYTES })
}

impl RequestClaims {
    fn check(&self) -> Result<(), RequestError> {
        self.user.expect_kind(KeyKind::User).map_err(|source| ClaimsError::Key { name: "iss", source })?;
        let token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if !NONCE_BYTES.contains(&self.nonce.len()) || !self.nonce.bytes().all(token) {
            let reason = "expected 16 to 64 of A-Za-z0-9_-".to_owned();
            return Err(ClaimsError::Field { name: "jti", reason }.into());
        }
        let life_s = self.expires.saturating_sub(self.issued_at);
        if !(1..=MAX_LIFE_S).contains(&life_s) {
            return Err(RequestError::Life { life_s });
        }
        Ok(())
    }
}

impl<'a> RequestToken<'a> {
    /// Reads a token strictly, without checking its signature.
    ///
    /// # Errors
    /// [`RequestError::Form`], [`RequestError::Life`].
    pub fn parse(token: &'a str) -> Result<Self, RequestError> {
        check_length(token)?;
        let [header, payload, signature] = segments(token)?;
        check_header(&decode("header", header)?, TYPE)?;
        let mut members = Members(object("claims", &decode("claims", payload)?)?);
        let signature = decode("signature", signature)?
            .try_into()
            .map_err(|_| ClaimsError::Base64 { segment: "signature" })?;
        let claims = RequestClaims {
            user: members.key("iss")?,
            lattice: members.text("aud")?,
            method: members.text("mth")?,
            target: members.text("uri")?,
            digest: members.parsed("dig")?,
            issued_at: members.seconds("iat")?.ok_or(missing("iat"))?,
            expires: members.seconds("exp")?.ok_or(missing("exp"))?,
            nonce: members.text("jti")?,
        };
        members.end()?;
        claims.check()?;
        let signed = token.get(..header.len() + 1 + payload.len()).unwrap_or_default();
        Ok(Self { claims, signed, signature })
    }

    /// Who says that it is the signer.
    #[must_use]
    pub fn user(&self) -> PublicKey {
        self.claims.user
    }

    /// Checks signature, time, and that it is about this very request.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn verify(self, parts: &RequestParts<'_>, now: i64) -> Result<Verified<RequestClaims>, RequestError> {
        let Self { claims, signed, signature } = self;
        claims.user.verify(signed.as_bytes(), &signature).map_err(|error| match error {
            KeyError::Signature { key } => ClaimsError::Signature { issuer: key },
            source => ClaimsError::Key { name: "iss", source },
        })?;
        let ahead_s = claims.issued_at.saturating_sub(now);
        if ahead_s > MAX_SKEW_S {
            return Err(RequestError::Future { ahead_s });
        }
        let ago_s = now.saturating_sub(claims.expires);
        if ago_s >= 0 {
            return Err(RequestError::Expired { ago_s });
        }
        let digest = Digest::of(parts.body);
        for (part, signed, got) in [
            ("lattice", claims.lattice.as_str(), parts.lattice),
            ("method", claims.method.as_str(), parts.method),
            ("target", claims.target.as_str(), parts.target),
            ("body", claims.digest.hex().as_str(), digest.hex().as_str()),
        ] {
            if signed != got {
                return Err(RequestError::Other { part, signed: excerpt(signed), got: excerpt(got) });
            }
        }
        Ok(Verified::new(claims))
    }
}

#[cfg(test)]
mod tests;
