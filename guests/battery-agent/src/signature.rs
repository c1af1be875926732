//! Signed levels: Ed25519 over the JSON of what is said, so that whoever has the agent's public key can tell a level
//! that it never reported. The signature is part of the event, hence stored, hence the same in every replay.

use ed25519_dalek::{Signer, SigningKey};
use trellis_guest::actor::{Decision, Refusal, Turn, Value, json};

use crate::Event;

/// The event of a new level, and what is published of it: signed, where there is a key.
pub(crate) fn signed(
    turn: &Turn,
    agent_id: &str,
    level: f64,
    delta: f64,
) -> Result<(Decision<Event>, Value), Refusal> {
    let said = json!({ "agent_id": agent_id, "level": level, "seq": turn.seq, "time_ms": turn.now_ms });
    let signature = key(turn)?.map(|key| {
        let signature = hex(&key.sign(said.to_string().as_bytes()).to_bytes());
        (signature, hex(key.verifying_key().as_bytes()))
    });
    let mut body = said;
    let signature = signature.map(|(signature, public_key)| {
        if let Some(fields) = body.as_object_mut() {
            fields.insert("signature".to_owned(), signature.clone().into());
            fields.insert("public_key".to_owned(), public_key.into());
        }
        signature
    });
    let agent_id = agent_id.to_owned();
    Ok((Decision::event(Event::BatteryLevelChanged { agent_id, level, delta, signature }), body))
}

/// The key of the configuration, where there is one.
fn key(turn: &Turn) -> Result<Option<SigningKey>, Refusal> {
    let digits: String = turn.setting("signing_seed", String::new())?;
    if digits.is_empty() {
        return Ok(None);
    }
    // The value is a secret: the error says what is wrong with it, and not what it is.
    let wrong = || Refusal::new("bad-setting", "config signing_seed: want 64 hexadecimal digits; correct it");
    let nibbles = digits.chars().map(|digit| digit.to_digit(16)).collect::<Option<Vec<u32>>>();
    let nibbles = nibbles.filter(|nibbles| nibbles.len() == 64).ok_or_else(wrong)?;
    let mut seed = [0; 32];
    for (byte, pair) in seed.iter_mut().zip(nibbles.chunks_exact(2)) {
        let value = pair.iter().fold(0, |value, nibble| value * 16 + nibble);
        *byte = u8::try_from(value).unwrap_or_default();
    }
    Ok(Some(SigningKey::from_bytes(&seed)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
