//! `cargo xtask build`: the guests' components and our programs, as the tests use them. After it,
//! single tests run at once; `cargo xtask test` does the same first.

use anyhow::Result;
use tests_harness::{fixtures, workspace};

/// Builds both. True; a failure is an error.
///
/// # Errors
/// One does not build; what cargo printed is on standard error.
pub fn run() -> Result<bool> {
    guests()?;
    foreign()?;
    fixtures::build_programs()?;
    Ok(true)
}

/// The components, in a checkout that has guests.
pub fn guests() -> Result<()> {
    if has_guests() {
        fixtures::build_guests()?;
    }
    Ok(())
}

/// The components written as other projects' users write them.
pub fn foreign() -> Result<()> {
    if has_guests() {
        fixtures::build_foreign()?;
    }
    Ok(())
}

pub fn has_guests() -> bool {
    workspace::root().join("guests/Cargo.toml").is_file()
}
