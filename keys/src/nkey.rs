//! nkeys: Ed25519 keys in NATS' text form.
//!
//! A public key is 56 characters of base32 over `kind ‖ 32 key bytes ‖ CRC-16/XMODEM`; its first
//! letter names its kind. A seed is 58 characters and begins with `S` and that letter. The text
//! form is exact: upper case, no padding, canonical trailing bits, so a key has one spelling.
//!
//! Invariants: a [`PublicKey`] always holds a well-formed text; [`PublicKey::verify`] is strict
//! (no malleable signature, no small-order key); a seed lives in zeroed-on-drop memory and is in
//! no `Debug` or error text. Curve keys (`X`) cannot sign and so are no kind here.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use crate::error::KeyError;

const PUBLIC_LENGTH: usize = 56;
const SEED_LENGTH: usize = 58;
pub(crate) const SEED_PREFIX: u8 = 18 << 3;

/// What a key identifies. The kind is part of the key's text, so one key has one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// `O`: vouches for accounts.
    Operator,
    /// `A`: issues claims; in NATS, one per lattice.
    Account,
    /// `U`: a NATS user.
    User,
    /// `M`: an actor.
    Module,
    /// `V`: a provider.
    Provider,
    /// `N`: a host (a server, in NATS' words).
    Host,
    /// `C`: a cluster or a controller.
    Cluster,
}

impl KeyKind {
    /// All kinds, in the order in which help texts list them.
    pub const ALL: [Self; 7] =
        [Self::Operator, Self::Account, Self::User, Self::Module, Self::Provider, Self::Host, Self::Cluster];

    /// The first letter of such a public key.
    pub fn letter(self) -> char {
        match self {
            Self::Operator => 'O',
            Self::Account => 'A',
            Self::User => 'U',
            Self::Module => 'M',
            Self::Provider => 'V',
            Self::Host => 'N',
            Self::Cluster => 'C',
        }
    }

    /// The kind's word: `operator`, `account`, `user`, `module`, `provider`, `host`, `cluster`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Account => "account",
            Self::User => "user",
            Self::Module => "module",
            Self::Provider => "provider",
            Self::Host => "host",
            Self::Cluster => "cluster",
        }
    }

    /// The letter's place in base32, in the upper five bits: so it becomes the first character.
    fn prefix(self) -> u8 {
        (self.letter() as u8 - b'A') << 3
    }

    fn from_prefix(prefix: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.prefix() == prefix)
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A validated public nkey.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey {
    text: [u8; PUBLIC_LENGTH],
    kind: KeyKind,
}

impl PublicKey {
    fn from_raw(kind: KeyKind, raw: [u8; 32]) -> Self {
        let mut framed = [0; 35];
        frame(&[kind.prefix()], &raw, &mut framed);
        let mut text = [0; PUBLIC_LENGTH];
        BASE32_NOPAD.encode_mut(&framed, &mut text);
        Self { text, kind }
    }

    /// An identifier in a key's form for something that has a name and no key of its own: nobody can
    /// sign by it. Seed 004 names providers so (`V…`).
    pub fn of_name(kind: KeyKind, name: &str) -> Self {
        use sha2::Digest as _;
        let hash = sha2::Sha256::new_with_prefix(b"trellis name\0").chain_update(name).finalize();
        Self::from_raw(kind, hash.into())
    }

