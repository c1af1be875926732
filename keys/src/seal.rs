//! Secrets that only the hosts they are meant for can open, wherever they are kept.
//!
//! A value is encrypted once under a random key of its own (ChaCha20-Poly1305), and that key once
//! for each recipient: X25519 between a key pair made for this one sealing and the recipient's
//! curve key, hashed together with both public halves. So a stolen gateway opens what was sealed to
//! it and nothing else, and a recipient can be added by anyone who can open the value, without
//! showing it to people.
//!
//! Curve keys have NATS' text form: public `X…`, seed `SX…`. They cannot sign, so they are no
//! [`crate::KeyKind`].
//!
//! Invariants: the secret's name is authenticated with it, so that one entry cannot stand in for
//! another; every key encrypts exactly one message, which is why the nonces are zero; no secret and
//! no seed is in a `Debug` or an error text; opened values and keys are zeroed on drop. Who sealed
//! is not proved: that only administrators may write entries is NATS' business.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit, Nonce};
use curve25519_dalek::montgomery::MontgomeryPoint;
use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::nkey::{SEED_PREFIX, decode, frame};

/// The largest value, bytes: credentials and keys are small.
pub const MAX_SECRET_BYTES: usize = 64 << 10;
/// The most recipients of one value; an entry must fit one record of the lattice.
pub const MAX_RECIPIENTS: usize = 4_096;

/// `X`'s place in base32, in the upper five bits.
const CURVE_PREFIX: u8 = (b'X' - b'A') << 3;
const WRAP_DOMAIN: &[u8] = b"trellis secret wrap 1\0";
const VALUE_DOMAIN: &[u8] = b"trellis secret value 1\0";

/// Why something is not sealed or not opened. Never says what was inside.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SealError {
    /// Not a curve key's text.
    #[error("curve key: expected {expected}")]
    Key {
        /// The form that was expected.
        expected: &'static str,
    },
    /// Over [`MAX_SECRET_BYTES`], or empty.
    #[error("secret: {got} bytes (expected 1 to {MAX_SECRET_BYTES})")]
    Size {
        /// Its size, bytes.
        got: usize,
    },
    /// Nobody could open it, or too many could.
    #[error("secret: {got} recipients (expected 1 to {MAX_RECIPIENTS})")]
    Recipients {
        /// How many.
        got: usize,
    },
    /// Sealed, but not to this key.
    #[error("secret is not sealed to {key}")]
    NotForUs {
        /// The key that was tried.
        key: CurvePublic,
    },
    /// Changed since it was sealed, or another secret under this name.
    #[error("sealed secret is damaged, or belongs to another name")]
    Damaged,
}

/// The public half of a curve key: what secrets are sealed to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CurvePublic([u8; 32]);

impl fmt::Display for CurvePublic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut framed = [0; 35];
        frame(&[CURVE_PREFIX], &self.0, &mut framed);
        formatter.pad(&BASE32_NOPAD.encode(&framed))
    }
}

impl fmt::Debug for CurvePublic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for CurvePublic {
    type Err = SealError;

    fn from_str(text: &str) -> Result<Self, SealError> {
        let refused = SealError::Key { expected: "X and 55 more characters of A-Z 2-7" };
        let mut framed = [0; 35];
        if text.len() != 56 || decode(text, &mut framed).is_err() {
            return Err(refused);
        }
        match framed {
            [CURVE_PREFIX, rest @ ..] => rest.first_chunk().copied().map(Self).ok_or(refused),
            _ => Err(refused),
        }
    }
}

impl Serialize for CurvePublic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CurvePublic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A curve key pair: opens what was sealed to it.
#[derive(Clone)]
pub struct CurveKey {
    secret: Zeroizing<[u8; 32]>,
    public: CurvePublic,
}

impl CurveKey {
    /// From 32 bytes of a cryptographically secure random source.
    pub fn from_entropy(entropy: [u8; 32]) -> Self {
        let secret = Zeroizing::new(entropy);
        let public = CurvePublic(MontgomeryPoint::mul_base_clamped(*secret).to_bytes());
        Self { secret, public }
    }

    /// Reads a seed (`SX…`, 58 characters); white space around it is ignored.
    pub fn from_seed(text: &str) -> Result<Self, SealError> {
        let refused = SealError::Key { expected: "SX and 56 more characters of A-Z 2-7" };
        let text = text.trim_ascii();
        let mut framed = Zeroizing::new([0; 36]);
        if text.len() != 58 || decode(text, framed.as_mut_slice()).is_err() {
            return Err(refused);
        }
        let [first, second, rest @ ..] = &*framed;
        if [*first, *second] != seed_head() {
            return Err(refused);
        }
        rest.first_chunk().copied().map(Self::from_entropy).ok_or(refused)
    }

