//! The guest SDK as this very program was built with it, to be copied into a new project. Nothing of it is
//! on a registry of crates, so a project carries its own: it builds on any machine, and it fits the hosts
//! of the `trellis` that made it.
//!
//! The copy keeps the folders of this repository, because the SDK names its WIT relative to itself.

use crate::output::file_report;
use lattice_protocol::Report;
use std::path::Path;

/// The folder of the copy, in the project.
pub const FOLDER: &str = "trellis-sdk";
/// The crate that a project depends on, in the copy.
pub const CRATE: &str = "guests/sdk";

macro_rules! files {
    ($($path:literal,)*) => { &[$(($path, include_str!(concat!("../../../../../", $path)))),*] };
}

/// Every file of the SDK by its path in this repository (a test compares the list with the folders).
const FILES: &[(&str, &str)] = files![
    "LICENSE",
    "guests/sdk-macros/Cargo.toml",
    "guests/sdk-macros/src/actor.rs",
    "guests/sdk-macros/src/event.rs",
    "guests/sdk-macros/src/function.rs",
    "guests/sdk-macros/src/lib.rs",
    "guests/sdk-macros/src/state.rs",
    "guests/sdk-macros/src/types.rs",
    "guests/sdk/Cargo.toml",
    "guests/sdk/src/actor.rs",
    "guests/sdk/src/actor/codec.rs",
    "guests/sdk/src/actor/command.rs",
    "guests/sdk/src/actor/decision.rs",
    "guests/sdk/src/actor/event.rs",
    "guests/sdk/src/actor/export.rs",
    "guests/sdk/src/actor/flow.rs",
    "guests/sdk/src/actor/flow/event.rs",
    "guests/sdk/src/actor/flow/tests.rs",
    "guests/sdk/src/actor/flow/walk.rs",
    "guests/sdk/src/actor/keys.rs",
    "guests/sdk/src/actor/keys/entry.rs",
    "guests/sdk/src/actor/keys/handle.rs",
    "guests/sdk/src/actor/keys/tests.rs",
    "guests/sdk/src/actor/kit.rs",
    "guests/sdk/src/actor/kit/drive.rs",
    "guests/sdk/src/actor/kit/garbage.rs",
    "guests/sdk/src/actor/kit/history.rs",
    "guests/sdk/src/actor/kit/laws.rs",
    "guests/sdk/src/actor/kit/then.rs",
    "guests/sdk/src/actor/machine.rs",
    "guests/sdk/src/actor/ordered.rs",
    "guests/sdk/src/actor/refusal.rs",
    "guests/sdk/src/actor/tests.rs",
    "guests/sdk/src/actor/turn.rs",
    "guests/sdk/src/bindings.rs",
    "guests/sdk/src/client.rs",
    "guests/sdk/src/config.rs",
    "guests/sdk/src/error.rs",
    "guests/sdk/src/http.rs",
    "guests/sdk/src/http/body.rs",
    "guests/sdk/src/http/incoming.rs",
    "guests/sdk/src/http/outgoing.rs",
    "guests/sdk/src/http/tests.rs",
    "guests/sdk/src/http/url.rs",
    "guests/sdk/src/kv.rs",
    "guests/sdk/src/lib.rs",
    "guests/sdk/src/link.rs",
    "guests/sdk/src/log.rs",
    "guests/sdk/src/messaging.rs",
    "wit/trellis-actor/client.wit",
    "wit/trellis-actor/types.wit",
    "wit/trellis-actor/world.wit",
    "wit/wasi-config-rc1/store.wit",
    "wit/wasi-config-rc1/world.wit",
    "wit/wasi-keyvalue/atomic.wit",
    "wit/wasi-keyvalue/batch.wit",
    "wit/wasi-keyvalue/store.wit",
    "wit/wasi-keyvalue/watch.wit",
    "wit/wasi-keyvalue/world.wit",
    "wit/wasi-logging/logging.wit",
    "wit/wasi-logging/world.wit",
    "wit/wasmcloud-bus/bus.wit",
    "wit/wasmcloud-bus/world.wit",
    "wit/wasmcloud-messaging/messaging.wit",
    "wit/wasmcloud-messaging/world.wit",
];

/// The workspace of the guests: the SDK's crates take versions, dependencies and lints from it.
const WORKSPACE: &str = include_str!("../../../../../guests/Cargo.toml");

/// What stays of the workspace in a copy: what its two crates inherit.
fn workspace() -> String {
    let inherited = WORKSPACE.split_once("[workspace.package]").map_or("", |(_, rest)| rest);
    let inherited = inherited.split_once("[profile.").map_or(inherited, |(kept, _)| kept);
    format!(
        "# The guest SDK of trellis {}, copied by `trellis new`. To renew it, replace this folder by that of a\n\
         # new project. Its licence is beside it.\n\
         [workspace]\nresolver = \"3\"\nmembers = [\"sdk\", \"sdk-macros\"]\n\n[workspace.package]{}\n",
        env!("CARGO_PKG_VERSION"),
        inherited.trim_end()
    )
}

/// Writes the copy into a project.
///
/// # Errors
/// What the file system says.
pub fn copy_into(project: &Path) -> Result<(), Report> {
    let root = project.join(FOLDER);
    let workspace = workspace();
    for (path, text) in FILES.iter().copied().chain([("guests/Cargo.toml", workspace.as_str())]) {
        let path = root.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .map_err(|error| file_report("make the directory", parent, &error))?;
        }
        std::fs::write(&path, text).map_err(|error| file_report("write", &path, &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn files_below(root: &Path, path: &str, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(root.join(path)).unwrap() {
            let entry = entry.unwrap();
            let below = format!("{path}/{}", entry.file_name().to_str().unwrap());
            match entry.file_type().unwrap().is_dir() {
                true => files_below(root, &below, found),
                false => drop(found.insert(below)),
            }
        }
    }

    /// A file that is missing here would be missed only by a user.
    #[test]
    fn the_copy_is_whole() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let bindings = std::fs::read_to_string(root.join("guests/sdk/src/bindings.rs")).unwrap();
        let mut wanted = BTreeSet::from(["LICENSE".to_owned()]);
        files_below(&root, "guests/sdk", &mut wanted);
        files_below(&root, "guests/sdk-macros", &mut wanted);
        for (_, after) in
            bindings.match_indices("path: \"../../").map(|(at, found)| (at, &bindings[at + found.len()..]))
        {
            files_below(&root, after.split('"').next().unwrap(), &mut wanted);
        }
        let copied: BTreeSet<String> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(copied, wanted);
    }

    #[test]
    fn the_copy_s_workspace_has_what_its_crates_inherit_and_no_more() {
        let text = workspace();
        assert!(text.contains("\n[workspace.dependencies]\n") && text.contains("\nedition = "), "{text}");
        assert!(text.contains("\n[workspace.lints.rust]\n") && !text.contains("[profile"), "{text}");
        assert_eq!(text.matches("members").count(), 1, "{text}");
    }
}
