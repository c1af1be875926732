//! What snapshots are wrapped in before they go to a disk or into the lattice: compressed, and encrypted
//! when there is a key.
//!
//! ```text
//! form (1) · body
//! form 0: as it is             form 1: nonce (12) · AES-256-GCM of it
//! form 2: zstd                 form 3: nonce (12) · AES-256-GCM of zstd
//! ```
//! Both forms without compression are still read, and written where compression would gain nothing. What is
//! encrypted is bound to a text that says what it is of, so that nothing can stand in for something else.
//!
//! Invariants: what was compressed is unpacked and compared before it is given out, so that a fault of the
//! compressor costs room and never a snapshot; what is unpacked is never longer than it may be.

use crate::error::StoreError;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use std::borrow::Cow;
use std::fmt;
use std::io::Read;

const PLAIN: u8 = 0;
const ENCRYPTED: u8 = 1;
const ZSTD: u8 = 2;
const ZSTD_ENCRYPTED: u8 = 3;
/// Less is not worth the attempt.
const SMALL: usize = 128;
/// Most memory that a frame may ask for to be unpacked.
const MAX_WINDOW: u64 = 8 << 20;

/// Encrypts snapshots. It comes from whoever keeps the host's secrets, never from the data directory.
#[derive(Clone)]
pub struct SnapshotKey(LessSafeKey);

impl SnapshotKey {
    /// From 32 bytes; none if the cipher does not take them.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Option<Self> {
        UnboundKey::new(&AES_256_GCM, bytes).ok().map(|key| Self(LessSafeKey::new(key)))
    }

    /// From 64 hexadecimal digits, with white space around them.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let hash = blake3::Hash::from_hex(text.trim()).ok()?;
        Self::new(hash.as_bytes())
    }
}

impl fmt::Debug for SnapshotKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SnapshotKey")
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Envelope {
    key: Option<SnapshotKey>,
}

impl Envelope {
    /// With a key, everything that is wrapped is encrypted.
    #[must_use]
    pub fn new(key: Option<SnapshotKey>) -> Self {
        Self { key }
    }

    /// Wraps it.
    ///
    /// # Errors
    /// [`StoreError::Entropy`].
    pub fn wrap(&self, bound_to: &str, content: &[u8]) -> Result<Vec<u8>, StoreError> {
        let packed = compressed(content);
        let form = match (&packed, &self.key) {
            (Cow::Borrowed(_), None) => PLAIN,
            (Cow::Borrowed(_), Some(_)) => ENCRYPTED,
            (Cow::Owned(_), None) => ZSTD,
            (Cow::Owned(_), Some(_)) => ZSTD_ENCRYPTED,
        };
        match &self.key {
            None => Ok([&[form], &*packed].concat()),
            Some(key) => encrypt(key, (form, bound_to), packed.into_owned()),
        }
    }

    /// Unwraps it; of at most so many bytes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn unwrap(&self, bound_to: &str, wrapped: &[u8], limit: usize) -> Result<Vec<u8>, String> {
        let (&form, body) = wrapped.split_first().ok_or("empty")?;
        let packed = match (form, &self.key) {
            (PLAIN | ZSTD, _) => Cow::Borrowed(body),
            (ENCRYPTED | ZSTD_ENCRYPTED, Some(key)) => {
                let plain = decrypt(key, (form, bound_to), body);
                Cow::Owned(plain.ok_or("encrypted with another key, or of something else")?)
            }
            (ENCRYPTED | ZSTD_ENCRYPTED, None) => {
                return Err("encrypted, and this host has no key".to_owned());
            }
            _ => return Err(format!("form {form} is not known: a newer host wrote it")),
        };
        let content = match form {
            ZSTD | ZSTD_ENCRYPTED => uncompressed(&packed, limit)?,
            _ => packed.into_owned(),
        };
        if content.len() > limit {
            return Err(format!("{} bytes, at most {limit}", content.len()));
        }
        Ok(content)
    }
}

/// Compressed, where that gains something and can be undone.
fn compressed(content: &[u8]) -> Cow<'_, [u8]> {
    if content.len() < SMALL {
        return Cow::Borrowed(content);
    }
    let packed = compress_to_vec(content, CompressionLevel::Fastest);
    if packed.len() >= content.len() {
        return Cow::Borrowed(content);
    }
    match uncompressed(&packed, content.len()) {
        Ok(back) if back == content => Cow::Owned(packed),
        _ => {
            tracing::error!(
                bytes = content.len(),
                "zstd does not give back what it was given: stored as it is"
            );
            Cow::Borrowed(content)
        }
    }
}

fn uncompressed(packed: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let mut frames = FrameDecoder::new();
    frames.set_max_window_size(MAX_WINDOW);
    let decoder = StreamingDecoder::new_with_decoder(packed, frames);
    let decoder = decoder.map_err(|error| format!("no zstd frame: {error}"))?;
    let mut content = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(most).read_to_end(&mut content).map_err(|error| format!("zstd: {error}"))?;
    if content.len() > limit {
        return Err(format!("more than {limit} bytes when unpacked"));
    }
    Ok(content)
}

/// The form is bound as well: it says what is done with what comes out.
fn bound((form, bound_to): (u8, &str)) -> Vec<u8> {
    // As the first version of this form bound it.
    if form == ENCRYPTED { bound_to.as_bytes().to_vec() } else { format!("zstd {bound_to}").into_bytes() }
}