    /// The seed's text: write it only to a file of mode 0600.
    pub fn seed(&self) -> Zeroizing<String> {
        let mut framed = Zeroizing::new([0; 36]);
        frame(&seed_head(), self.secret.as_slice(), framed.as_mut_slice());
        Zeroizing::new(BASE32_NOPAD.encode(framed.as_slice()))
    }

    /// The public half.
    pub fn public(&self) -> CurvePublic {
        self.public
    }

    /// What this key and that one have in common; none with a key of small order.
    fn shared(&self, other: &CurvePublic) -> Option<Zeroizing<[u8; 32]>> {
        let shared = Zeroizing::new(MontgomeryPoint(other.0).mul_clamped(*self.secret).to_bytes());
        (*shared != [0; 32]).then_some(shared)
    }
}

impl fmt::Debug for CurveKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CurveKey({})", self.public)
    }
}

fn seed_head() -> [u8; 2] {
    [SEED_PREFIX | CURVE_PREFIX >> 5, (CURVE_PREFIX & 0b1_1111) << 3]
}

/// A sealed secret, as it is stored. In JSON, bytes are base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sealed {
    /// The public half of the key pair that was made for this sealing.
    ephemeral: CurvePublic,
    /// The value's key, once for each recipient.
    keys: BTreeMap<CurvePublic, Text>,
    /// The value.
    value: Text,
}

/// Bytes as base64, the form in which they are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Text(String);

impl Text {
    fn of(bytes: &[u8]) -> Self {
        Self(STANDARD_NO_PAD.encode(bytes))
    }
    fn bytes(&self) -> Result<Vec<u8>, SealError> {
        STANDARD_NO_PAD.decode(&self.0).map_err(|_| SealError::Damaged)
    }
}

/// Entropy of one sealing: for the value's key, and for the key pair.
pub type SealEntropy = [[u8; 32]; 2];

impl Sealed {
    /// Seals a value under a name to these recipients.
    pub fn seal(
        name: &str,
        value: &[u8],
        recipients: impl IntoIterator<Item = CurvePublic>,
        entropy: SealEntropy,
    ) -> Result<Self, SealError> {
        if value.is_empty() || value.len() > MAX_SECRET_BYTES {
            return Err(SealError::Size { got: value.len() });
        }
        let [value_key, pair] = entropy;
        let (value_key, pair) = (Zeroizing::new(value_key), CurveKey::from_entropy(pair));
        let mut keys = BTreeMap::new();
        for recipient in recipients {
            let wrapping = wrapping_key(&pair, &recipient, (pair.public, recipient)).ok_or(
                // A point of small order: anybody could compute what it has in common with us.
                SealError::Key { expected: "a key that trellis made" },
            )?;
            keys.insert(recipient, Text::of(&encrypt(&wrapping, WRAP_DOMAIN, name, value_key.as_slice())?));
        }
        if keys.is_empty() || keys.len() > MAX_RECIPIENTS {
            return Err(SealError::Recipients { got: keys.len() });
        }
        let value = Text::of(&encrypt(&value_key, VALUE_DOMAIN, name, value)?);
        Ok(Self { ephemeral: pair.public, keys, value })
    }

    /// Who can open it.
    pub fn recipients(&self) -> impl Iterator<Item = &CurvePublic> {
        self.keys.keys()
    }

    /// Opens it.
    pub fn open(&self, name: &str, key: &CurveKey) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let wrapped = self.keys.get(&key.public).ok_or(SealError::NotForUs { key: key.public })?;
        let wrapping =
            wrapping_key(key, &self.ephemeral, (self.ephemeral, key.public)).ok_or(SealError::Damaged)?;
        let value_key = decrypt(&wrapping, WRAP_DOMAIN, name, &wrapped.bytes()?)?;
        let value_key =
            value_key.first_chunk().filter(|_| value_key.len() == 32).ok_or(SealError::Damaged)?;
        decrypt(value_key, VALUE_DOMAIN, name, &self.value.bytes()?)
    }
}

/// The key under which the value's key travels to one recipient. Both public halves go in, so that
/// it belongs to this sealing and this recipient alone.
fn wrapping_key(
    ours: &CurveKey,
    theirs: &CurvePublic,
    (ephemeral, recipient): (CurvePublic, CurvePublic),
) -> Option<Zeroizing<[u8; 32]>> {
    let shared = ours.shared(theirs)?;
    let hash = Sha256::new()
        .chain_update(WRAP_DOMAIN)
        .chain_update(*shared)
        .chain_update(ephemeral.0)
        .chain_update(recipient.0)
        .finalize();
    Some(Zeroizing::new(hash.into()))
}

