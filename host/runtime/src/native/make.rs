//! The other side: a component is compiled for hosts that do not, and sealed.

use super::{For, KIND, MAGIC, Statement, Target};
use crate::RuntimeConfig;
use crate::component::{check, check_nesting};
use crate::engine::{Compiler, MAX_TABLE_ELEMENTS, Profile, fingerprint};
use bytes::Bytes;
use keys::{Digest, KeyPair};
use lattice_protocol::{ErrorCode, Report};

/// Sealed code, and what it is called in the lattice.
#[derive(Debug, Clone)]
pub struct Made {
    /// Its name there.
    pub name: String,
    /// It.
    pub sealed: Bytes,
}

/// Compiles the component in a signed file for hosts of a target, and seals it with a compiler key. Takes
/// as long as compiling does: seconds for an interpreter, on every processor.
///
/// # Errors
/// What a host would say of the file, or `E_USAGE` when this program cannot compile for the target.
pub fn compile(file: &[u8], target: &Target, compiler: &KeyPair) -> Result<Made, Report> {
    let component = component(file)?;
    let profile = profile(component)?;
    let limit = RuntimeConfig::default().max_memory_bytes.min(target.reservation().bytes);
    let table_elements = u64::try_from(MAX_TABLE_ELEMENTS).unwrap_or(u64::MAX);
    check::check(component, check::Bounds { memory_bytes: limit, table_elements })?;
    let native = Compiler::of_target(profile, target)
        .map_err(|error| {
            Report::new(ErrorCode::Usage, format!("this program cannot compile for {target}: {error:#}"))
                .hint("compile where the whole program is: its build has `operator`")
        })?
        .compile(component)
        .map_err(|error| check::explain(&error))?;
    let fingerprint = fingerprint(profile, target);
    let made_for = For { component: Digest::of(component), target, fingerprint: &fingerprint };
    let internal = |error: String| Report::new(ErrorCode::Internal, error);
    let payload = serde_json::to_vec(&Statement::of(made_for, native.bytes()))
        .map_err(|error| internal(error.to_string()))?;
    let signed = keys::sign_document(KIND, payload, compiler).map_err(|error| internal(error.to_string()))?;
    let statement = serde_json::to_vec(&signed).map_err(|error| internal(error.to_string()))?;
    let length = u32::try_from(statement.len()).map_err(|error| internal(error.to_string()))?;
    let sealed = [MAGIC, &length.to_le_bytes()[..], &statement, native.bytes()].concat().into();
    Ok(Made { name: made_for.name(), sealed })
}

/// What the code of a signed file for hosts of a target is called in the lattice, without compiling it.
///
/// # Errors
/// What a host would say of the file.
pub fn name_for(file: &[u8], target: &Target) -> Result<String, Report> {
    let component = component(file)?;
    Ok(super::name_of(&Digest::of(component), &fingerprint(profile(component)?, target)))
}

/// The component without its claims.
fn component(file: &[u8]) -> Result<&[u8], Report> {
    keys::split(file, keys::section::MAX_COMPONENT_BYTES)
        .map(|parts| parts.body)
        .map_err(|error| crate::runtime::claims_report(&error))
}

fn profile(component: &[u8]) -> Result<Profile, Report> {
    check_nesting(component)?;
    check::profile(component)
}
