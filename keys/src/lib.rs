//! Identities (nkeys), signed claims inside components, and strict verification.
//!
//! Nothing in the lattice runs unsigned. This crate says what a signature is: which bytes it
//! covers, how it is encoded, and every reason for which it is refused. It is pure: it has no
//! clock, no random numbers, no files and no sockets. Time and entropy are arguments, so each
//! refusal can be tested at the second at which it begins.
//!
//! - [`nkey`]: key pairs and public keys in NATS' text form.
//! - [`digest`]: SHA-256 of an artifact, `sha256:<hex>`.
//! - [`section`]: a bounded walk over a component's section headers; finds and places the claims.
//! - [`claims`]: what an issuer says about an artifact, and which interfaces it may ever use.
//! - [`token`]: the strict compact JWS that carries claims, and the one that a person signs a single
//!   request to the controllers' API with ([`token::request`]).
//! - [`sign`]: makes claims for a file. [`verify`](mod@verify): checks them against a host's trust anchors.
//! - [`trust`]: anchors, revocations, and the high-water mark against rollback.
//! - [`seal`]: secrets that only the hosts they are meant for can open.
//! - [`document`]: signed documents (host specs, policies, placements).
//! - [`nats`]: NATS' own decentralised JWTs, credentials files and resolver configuration.
//! - [`error`]: every refusal, with its stable code.
//!
//! Invariants: [`Verified`] is made only by a successful verification; verification happens
//! before anything else parses the file; no secret is ever part of a `Debug` or an error text.

pub mod claims;
mod date;
pub mod digest;
pub mod document;
pub mod error;
mod json;
pub mod nats;
pub mod nkey;
pub mod seal;
pub mod section;
pub mod sign;
pub mod token;
pub mod trust;
mod verified;
pub mod verify;

pub use claims::{Claims, contract_of};
pub use date::format_utc;
pub use digest::Digest;
pub use document::{Document, DocumentError, Signed, open, sign_document};
pub use error::{ClaimsError, KeyError};
pub use json::read_object;
pub use nkey::{KeyKind, KeyPair, PublicKey};
pub use seal::{CurveKey, CurvePublic, SealError, Sealed};
pub use section::{embed, foreign_claims, split};
pub use sign::{ClaimRequest, sign_component, sign_detached};
pub use token::request::{RequestClaims, RequestError, RequestParts, RequestToken, sign_request};
pub use trust::{HighWater, TrustAnchors};
pub use verified::Verified;
pub use verify::{VerifyPolicy, verify, verify_detached};

#[cfg(test)]
mod fixtures;
