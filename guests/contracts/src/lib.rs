//! The contracts seen from outside: what a folder of `wit/` declares, and what a built component imports and
//! exports. The tests hold both against texts in `golden/`, so that a lost function or a new import is a line in a
//! diff. Runs on the build machine, never as a component.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use wit_component::DecodedWasm;
use wit_parser::{PackageId, Resolve, WorldItem, WorldKey};

/// Interfaces that every host offers to every actor and that grant nothing: no claim and no link is needed.
const AMBIENT: &[&str] =
    &["wasi:io/", "wasi:clocks/", "wasi:random/", "wasi:cli/", "wasi:filesystem/", "wasi:sockets/"];

/// How a component begins; a core module has another version and layer.
const PREAMBLE: &[u8] = b"\0asm\x0d\0\x01\0";

/// What a component asks of its host, and what it offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surface {
    /// Interfaces that need a claim and a link, sorted.
    pub claimed: Vec<String>,
    /// Interfaces that any host gives, sorted.
    pub ambient: Vec<String>,
    /// Interfaces it exports, sorted.
    pub exports: Vec<String>,
}

/// Reads the surface of a component.
///
/// # Errors
/// When the bytes are no component.
pub fn surface(component: &[u8]) -> Result<Surface> {
    if component.get(..PREAMBLE.len()) != Some(PREAMBLE) {
        bail!("not a component: the first bytes say otherwise");
    }
    let DecodedWasm::Component(resolve, world) = wit_component::decode(component)? else {
        bail!("a WIT package, not a component");
    };
    let world = resolve.worlds.get(world).context("the component has no world")?;
    let imports = world.imports.iter().filter(|(_, item)| asks(&resolve, item)).map(|(key, _)| key);
    let (ambient, claimed) = sorted(&resolve, imports)
        .into_iter()
        .partition(|name| AMBIENT.iter().any(|each| name.starts_with(each)));
    Ok(Surface { claimed, ambient, exports: sorted(&resolve, world.exports.keys()) })
}

/// The names behind the keys of a world, sorted.
fn sorted<'a>(resolve: &Resolve, keys: impl Iterator<Item = &'a WorldKey>) -> Vec<String> {
    let mut names: Vec<String> = keys.map(|key| resolve.name_world_key(key)).collect();
    names.sort();
    names
}

/// Whether the host must do something for it: an interface of types alone asks for nothing.
fn asks(resolve: &Resolve, item: &WorldItem) -> bool {
    match item {
        WorldItem::Interface { id, .. } => {
            resolve.interfaces.get(*id).is_none_or(|each| !each.functions.is_empty())
        }
        WorldItem::Function(_) | WorldItem::Type { .. } => true,
    }
}

/// One line per interface of the package in `folder`: its full name, then its functions in order.
///
/// # Errors
/// When the folder does not parse or resolve.
pub fn declared(folder: &Path) -> Result<String> {
    let mut resolve = Resolve::default();
    let (package, _) =
        resolve.push_dir(folder).with_context(|| format!("wit folder {}", folder.display()))?;
    lines(&resolve, package)
}

fn lines(resolve: &Resolve, package: PackageId) -> Result<String> {
    let package = resolve.packages.get(package).context("the package is gone")?;
    let mut text = String::new();
    let interfaces: BTreeMap<_, _> = package.interfaces.iter().collect();
    for (_, id) in interfaces {
        let name = resolve.id_of(*id).context("an interface without a name")?;
        let interface = resolve.interfaces.get(*id).context("an interface is gone")?;
        let functions: Vec<&str> = interface.functions.keys().map(String::as_str).collect();
        text.push_str(format!("{name}: {}", functions.join(", ")).trim_end());
        text.push('\n');
    }
    let worlds: Vec<&str> = package.worlds.keys().map(String::as_str).collect();
    text.push_str(&format!("{} worlds: {}\n", package.name, worlds.join(", ")));
    Ok(text)
}
