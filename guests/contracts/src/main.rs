//! Prints what components import and export: `cargo run -p contracts --target host-tuple -- a.wasm b.wasm`.

use std::io::Write;

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let mut out = std::io::stdout().lock();
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path).with_context(|| path.clone())?;
        let surface = contracts::surface(&bytes).with_context(|| path.clone())?;
        writeln!(out, "{path} ({} bytes)", bytes.len())?;
        for (label, names) in
            [("exports", &surface.exports), ("claimed", &surface.claimed), ("ambient", &surface.ambient)]
        {
            for name in names {
                writeln!(out, "  {label} {name}")?;
            }
        }
    }
    Ok(())
}