    /// The 56 characters.
    pub fn as_str(&self) -> &str {
        // Base32 is ASCII, so the fallback is never taken.
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    /// What this key identifies.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Returns the key if it is of this kind, else [`KeyError::WrongKind`].
    pub fn expect_kind(self, expected: KeyKind) -> Result<Self, KeyError> {
        if self.kind == expected {
            return Ok(self);
        }
        Err(KeyError::WrongKind { got: self.kind, key: self, expected })
    }

    /// Checks strictly that this key signed these bytes: refuses malleable signatures
    /// (S not reduced, small-order R) and small-order or undecodable keys.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), KeyError> {
        let refused = KeyError::Signature { key: *self };
        let (_, raw) = read_public(self.as_str())?;
        let signature = Signature::from_bytes(signature);
        VerifyingKey::from_bytes(&raw)
            .and_then(|key| key.verify_strict(message, &signature))
            .map_err(|_| refused)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        if looks_like_seed(text) {
            return Err(KeyError::SeedForPublic);
        }
        check_alphabet(text, PUBLIC_LENGTH)?;
        let (kind, raw) = read_public(text)?;
        Ok(Self::from_raw(kind, raw))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A key pair that can sign. Its memory is zeroed when it is dropped.
#[derive(Clone)]
pub struct KeyPair {
    signing: SigningKey,
    public: PublicKey,
}

impl KeyPair {
    /// Makes a key pair from 32 bytes of a cryptographically secure random source.
    pub fn from_entropy(kind: KeyKind, entropy: [u8; 32]) -> Self {
        let signing = SigningKey::from_bytes(&Zeroizing::new(entropy));
        let public = PublicKey::from_raw(kind, signing.verifying_key().to_bytes());
        Self { signing, public }
    }

    /// Reads a seed (`S…`, 58 characters). White space around it is ignored, as seed files end
    /// in a newline. The errors never repeat the text.
    pub fn from_seed(text: &str) -> Result<Self, KeyError> {
        let text = text.trim_ascii();
        if text.len() != SEED_LENGTH || !text.starts_with('S') {
            return Err(KeyError::NotASeed);
        }
        let mut framed = Zeroizing::new([0; 36]);
        decode(text, framed.as_mut_slice())?;
        let [first, second, rest @ ..] = &*framed;
        if first & 0b1111_1000 != SEED_PREFIX || second & 0b111 != 0 {
            return Err(KeyError::NotASeed);
        }
        let prefix = (first & 0b111) << 5 | second >> 3;
        let kind = KeyKind::from_prefix(prefix).ok_or(KeyError::UnknownKind)?;
        let raw = rest.first_chunk().copied().ok_or(KeyError::NotASeed)?;
        Ok(Self::from_entropy(kind, raw))
    }

    /// The seed's text, which is all there is to this identity: show it to no one, write it only
    /// to a file of mode 0600.
    pub fn seed(&self) -> Zeroizing<String> {
        let prefix = self.public.kind.prefix();
        let head = [SEED_PREFIX | prefix >> 5, (prefix & 0b1_1111) << 3];
        let mut framed = Zeroizing::new([0; 36]);
        let raw = Zeroizing::new(self.signing.to_bytes());
        frame(&head, raw.as_slice(), framed.as_mut_slice());
        Zeroizing::new(BASE32_NOPAD.encode(framed.as_slice()))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// What this key identifies.
    pub fn kind(&self) -> KeyKind {
        self.public.kind
    }

    /// Signs these bytes (Ed25519: deterministic, needs no entropy).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signing.sign(message).to_bytes()
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.public)
    }
}

fn looks_like_seed(text: &str) -> bool {
    let text = text.trim_ascii();
    text.len() == SEED_LENGTH && text.starts_with('S')
}

/// Says which character is wrong before saying that the length is: a typing error is easier to
/// find that way. A text far too long is refused unread.
fn check_alphabet(text: &str, expected: usize) -> Result<(), KeyError> {
    let length = text.chars().take(expected * 2 + 1).count();
    if length <= expected * 2 {
        for (index, character) in text.chars().enumerate() {
            let at = index + 1;
            if character.is_ascii_lowercase() {
                return Err(KeyError::LowerCase { character, at });
            }
            if !matches!(character, 'A'..='Z' | '2'..='7') {
                return Err(KeyError::Alphabet { character, at, length, expected });
            }
        }
    }
    if length == expected {
        return Ok(());
    }
    Err(KeyError::Length { got: text.chars().count(), expected })
}

/// The kind and the 32 key bytes of a public key's text.
fn read_public(text: &str) -> Result<(KeyKind, [u8; 32]), KeyError> {
    let mut framed = [0; 35];
    decode(text, &mut framed)?;
    let [prefix, rest @ ..] = framed;
    let kind = KeyKind::from_prefix(prefix).ok_or(KeyError::UnknownKind)?;
    let raw = rest.first_chunk().copied().ok_or(KeyError::Checksum)?;
    Ok((kind, raw))
}

/// Decodes base32 into `framed` and checks the CRC in its last two bytes.
pub(crate) fn decode(text: &str, framed: &mut [u8]) -> Result<(), KeyError> {
    match BASE32_NOPAD.decode_mut(text.as_bytes(), framed) {
        Ok(length) if length == framed.len() => {}
        _ => return Err(KeyError::Checksum),
    }
    match framed.split_last_chunk::<2>() {
        Some((body, checksum)) if crc16(body) == u16::from_le_bytes(*checksum) => Ok(()),
        _ => Err(KeyError::Checksum),
    }
}

/// Writes `head ‖ body ‖ CRC` to `framed`, whose length is the sum of theirs.
pub(crate) fn frame(head: &[u8], body: &[u8], framed: &mut [u8]) {
    let payload = head.iter().chain(body).copied();
    for (target, byte) in framed.iter_mut().zip(payload) {
        *target = byte;
    }
    if let Some((payload, checksum)) = framed.split_last_chunk_mut::<2>() {
        *checksum = crc16(payload).to_le_bytes();
    }
}

/// CRC-16/XMODEM: polynomial 0x1021, initial value 0, not reflected.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ u16::from(*byte) << 8,
            |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
            },
        )
    })
}

#[cfg(test)]
mod tests;
