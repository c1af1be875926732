//! Where claims live in a component: a bounded walk over top-level section headers.
//!
//! This runs on files that nobody has vouched for yet, so it is as small as it can be: it reads
//! section ids, sizes and the names of custom sections, allocates nothing, recurses nowhere, and
//! believes no size that the file does not back with bytes. Everything else about the file is
//! parsed only after the signature was checked.
//!
//! Invariants: claims are the *last* top-level section and there is at most one, so the signed
//! bytes are exactly the prefix before it; a claims section nested in an inner module is part of
//! that prefix and means nothing; lengths are canonical LEB128, so a file has one framing; the
//! walk ends at the last byte or fails.

use serde_json::Value;

use crate::error::ClaimsError;
use crate::token;

/// The custom section that holds the token.
pub const CLAIMS_SECTION: &str = "trellis_claims";

/// The default limit for a component's size: 32 MiB, since interpreted languages need it.
pub const MAX_COMPONENT_BYTES: usize = 32 << 20;

/// wasmCloud's claims sections, newest name first. Read for `inspect`, never as proof.
const FOREIGN_SECTIONS: [&str; 2] = ["wasmcloud_jwt", "jwt"];

const WASM_MAGIC: &[u8] = b"\0asm";
const ELF_MAGIC: &[u8] = b"\x7fELF";
/// `EI_OSABI` in the ELF files that wasmtime's compiler writes.
const ELF_OSABI_WASMTIME: u8 = 200;
const COMPONENT_PREAMBLE: &[u8] = &[0x0d, 0, 1, 0];
const CORE_LAYER: &[u8] = &[0, 0];
const PREAMBLE_BYTES: usize = 8;
/// The highest section id that the component model defines (values).
const LAST_SECTION_ID: u8 = 12;

/// A component, taken apart into what is signed and the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split<'a> {
    /// Every byte of the file other than the claims section.
    pub body: &'a [u8],
    /// The token in the claims section, if there is one.
    pub token: Option<&'a str>,
}

/// Claims of another system, shown to people and never trusted.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignClaims {
    /// The custom section's name.
    pub section: &'static str,
    /// The claims as JSON, unverified.
    pub claims: Value,
}

/// Takes a component apart. Refuses anything that is not one well-framed component of at most
/// `max_bytes` bytes.
pub fn split(file: &[u8], max_bytes: usize) -> Result<Split<'_>, ClaimsError> {
    check_preamble(file, max_bytes)?;
    let mut claims: Option<Section<'_>> = None;
    for section in Sections::new(file) {
        match (section, &claims) {
            (Ok(section), None) if section.name == Some(CLAIMS_SECTION) => claims = Some(section),
            (Ok(section), Some(_)) if section.name == Some(CLAIMS_SECTION) => {
                return Err(ClaimsError::DuplicateClaims { at: section.start });
            }
            (Err(_), Some(found)) => return Err(trailing(file, found.end)),
            (Err(error), None) => return Err(error),
            (Ok(_), _) => {}
        }
    }
    let Some(claims) = claims else {
        return Ok(Split { body: file, token: None });
    };
    if claims.end != file.len() {
        return Err(trailing(file, claims.end));
    }
    token::check_length(claims.payload)?;
    let token = std::str::from_utf8(claims.payload)
        .map_err(|_| ClaimsError::Malformed { what: "claims section is not text", at: claims.start })?;
    Ok(Split { body: file.get(..claims.start).unwrap_or_default(), token: Some(token) })
}

/// Returns the component with this token as its claims, in place of any that it had.
pub fn embed(file: &[u8], token: &str, max_bytes: usize) -> Result<Vec<u8>, ClaimsError> {
    token::check_length(token.as_bytes())?;
    let body = split(file, max_bytes)?.body;
    let mut content = Vec::with_capacity(1 + CLAIMS_SECTION.len() + token.len());
    write_length(&mut content, CLAIMS_SECTION.len());
    content.extend_from_slice(CLAIMS_SECTION.as_bytes());
    content.extend_from_slice(token.as_bytes());
    let mut signed = Vec::with_capacity(body.len() + 6 + content.len());
    signed.extend_from_slice(body);
    signed.push(0);
    write_length(&mut signed, content.len());
    signed.extend_from_slice(&content);
    if signed.len() > max_bytes {
        return Err(ClaimsError::TooLarge { got: signed.len(), limit: max_bytes });
    }
    Ok(signed)
}

