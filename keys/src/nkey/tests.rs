//! The text form against the nkeys crate, every refusal, and strictness of signatures.

use super::*;
use proptest::prelude::*;

fn kinds() -> impl Strategy<Value = KeyKind> {
    proptest::sample::select(KeyKind::ALL.as_slice())
}

fn peer_kind(kind: KeyKind) -> nkeys::KeyPairType {
    match kind {
        KeyKind::Operator => nkeys::KeyPairType::Operator,
        KeyKind::Account => nkeys::KeyPairType::Account,
        KeyKind::User => nkeys::KeyPairType::User,
        KeyKind::Module => nkeys::KeyPairType::Module,
        KeyKind::Provider => nkeys::KeyPairType::Service,
        KeyKind::Host => nkeys::KeyPairType::Server,
        KeyKind::Cluster => nkeys::KeyPairType::Cluster,
    }
}

proptest! {
    #[test]
    fn agrees_with_the_nkeys_crate(kind in kinds(), entropy: [u8; 32], message: Vec<u8>) {
        let ours = KeyPair::from_entropy(kind, entropy);
        let theirs = nkeys::KeyPair::new_from_raw(peer_kind(kind), entropy).unwrap();
        prop_assert_eq!(ours.seed().to_string(), theirs.seed().unwrap());
        prop_assert_eq!(ours.public().to_string(), theirs.public_key());
        prop_assert_eq!(ours.sign(&message).to_vec(), theirs.sign(&message).unwrap());
        let again = KeyPair::from_seed(&format!("{}\n", *ours.seed())).unwrap();
        prop_assert_eq!(again.public(), ours.public());
        prop_assert_eq!(ours.public().to_string().parse(), Ok(ours.public()));
        prop_assert!(ours.public().as_str().starts_with(kind.letter()));
        ours.public().verify(&message, &ours.sign(&message)).unwrap();
    }

    #[test]
    fn any_other_character_is_refused(entropy: [u8; 32], at in 0..56usize, to in "[A-Z2-7]") {
        let key = KeyPair::from_entropy(KeyKind::Module, entropy).public();
        let mut text = key.to_string();
        text.replace_range(at..=at, &to);
        prop_assert_eq!(text.parse::<PublicKey>().is_ok(), text == key.as_str());
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in "\\PC{0,70}") {
        let _ = text.parse::<PublicKey>();
        let _ = KeyPair::from_seed(&text);
    }
}

fn key(kind: KeyKind) -> KeyPair {
    KeyPair::from_entropy(kind, [7; 32])
}

#[test]
fn each_refusal_says_what_is_wrong() {
    let module = key(KeyKind::Module).public().to_string();
    let mut unknown = [0; 35];
    frame(&[25 << 3], &[1; 32], &mut unknown);
    let seed = key(KeyKind::User).seed();
    for (text, message) in [
        ("", "nkey: length (got 0 characters, expected 56)"),
        // Seed 004's sample ids.
        ("MBCFOPNG6DDWUTJYEQVP5A7PV7Y4MFSH5I2I2R4", "nkey: length (got 39 characters, expected 56)"),
        (
            "VAG3QITQQ2ODAOWB5MTQ0JD6BX7T7NZ2FMX4NOOB",
            "nkey: '0' at character 21 is not in base32's alphabet A-Z 2-7 \
             (got 40 characters, expected 56)",
        ),
        (&module.to_lowercase(), "nkey: lower case 'm' at character 1; nkeys are upper case"),
        (&"A".repeat(1_000_000), "nkey: length (got 1000000 characters, expected 56)"),
        (
            &module.replace(&module[9..10], if &module[9..10] == "A" { "B" } else { "A" }),
            "nkey: checksum; one or more characters are wrong",
        ),
        (
            &BASE32_NOPAD.encode(&unknown),
            "nkey: unknown kind; expected the first letter to be one of O A U M V N C",
        ),
        (&seed, "nkey: this is a seed, a public key is needed; keep the seed secret"),
    ] {
        let error = text.parse::<PublicKey>().unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let account = key(KeyKind::Account).public();
    assert_eq!(
        account.expect_kind(KeyKind::Module).unwrap_err().to_string(),
        format!("nkey: wrong kind (got account key {account}, expected module key M...)")
    );
}

#[test]
fn seeds_are_checked_and_never_shown() {
    let pair = key(KeyKind::Account);
    let seed = pair.seed();
    assert!(!format!("{pair:?}").contains(&seed[2..20]));
    assert_eq!(format!("{pair:?}"), format!("KeyPair({})", pair.public()));
    let public = pair.public().to_string();
    for wrong in ["", "S", &public, &seed[..57], &seed.to_lowercase()] {
        assert_eq!(KeyPair::from_seed(wrong).unwrap_err(), KeyError::NotASeed);
    }
    for at in 2..58 {
        let mut text = seed.to_string();
        let other = if &text[at..=at] == "A" { "B" } else { "A" };
        text.replace_range(at..=at, other);
        let error = KeyPair::from_seed(&text).unwrap_err().to_string();
        assert!(!error.contains(&seed[4..16]), "{error}");
    }
}

/// The group's order L, little endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

#[test]
fn a_malleable_signature_is_refused() {
    let pair = key(KeyKind::Account);
    let mut signature = pair.sign(b"message");
    pair.public().verify(b"message", &signature).unwrap();
    let mut carry = 0;
    for (byte, add) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0, "S + L fits into 32 bytes");
    assert!(pair.public().verify(b"message", &signature).is_err());
}

#[test]
fn small_order_keys_verify_nothing() {
    // The eight points of small order in their canonical spellings, and two non-canonical ones.
    let order_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05";
    let order_8_inverse = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a";
    let mut keys: Vec<[u8; 32]> = vec![[0; 32], [0xff; 32]];
    let one = std::array::from_fn(|i| u8::from(i == 0));
    keys.push(one);
    keys.push(std::array::from_fn(|i| match i {
        0 => 0xec,
        31 => 0x7f,
        _ => 0xff,
    }));
    for text in [order_8, order_8_inverse] {
        let raw = data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
        keys.push(raw.try_into().unwrap());
    }
    for raw in keys.clone() {
        let mut signed = raw;
        signed[31] ^= 0x80;
        keys.push(signed);
    }
    // R = identity, S = 0 satisfies the plain equation for a small-order key.
    let mut trivial = [0; 64];
    trivial[..32].copy_from_slice(&one);
    for raw in keys {
        let key = PublicKey::from_raw(KeyKind::Account, raw);
        for signature in [trivial, [0; 64]] {
            assert!(key.verify(b"any", &signature).is_err(), "{raw:02x?}");
        }
    }
}
