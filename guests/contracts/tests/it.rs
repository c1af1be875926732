//! Holds the WIT texts and the built guests against `golden/`. A difference is printed; when it is meant, copy what
//! the test found (it says from where) into the golden file.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use contracts::{declared, surface};

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The entries of a folder, sorted.
fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn matches_golden(name: &str, found: &str) -> Result<()> {
    let golden = here().join("golden").join(name);
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    if found != expected {
        let path = std::env::temp_dir().join(name);
        fs::write(&path, found)?;
        let only = |mark, these: &str, those: &str| -> String {
            let lost = these.lines().filter(|line| !those.lines().any(|each| each == *line));
            lost.map(|line| format!("{mark} {line}\n")).collect()
        };
        anyhow::bail!(
            "{} differs; what was found is in {}\n{}{}",
            golden.display(),
            path.display(),
            only('+', found, &expected),
            only('-', &expected, found)
        );
    }
    Ok(())
}

#[test]
fn every_contract_parses_and_is_whole() -> Result<()> {
    let mut text = String::new();
    for folder in sorted(&here().join("../../wit"))? {
        if folder.is_dir() {
            writeln!(text, "# {}", folder.file_name().unwrap_or_default().display())?;
            text.push_str(&declared(&folder)?);
        }
    }
    matches_golden("wit.txt", &text)
}

#[test]
fn every_guest_asks_for_what_it_uses_and_no_more() -> Result<()> {
    let built = here().join("../target/wasm32-wasip2/release");
    let mut text = String::new();
    let guests: Vec<_> = sorted(&built)
        .context("no guests are built; run `cargo build --release` in guests/ first")?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
        .collect();
    for path in guests {
        let name = path.file_stem().unwrap_or_default().display().to_string();
        let surface = surface(&fs::read(&path)?).with_context(|| name.clone())?;
        writeln!(text, "# {name}")?;
        for name in surface.exports {
            writeln!(text, "export {name}")?;
        }
        for name in surface.claimed {
            writeln!(text, "import {name}")?;
        }
    }
    matches_golden("guests.txt", &text)
}

#[test]
fn what_is_no_component_is_refused() {
    assert!(surface(b"").is_err());
    assert!(surface(b"\0asm\x01\0\0\0").is_err(), "a core module");
    assert!(surface(b"\x7fELF").is_err());
}