fn encrypt(key: &[u8; 32], domain: &[u8], name: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
    let aad = [domain, name.as_bytes()].concat();
    ChaCha20Poly1305::new(Key::from_slice(key))
        .encrypt(&Nonce::default(), Payload { msg: plain, aad: &aad })
        .map_err(|_| SealError::Size { got: plain.len() })
}

fn decrypt(
    key: &[u8; 32],
    domain: &[u8],
    name: &str,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let aad = [domain, name.as_bytes()].concat();
    ChaCha20Poly1305::new(Key::from_slice(key))
        .decrypt(&Nonce::default(), Payload { msg: sealed, aad: &aad })
        .map(Zeroizing::new)
        .map_err(|_| SealError::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(seed: u8) -> CurveKey {
        CurveKey::from_entropy([seed; 32])
    }

    fn sealed(value: &[u8], to: &[&CurveKey]) -> Sealed {
        Sealed::seal("redis", value, to.iter().map(|key| key.public()), [[7; 32], [8; 32]]).unwrap()
    }

    #[test]
    fn keys_are_those_of_rfc_7748_in_the_text_form_of_nats() {
        // RFC 7748, section 5.2: the scalar 9 on the base point, one iteration.
        let mut nine = [0; 32];
        nine[0] = 9;
        assert_eq!(
            data_encoding::HEXLOWER.encode(&CurveKey::from_entropy(nine).public().0),
            "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"
        );
        let ours = key(1);
        assert!(ours.seed().starts_with("SX") && ours.public().to_string().starts_with('X'));
        assert_eq!(CurveKey::from_seed(&ours.seed()).unwrap().public(), ours.public());
        assert_eq!(ours.public().to_string().parse(), Ok(ours.public()));
        for bad in ["", "X", "AAAA", &ours.public().to_string().replace('X', "A"), &ours.seed()] {
            assert!(bad.parse::<CurvePublic>().is_err(), "{bad}");
        }
        let signing = crate::KeyPair::from_entropy(crate::KeyKind::User, [1; 32]);
        assert!(CurveKey::from_seed(&signing.seed()).is_err());
    }

    #[test]
    fn only_recipients_open_it_and_only_under_its_name() {
        let (host, other, thief) = (key(1), key(2), key(3));
        let sealed = sealed(b"hunter2", &[&host, &other]);
        for recipient in [&host, &other] {
            assert_eq!(sealed.open("redis", recipient).unwrap().as_slice(), b"hunter2");
        }
        assert_eq!(sealed.open("redis", &thief), Err(SealError::NotForUs { key: thief.public() }));
        assert_eq!(sealed.open("mqtt", &host), Err(SealError::Damaged));
        let text = serde_json::to_string(&sealed).unwrap();
        assert_eq!(serde_json::from_str::<Sealed>(&text).unwrap(), sealed);
        assert!(!text.contains("hunter2"));
    }

    #[test]
    fn what_cannot_be_sealed_is_refused() {
        let host = key(1).public();
        let entropy = [[7; 32], [8; 32]];
        assert_eq!(Sealed::seal("a", b"", [host], entropy), Err(SealError::Size { got: 0 }));
        let large = vec![0; MAX_SECRET_BYTES + 1];
        assert!(matches!(Sealed::seal("a", &large, [host], entropy), Err(SealError::Size { .. })));
        assert_eq!(Sealed::seal("a", b"x", [], entropy), Err(SealError::Recipients { got: 0 }));
        // The point at infinity: everybody would share the same secret with it.
        assert!(matches!(
            Sealed::seal("a", b"x", [CurvePublic([0; 32])], entropy),
            Err(SealError::Key { .. })
        ));
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        let key = key(9);
        assert_eq!(format!("{key:?}"), format!("CurveKey({})", key.public()));
    }

    proptest! {
        #[test]
        fn a_changed_entry_is_refused(position in 0usize..4_000, flip in 1u8..=255) {
            let host = key(1);
            let sealed = sealed(b"a secret of some length", &[&host]);
            let mut value = sealed.value.bytes().unwrap();
            let mut wrapped = sealed.keys[&host.public()].bytes().unwrap();
            let all = value.len() + wrapped.len();
            let at = position % all;
            if at < value.len() { value[at] ^= flip } else { wrapped[at - value.len()] ^= flip }
            let changed = Sealed {
                keys: [(host.public(), Text::of(&wrapped))].into(),
                value: Text::of(&value),
                ..sealed
            };
            prop_assert_eq!(changed.open("redis", &host), Err(SealError::Damaged));
        }
    }
}
