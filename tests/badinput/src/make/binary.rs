//! Files that are no component, or nearly one, byte by byte.

use super::{Made, good};
use crate::desk;
use anyhow::Result;

/// How a component begins.
pub const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
/// How a core module begins.
pub const MODULE: &[u8] = b"\0asm\x01\0\0\0";
/// The claims' section, as the product names it.
const CLAIMS: &str = keys::section::CLAIMS_SECTION;

/// An unsigned LEB128 in as few bytes as there can be.
pub fn leb(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A section of this id.
pub fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], leb(content.len()).as_slice(), content].concat()
}

/// A custom section of this name.
fn custom(name: &str, content: &[u8]) -> Vec<u8> {
    section(0, &[leb(name.len()).as_slice(), name.as_bytes(), content].concat())
}

/// A component around one core module of these sections.
pub fn around(sections: &[u8]) -> Vec<u8> {
    [COMPONENT, &section(1, &[MODULE, sections].concat())].concat()
}

/// A good file cut off at so many places, from the first byte to the last but one.
pub fn cuts(count: usize) -> Result<Made> {
    let file = desk::signed(&good(), "a")?;
    let at = |index: usize| index * (file.len() - 1) / count.max(2).saturating_sub(1);
    Ok((0..count)
        .map(|index| (format!("at {}", at(index)), file.iter().copied().take(at(index)).collect()))
        .collect())
}

/// A good file with one bit changed at so many places.
pub fn flips(count: usize) -> Result<Made> {
    let file = desk::signed(&good(), "a")?;
    let at = |index: usize| index * (file.len() - 1) / count.max(2).saturating_sub(1);
    let flipped = |place: usize| {
        let mut file = file.clone();
        if let Some(byte) = file.get_mut(place) {
            *byte ^= 1 << (place % 8);
        }
        (format!("byte {place}"), file)
    };
    Ok((0..count).map(|index| flipped(at(index))).collect())
}

/// A section's size with more bytes than it needs.
pub fn overlong() -> Vec<u8> {
    [COMPONENT, &[1, 0x80, 0x80, 0x80, 0x80, 0x00]].concat()
}

/// A section of 2³²-1 bytes in a file of fourteen.
pub fn endless_section() -> Vec<u8> {
    [COMPONENT, &[1, 0xff, 0xff, 0xff, 0xff, 0x0f]].concat()
}

/// A module that says it has 2³²-1 types, and has none.
pub fn count_without_end() -> Vec<u8> {
    around(&section(1, &[0xff, 0xff, 0xff, 0xff, 0x0f]))
}

/// Two claims sections.
pub fn claims_twice() -> Result<Vec<u8>> {
    Ok([desk::signed(&good(), "a")?, custom(CLAIMS, b"a.b.c")].concat())
}

/// A component with this text as its claims.
pub fn claims_of(token: &str) -> Vec<u8> {
    [good(), custom(CLAIMS, token.as_bytes())].concat()
}

/// Good claims, inside the inner module.
pub fn claims_nested() -> Result<Vec<u8>> {
    let signed = desk::signed(&good(), "a")?;
    let token = keys::split(&signed, signed.len())?.token.unwrap_or_default();
    Ok(around(&custom(CLAIMS, token.as_bytes())))
}

/// The beginning of an ELF file as the engine's compiler writes it.
pub fn precompiled() -> Vec<u8> {
    [&b"\x7fELF\x02\x01\x01\xc8"[..], &[0; 56]].concat()
}
