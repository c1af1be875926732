//! The programs that tests need and that cargo does not bring: found, or fetched once.
//!
//! Invariants:
//! * Every function is idempotent, and safe when many processes call it at once: work is done
//!   under a file lock, and what it makes appears by one atomic rename.
//! * What is downloaded is checked against a hash in this repository before it is unpacked.
//! * The functions block: call them before an async runtime has work to do, or from a test.

mod lock;
mod nats_server;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

pub(crate) use lock::with_lock;
pub use nats_server::ensure_nats_server;

/// A `redis-server`: the one on PATH, else installed from the distribution's packages when this
/// process may do that.
///
/// # Errors
/// Not on PATH and not root, or the package manager failed: says what to install.
pub fn ensure_redis() -> Result<PathBuf> {
    ensure_packaged("redis-server", "redis-server")
}

/// `wrk`, the load generator: found or installed as [`ensure_redis`] does.
///
/// # Errors
/// As [`ensure_redis`].
pub fn ensure_wrk() -> Result<PathBuf> {
    ensure_packaged("wrk", "wrk")
}

/// `docker-registry`, an OCI registry: found or installed as [`ensure_redis`] does.
///
/// # Errors
/// As [`ensure_redis`].
pub fn ensure_docker_registry() -> Result<PathBuf> {
    ensure_packaged("docker-registry", "docker-registry")
}

/// `ip` and `nft`, which make networks and cut them: found or installed as [`ensure_redis`] does.
///
/// # Errors
/// As [`ensure_redis`].
pub fn ensure_networks() -> Result<()> {
    ensure_packaged("ip", "iproute2")?;
    ensure_packaged("nft", "nftables").map(drop)
}

/// What cross-builds and runs programs for aarch64: the compiler's target, a linker with its
/// library, and the emulator, whose path is returned. Found or installed as [`ensure_redis`] does.
///
/// # Errors
/// As [`ensure_redis`], and those of `rustup`.
pub fn ensure_aarch64() -> Result<PathBuf> {
    ensure_target("aarch64-unknown-linux-gnu")?;
    ensure_packaged("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu")?;
    if !Path::new("/usr/aarch64-linux-gnu/lib/libc.so.6").exists() {
        with_lock("apt", || apt_get_install("libc6-dev-arm64-cross"))?;
    }
    ensure_packaged("qemu-aarch64-static", "qemu-user-static")
}

fn ensure_packaged(program: &str, package: &str) -> Result<PathBuf> {
    if let Some(found) = on_path(program) {
        return Ok(found);
    }
    with_lock("apt", || {
        if let Some(found) = on_path(program) {
            return Ok(found);
        }
        if !rustix::process::geteuid().is_root() || on_path("apt-get").is_none() {
            bail!("{program}: not on PATH; install it (apt-get install {package})");
        }
        apt_get_install(package)?;
        on_path(program).with_context(|| format!("{program}: installed, but still not on PATH"))
    })
}

/// The `wasm32-wasip2` standard library of the toolchain in use.
///
/// # Errors
/// Not installed and `rustup` is missing or fails: says what to run.
pub fn ensure_wasm_target() -> Result<()> {
    ensure_target("wasm32-wasip2")
}

fn ensure_target(target: &str) -> Result<()> {
    with_lock("rustup", || {
        if has_target(target)? {
            return Ok(());
        }
        run(Command::new("rustup").args(["target", "add", target]))
            .with_context(|| format!("{target}: run `rustup target add {target}`"))?;
        Ok(())
    })
}

fn has_target(target: &str) -> Result<bool> {
    let output = run(Command::new("rustc").args(["--print", "target-libdir", "--target", target]))?;
    let dir = String::from_utf8(output.stdout).context("rustc's target-libdir is not UTF-8")?;
    Ok(Path::new(dir.trim()).is_dir())
}

fn apt_get_install(package: &str) -> Result<()> {
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    run(apt().args(["update", "-q"]))?;
    run(apt().args(["install", "-y", "-q", "--no-install-recommends", package]))?;
    Ok(())
}

/// The first executable file called `program` on PATH.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Runs to the end, without input; an unsuccessful end is an error with what it printed.
pub(crate) fn run(command: &mut Command) -> Result<Output> {
    let shown = format!("{command:?}").replace('"', "");
    let output = command
        .stdin(std::process::Stdio::null())
        .output()
        .with_context(|| format!("`{shown}` cannot be started"))?;
    if !output.status.success() {
        bail!(
            "`{shown}` failed ({}):\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
    }
    Ok(output)
}

#[cfg(test)]
mod tests;
