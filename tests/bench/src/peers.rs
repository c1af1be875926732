//! `wasmtime serve` beside us, on the same component, when it is installed (`WASMTIME` names the
//! program, else `PATH` has it): the host that everybody can have, as it comes and as an expert
//! would set it.
//!
//! `cargo install wasmtime-cli --version 48.0.8 --locked` installs it.

use crate::outside::{first_answer, free_address};
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use tests_harness::{Process, ProcessSpec};

/// One way to run it.
pub struct Way {
    /// As it is shown.
    pub name: &'static str,
    flags: &'static [&'static str],
}

/// Pages of a slot stay, and the kernel says which were written.
const TUNED: &str = "-Opooling-allocator=y,pooling-memory-keep-resident=2097152,pooling-table-keep-resident=65536,\
                     pooling-async-stack-keep-resident=65536,pooling-pagemap-scan=y";

/// A new instance for each request.
pub const FRESH: &[Way] = &[
    Way { name: "wasmtime serve, defaults", flags: &["-Opooling-allocator=y"] },
    Way { name: "wasmtime serve, pool tuned", flags: &[TUNED] },
];

/// Instances that serve several requests.
pub const REUSED: &[Way] = &[Way {
    name: "wasmtime serve, pool tuned, 128 requests an instance",
    flags: &[TUNED, "--max-instance-reuse-count=128"],
}];

/// WASI 0.3; 128 requests an instance, 16 at once, are its defaults.
pub const CONCURRENT: &[Way] = &[Way {
    name: "wasmtime serve, pool tuned, 128 requests an instance, 16 at once",
    flags: &[TUNED, "-Scli"],
}];

/// Where the program is, if it is there at all.
pub fn program() -> Option<PathBuf> {
    let program = std::env::var_os("WASMTIME").map_or_else(|| PathBuf::from("wasmtime"), PathBuf::from);
    let there = Command::new(&program).arg("--version").output().is_ok_and(|output| output.status.success());
    there.then_some(program)
}

/// Serves the component; it answers when this returns.
pub async fn serve(program: &Path, way: &Way, component: &Path, log: &Path) -> Result<(Process, SocketAddr)> {
    let address = free_address()?;
    let mut process = ProcessSpec::new("wasmtime serve", program, log)
        .arg("serve")
        .args(way.flags.iter().copied())
        .arg(format!("--addr={address}"))
        .arg(component)
        .spawn()?;
    first_answer(&mut process, address, "/", Instant::now()).await.with_context(|| way.name)?;
    Ok((process, address))
}