fn encrypt(key: &SnapshotKey, of: (u8, &str), mut content: Vec<u8>) -> Result<Vec<u8>, StoreError> {
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).map_err(|error| StoreError::Entropy { reason: error.to_string() })?;
    let (unique, bound) = (Nonce::assume_unique_for_key(nonce), bound(of));
    let sealed = key.0.seal_in_place_append_tag(unique, Aad::from(bound.as_slice()), &mut content);
    sealed.map_err(|_| StoreError::Entropy { reason: "the cipher refused".to_owned() })?;
    Ok([&[of.0], nonce.as_slice(), &content].concat())
}

fn decrypt(key: &SnapshotKey, of: (u8, &str), body: &[u8]) -> Option<Vec<u8>> {
    let (nonce, body) = body.split_first_chunk::<NONCE_LEN>()?;
    let mut body = body.to_vec();
    let (nonce, bound) = (Nonce::assume_unique_for_key(*nonce), bound(of));
    let plain = key.0.open_in_place(nonce, Aad::from(bound.as_slice()), &mut body).ok()?;
    Some(plain.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 1 << 20;

    fn with_key(byte: u8) -> Envelope {
        Envelope::new(SnapshotKey::new(&[byte; 32]))
    }

    fn state() -> Vec<u8> {
        (0..500).flat_map(|n| format!("sensor-{n}: 21.{} degrees; ", n % 10).into_bytes()).collect()
    }

    #[test]
    fn what_repeats_is_small_and_what_does_not_is_as_it_was() {
        let envelope = Envelope::default();
        let wrapped = envelope.wrap("a", &state()).unwrap();
        assert!(wrapped.len() * 3 < state().len(), "{} of {}", wrapped.len(), state().len());
        assert_eq!((wrapped[0], envelope.unwrap("a", &wrapped, LIMIT)), (ZSTD, Ok(state())));
        // Hashes of numbers have nothing that repeats.
        let noise: Vec<u8> = (0..100_u64).flat_map(|n| *blake3::hash(&n.to_le_bytes()).as_bytes()).collect();
        let wrapped = envelope.wrap("a", &noise).unwrap();
        assert_eq!((wrapped[0], wrapped.len()), (PLAIN, noise.len() + 1));
        assert_eq!(envelope.unwrap("a", &wrapped, LIMIT), Ok(noise));
    }

    #[test]
    fn anybody_reads_the_frame_and_it_is_zstd() {
        let wrapped = Envelope::default().wrap("a", &state()).unwrap();
        assert_eq!(wrapped[1..5], [0x28, 0xb5, 0x2f, 0xfd], "RFC 8878, 3.1.1");
    }

    #[test]
    fn encrypted_it_shows_nothing_and_fits_one_key_one_text_one_form() {
        let wrapped = with_key(7).wrap("meter/m-1@5", &state()).unwrap();
        assert!(!wrapped.windows(7).any(|window| window == b"degrees"));
        assert_eq!(with_key(7).unwrap("meter/m-1@5", &wrapped, LIMIT), Ok(state()));
        for (envelope, of) in
            [(with_key(8), "meter/m-1@5"), (with_key(7), "meter/m-1@6"), (Envelope::default(), "meter/m-1@5")]
        {
            assert!(envelope.unwrap(of, &wrapped, LIMIT).is_err());
        }
        let other = [&[ENCRYPTED], &wrapped[1..]].concat();
        assert!(with_key(7).unwrap("meter/m-1@5", &other, LIMIT).is_err(), "a frame taken for a snapshot");
        let small = with_key(7).wrap("meter/m-1@5", b"a secret level").unwrap();
        assert_eq!(small[0], ENCRYPTED);
        assert_eq!(with_key(7).unwrap("meter/m-1@5", &small, LIMIT), Ok(b"a secret level".to_vec()));
    }

    #[test]
    fn a_small_frame_that_unpacks_to_much_is_refused_and_so_is_a_newer_form() {
        let wrapped = Envelope::default().wrap("a", &vec![0; LIMIT + 1]).unwrap();
        assert!(wrapped.len() < 1_000);
        let refused = Envelope::default().unwrap("a", &wrapped, LIMIT).unwrap_err();
        assert!(refused.contains("more than 1048576 bytes"), "{refused}");
        let refused = Envelope::default().unwrap("a", &[9, 1, 2], LIMIT).unwrap_err();
        assert!(refused.contains("a newer host wrote it"), "{refused}");
        assert!(Envelope::default().unwrap("a", &[], LIMIT).is_err());
    }

    #[test]
    fn a_key_is_64_hexadecimal_digits() {
        assert!(SnapshotKey::from_hex(&format!(" {}\n", "0f".repeat(32))).is_some());
        for text in ["", "0f", &"0f".repeat(33), &"xy".repeat(32)] {
            assert!(SnapshotKey::from_hex(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_goes_in_comes_out(
            words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
            is_secret: bool,
        ) {
            let pick = |pick: prop::sample::Index| if words.is_empty() { &[][..] } else { &words[pick.index(words.len())] };
            let content: Vec<u8> = picks.into_iter().flat_map(pick).copied().collect();
            let envelope = if is_secret { with_key(1) } else { Envelope::default() };
            let wrapped = envelope.wrap("a", &content).unwrap();
            prop_assert_eq!(envelope.unwrap("a", &wrapped, LIMIT), Ok(content));
        }

        #[test]
        fn nothing_that_is_no_frame_panics(mut body in prop::collection::vec(any::<u8>(), 0..200), framed: bool) {
            if framed {
                body.splice(0..0, [ZSTD, 0x28, 0xb5, 0x2f, 0xfd]);
            }
            // Whatever it is, it is told or refused.
            drop(Envelope::default().unwrap("a", &body, LIMIT));
        }
    }
}
