//! Inputs that a text cannot hold, by name: `zeros 34603008`, `nested-components 100000`, …
//!
//! A generator gives one input or many variants of it, each with words for what is special.

mod binary;
mod bombs;
mod token;

pub use token::{filled_keys, signed_token};

use crate::case::Case;
use crate::desk;
use anyhow::{Context, Result, bail};
use tests_harness::fixtures;

/// Variants of an input.
pub type Made = Vec<(String, Vec<u8>)>;

/// The variants of the case's file.
///
/// # Errors
/// The case names no generator that there is.
pub fn inputs(case: &Case) -> Result<Made> {
    let one = |bytes: Vec<u8>| Ok(vec![(String::new(), bytes)]);
    match (&case.make, &case.wat, &case.token, &case.text) {
        (Some(make), None, None, None) => generated(make),
        (None, Some(text), None, None) => one(desk::signed(&wat::parse_str(text)?, "a")?),
        (None, None, Some(token), None) => one(keys::embed(&good(), &signed_token(token)?, 1 << 20)?),
        (None, None, None, Some(text)) => one(text.clone().into_bytes()),
        (None, None, None, None) => one(desk::signed(&good(), "a")?),
        _ => bail!("say one of make, wat, token, text"),
    }
}

/// A component that does nothing, and is good.
#[must_use]
pub fn good() -> Vec<u8> {
    let text = r#"(component (core module $m (func (export "f"))) (core instance $i (instantiate $m)))"#;
    // The text is a constant, and every test that signs it would fail.
    wat::parse_str(text).unwrap_or_default()
}

fn generated(make: &str) -> Result<Made> {
    let (name, rest) = make.split_once(' ').unwrap_or((make, ""));
    let count = || rest.parse::<usize>().with_context(|| format!("{make}: want a number"));
    let one = |bytes: Vec<u8>| Ok(vec![(String::new(), bytes)]);
    match name {
        "hex" => one(data_encoding::HEXLOWER_PERMISSIVE.decode(rest.as_bytes())?),
        "utf16" => {
            one([0xff, 0xfe].into_iter().chain(rest.encode_utf16().flat_map(u16::to_le_bytes)).collect())
        }
        "zeros" => one([binary::COMPONENT.to_vec(), vec![0; count()?.saturating_sub(8)]].concat()),
        "unsigned" => one(good()),
        "guest" => {
            let mut words = rest.split(' ');
            let guest = fixtures::guest(words.next().unwrap_or_default())?;
            one(signed_for(&std::fs::read(guest)?, words)?)
        }
        "trailing" => one([desk::signed(&good(), "a")?, vec![0; count()?]].concat()),
        "cuts" => binary::cuts(count()?),
        "flips" => binary::flips(count()?),
        "overlong" => one(binary::overlong()),
        "endless" => one(binary::endless_section()),
        "claims-twice" => one(binary::claims_twice()?),
        "claims-nested" => one(binary::claims_nested()?),
        "cwasm" => one(binary::precompiled()),
        "long-token" => one(binary::claims_of(&"a".repeat(count()?))),
        "many-types-claimed" => one(desk::signed(&binary::count_without_end(), "a")?),
        "nested-components" => one(desk::signed(&bombs::nested_components(count()?), "a")?),
        "nested-types" => one(desk::signed(&bombs::nested_types(count()?), "a")?),
        "nested-blocks" => one(desk::signed(&bombs::nested_blocks(count()?), "a")?),
        "functions" => one(desk::signed(&bombs::functions(count()?), "a")?),
        "locals" => one(desk::signed(&bombs::locals(count()?), "a")?),
        "types" => one(desk::signed(&bombs::types(count()?), "a")?),
        "aliases" => one(bombs::yaml_aliases().into_bytes()),
        "repeat" => {
            let (times, text) = rest.split_once(' ').context("repeat COUNT TEXT")?;
            one(text.repeat(times.parse()?).into_bytes())
        }
        "stranger" => {
            let claims = desk::request("a");
            one(keys::sign_component(&good(), &claims, &desk::stranger(), desk::now() - 60)?)
        }
        "revoked" => {
            let claims = desk::request("a");
            one(keys::sign_component(&good(), &claims, &desk::revoked(), desk::now() - 60)?)
        }
        other => bail!("no generator is called {other:?}"),
    }
}

/// The component with only these capabilities.
fn signed_for<'a>(component: &[u8], capabilities: impl Iterator<Item = &'a str>) -> Result<Vec<u8>> {
    let mut claims = desk::request("a");
    claims.capabilities = capabilities.map(str::to_owned).collect();
    Ok(keys::sign_component(component, &claims, &desk::issuer(), desk::now() - 60)?)
}
