//! The three classes of imports (DESIGN §6). *Ambient* ones are harmless and always there.
//! *Claimed* ones are linked to a router, so that links can come and go while the actor runs.
//! Anything that the claims do not name is refused before an instance exists.

use crate::capabilities::INTERFACES;
use crate::engine::Profile;
use keys::Claims;
use lattice_protocol::interface::contract_of;
use lattice_protocol::{ErrorCode, Interface, Report};

/// The versions of WASI's own packages that the engine's libraries have.
const WASI_VERSIONS: &[(&str, Profile)] = &[("0.2.12", Profile::Plain), ("0.3.0", Profile::Concurrent)];

/// Packages of WASI that are always there. Files, sockets and the environment are empty or refuse.
const AMBIENT_PACKAGES: &[&str] =
    &["wasi:io", "wasi:clocks", "wasi:random", "wasi:cli", "wasi:filesystem", "wasi:sockets"];

/// Interfaces beyond those that need no claim: they reach nothing but the actor itself.
const AMBIENT_INTERFACES: &[(&str, &str)] = &[
    ("wasi:config", "store"),
    ("wasi:config", "runtime"),
    ("wasi:logging", "logging"),
    ("wasmcloud:bus", "lattice"),
];

/// Interfaces that hold a package's types: by themselves they do nothing.
const TYPES: &str = "types";

/// What an import is to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportClass {
    /// Always there, and harmless.
    Ambient,
    /// A capability: each call needs a link.
    Capability,
    /// Another actor's export: each call needs a link.
    Actor,
}

/// One import of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The interface.
    pub interface: Interface,
    /// The component's own name for it (`import primary: store;`): then it is the link name.
    pub label: Option<String>,
    /// What it is to the host.
    pub class: ImportClass,
}

/// Reads and classifies the imports of a compiled component.
///
/// # Errors
/// `E_UNKNOWN_IMPORT`, `E_VERSION`, or `E_CAPABILITY_DENIED` when the claims do not name it.
pub(super) fn classify(
    compiled: &wasmtime::component::Component,
    profile: Profile,
    claims: &Claims,
) -> Result<Vec<Import>, Report> {
    let component = compiled.component_type();
    let mut imports = Vec::new();
    for (name, import) in component.imports(compiled.engine()) {
        let (text, label) = match import.implements {
            Some(implemented) => (implemented, Some(name.to_owned())),
            None => (name, None),
        };
        let interface: Interface = text.parse().map_err(|_| {
            Report::new(ErrorCode::UnknownImport, format!("import {name:?} is no interface"))
                .hint("import an interface of a package: a function alone cannot be linked")
        })?;
        let class = class_of(&interface, profile)?;
        if class != ImportClass::Ambient && !claims.may_use(&interface.to_string()) {
            return Err(unclaimed(&interface, claims));
        }
        imports.push(Import { interface, label, class });
    }
    Ok(imports)
}

fn class_of(interface: &Interface, profile: Profile) -> Result<ImportClass, Report> {
    let package = interface.package();
    if AMBIENT_PACKAGES.contains(&package) {
        let have = WASI_VERSIONS.iter().filter(|(_, needs)| *needs == Profile::Plain || *needs == profile);
        return version_among(interface, have.map(|(version, _)| *version)).map(|()| ImportClass::Ambient);
    }
    let same = |offered: &Interface| offered.package() == package && offered.name() == interface.name();
    let offered: Vec<Interface> = INTERFACES.iter().filter_map(|text| text.parse().ok()).collect();
    if offered.iter().any(same) {
        let have = offered.iter().filter(|offered| same(offered));
        version_among(interface, have.filter_map(|offered| offered.version()))?;
        let ambient = interface.name() == TYPES || AMBIENT_INTERFACES.contains(&(package, interface.name()));
        return Ok(if ambient { ImportClass::Ambient } else { ImportClass::Capability });
    }
    if offered.iter().any(|offered| offered.package() == package)
        || package.starts_with("wasi:")
        || package.starts_with("wasmcloud:")
    {
        return Err(Report::new(ErrorCode::UnknownImport, format!("unknown import: {interface}"))
            .hint("this host has no such interface"));
    }
    Ok(ImportClass::Actor)
}

fn version_among<'a>(interface: &Interface, have: impl Iterator<Item = &'a str>) -> Result<(), Report> {
    let have: Vec<&str> = have.collect();
    let fits = match interface.version() {
        None => true,
        Some(wanted) => have.iter().any(|have| lattice_protocol::interface::compatible(wanted, have)),
    };
    if fits {
        return Ok(());
    }
    Err(Report::new(ErrorCode::Version, format!("version of {interface}"))
        .got(interface.version().unwrap_or("none"))
        .limit(format!("have {}", have.join(", ")))
        .hint("build against a version that this host has, or update the host"))
}

fn unclaimed(interface: &Interface, claims: &Claims) -> Report {
    let shown = contract_of(interface).map_or_else(|| interface.to_string(), str::to_owned);
    Report::new(ErrorCode::CapabilityDenied, format!("capability denied: {shown}"))
        .at(format!("{} imports {interface}, which its claims do not name", claims.name))
        .hint(format!("sign it again with the capability {}", interface.unversioned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str, profile: Profile) -> Result<ImportClass, ErrorCode> {
        class_of(&text.parse().unwrap(), profile).map_err(|report| report.code)
    }

    #[test]
    fn every_import_has_one_class() {
        for (text, expected) in [
            ("wasi:io/streams@0.2.0", Ok(ImportClass::Ambient)),
            ("wasi:cli/environment@0.2.9", Ok(ImportClass::Ambient)),
            ("wasi:http/types@0.2.3", Ok(ImportClass::Ambient)),
            ("wasi:logging/logging", Ok(ImportClass::Ambient)),
            ("wasi:http/outgoing-handler@0.2.3", Ok(ImportClass::Capability)),
            ("wasi:keyvalue/store@0.2.0-draft", Ok(ImportClass::Capability)),
            ("wasi:keyvalue/store@0.2.0-draft2", Err(ErrorCode::Version)),
            ("wasi:io/streams@0.9.0", Err(ErrorCode::Version)),
            ("wasi:foo/bar@0.2.9", Err(ErrorCode::UnknownImport)),
            ("wasi:keyvalue/nonsense@0.2.0-draft", Err(ErrorCode::UnknownImport)),
            ("wasmcloud:nonsense/a@1.0.0", Err(ErrorCode::UnknownImport)),
            ("example:pong/pingpong@0.1.0", Ok(ImportClass::Actor)),
        ] {
            assert_eq!(class(text, Profile::Plain), expected, "{text}");
        }
        assert_eq!(class("wasi:clocks/monotonic-clock@0.3.0", Profile::Plain), Err(ErrorCode::Version));
        assert_eq!(class("wasi:clocks/monotonic-clock@0.3.0", Profile::Concurrent), Ok(ImportClass::Ambient));
    }
}