/// Reads wasmCloud's claims, if the component has any that can be read. Proves nothing.
pub fn foreign_claims(file: &[u8], max_bytes: usize) -> Option<ForeignClaims> {
    check_preamble(file, max_bytes).ok()?;
    Sections::new(file).map_while(Result::ok).find_map(|found| {
        let section = FOREIGN_SECTIONS.into_iter().find(|name| found.name == Some(name))?;
        let text = std::str::from_utf8(found.payload).ok()?;
        let claims = token::read_foreign(text)?;
        Some(ForeignClaims { section, claims })
    })
}

fn trailing(file: &[u8], at: usize) -> ClaimsError {
    let bytes = file.len().saturating_sub(at);
    ClaimsError::Trailing { bytes, at }
}

fn check_preamble(file: &[u8], max_bytes: usize) -> Result<(), ClaimsError> {
    if file.is_empty() {
        return Err(ClaimsError::Empty);
    }
    if file.len() > max_bytes {
        return Err(ClaimsError::TooLarge { got: file.len(), limit: max_bytes });
    }
    let (magic, rest) = file.split_at(file.len().min(4));
    if magic == ELF_MAGIC && file.get(7) == Some(&ELF_OSABI_WASMTIME) {
        return Err(ClaimsError::Precompiled);
    }
    if !WASM_MAGIC.starts_with(magic) {
        let magic = magic.to_vec();
        return Err(ClaimsError::NotWasm { magic });
    }
    match rest.get(..4) {
        None => Err(ClaimsError::Malformed { what: "unexpected end", at: file.len() }),
        Some(COMPONENT_PREAMBLE) => Ok(()),
        // The version's upper half is the layer: 0 for a core module, 1 for a component.
        Some(version) if version.ends_with(CORE_LAYER) => Err(ClaimsError::CoreModule),
        Some(_) => Err(ClaimsError::Malformed { what: "unknown component version", at: 4 }),
    }
}

/// One top-level section.
struct Section<'a> {
    /// Offset of the section's id.
    start: usize,
    /// Offset after the section's last byte.
    end: usize,
    /// A custom section's name.
    name: Option<&'a str>,
    /// The content, without a custom section's name.
    payload: &'a [u8],
}

/// Walks sections from the preamble to the end of the file; stops after the first error.
struct Sections<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Sections<'a> {
    fn new(file: &'a [u8]) -> Self {
        let at = PREAMBLE_BYTES;
        Self { file, at }
    }

    fn read(&mut self) -> Result<Section<'a>, ClaimsError> {
        let start = self.at;
        let id = self.byte()?;
        if id > LAST_SECTION_ID {
            return Err(trailing(self.file, start));
        }
        let size = self.length()?;
        let mut content = Sections { file: self.file, at: self.at };
        self.take(size)?;
        let end = self.at;
        content.file = self.file.get(..end).unwrap_or_default();
        let name = if id == 0 { Some(content.name()?) } else { None };
        let payload = self.file.get(content.at..end).unwrap_or_default();
        Ok(Section { start, end, name, payload })
    }

    fn name(&mut self) -> Result<&'a str, ClaimsError> {
        let length = self.length()?;
        let at = self.at;
        std::str::from_utf8(self.take(length)?)
            .map_err(|_| ClaimsError::Malformed { what: "section name is not text", at })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ClaimsError> {
        let end = self.at.checked_add(length);
        match end.and_then(|end| self.file.get(self.at..end)) {
            Some(bytes) => {
                self.at += length;
                Ok(bytes)
            }
            None => Err(ClaimsError::Malformed { what: "unexpected end", at: self.file.len() }),
        }
    }

    fn byte(&mut self) -> Result<u8, ClaimsError> {
        match self.take(1)? {
            [byte] => Ok(*byte),
            _ => Ok(0), // take(1) gives one byte
        }
    }

    /// A canonical unsigned LEB128 of at most 32 bits.
    fn length(&mut self) -> Result<usize, ClaimsError> {
        let at = self.at;
        let overlong = ClaimsError::Malformed { what: "overlong LEB128", at };
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let canonical = byte != 0 || shift == 0;
                return match u32::try_from(value) {
                    Ok(value) if canonical => usize::try_from(value).map_err(|_| overlong),
                    _ => Err(overlong),
                };
            }
        }
        Err(overlong)
    }
}

impl<'a> Iterator for Sections<'a> {
    type Item = Result<Section<'a>, ClaimsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.file.len() {
            return None;
        }
        let section = self.read();
        if section.is_err() {
            self.at = self.file.len();
        }
        Some(section)
    }
}

fn write_length(out: &mut Vec<u8>, length: usize) {
    let mut rest = length;
    loop {
        let low = (rest & 0x7f) as u8;
        rest >>= 7;
        if rest == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests;
