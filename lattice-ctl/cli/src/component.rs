//! What a component imports and exports, read from its bytes. Used to sign (which capabilities does
//! it need?), to show, and to call its functions from the command line. Nothing is compiled and
//! nothing runs.

mod types;

use lattice_protocol::value::Signature;
use lattice_protocol::{ErrorCode, Interface, Report};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use types::Reader;
use wasmparser::component_types::ComponentEntityType;
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

/// Packages that every host offers and that reach nothing outside (DESIGN §6).
const AMBIENT_PACKAGES: &[&str] =
    &["wasi:io", "wasi:clocks", "wasi:random", "wasi:cli", "wasi:filesystem", "wasi:sockets"];
/// Single interfaces of that sort.
const AMBIENT_INTERFACES: &[&str] =
    &["wasi:config/store", "wasi:config/runtime", "wasi:logging/logging", "wasmcloud:bus/lattice"];

/// A component from outside.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shape {
    /// Interfaces it imports, in its order.
    pub imports: Vec<Import>,
    /// Interfaces it exports, in its order.
    pub exports: Vec<String>,
    /// Functions of its exports, as they can be called; none for those that take or give resources.
    #[serde(skip)]
    pub functions: BTreeMap<String, BTreeMap<String, Option<Signature>>>,
}

/// One import.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Import {
    /// The interface, or what else is imported.
    pub interface: String,
    /// The component's own name for it: a link name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Needs neither claim nor link.
    pub ambient: bool,
}

/// Does this interface need neither claim nor link?
pub fn is_ambient(interface: &Interface) -> bool {
    AMBIENT_PACKAGES.contains(&interface.package())
        || AMBIENT_INTERFACES.contains(&interface.unversioned().as_str())
        || interface.name() == "types"
}

fn malformed(error: &wasmparser::BinaryReaderError) -> Report {
    Report::new(ErrorCode::Malformed, error.message().to_owned()).at(format!("byte {:#x}", error.offset()))
}

impl Shape {
    /// Reads a component.
    ///
    /// # Errors
    /// `E_MALFORMED` and the like: what is not a valid component.
    pub fn read(file: &[u8]) -> Result<Self, Report> {
        keys::split(file, keys::section::MAX_COMPONENT_BYTES).map_err(|error| claims_report(&error))?;
        // Whatever reads the rest recurses.
        host_runtime::check_nesting(file)?;
        let types = Validator::new_with_features(WasmFeatures::all())
            .validate_all(file)
            .map_err(|error| malformed(&error))?;
        let (mut shape, mut depth) = (Self::default(), 0usize);
        let mut parser = Parser::new(0);
        parser.set_features(WasmFeatures::all());
        for payload in parser.parse_all(file) {
            match payload.map_err(|error| malformed(&error))? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(imports) if depth == 0 => {
                    for import in imports {
                        shape.import(import.map_err(|error| malformed(&error))?.name);
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 0 => {
                    for export in exports {
                        shape.exports.push(export.map_err(|error| malformed(&error))?.name.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        let reader = Reader::new(types.as_ref());
        for export in &shape.exports {
            if let Some(item) = types.component_item_for_export(export)
                && let ComponentEntityType::Instance(instance) = item.ty
            {
                shape.functions.insert(export.clone(), reader.functions(instance));
            }
        }
        Ok(shape)
    }

    fn import(&mut self, name: wasmparser::ComponentExternName<'_>) {
        let (text, label) = match name.implements {
            Some(interface) => (interface, Some(name.name.to_owned())),
            None => (name.name, None),
        };
        let ambient = text.parse::<Interface>().is_ok_and(|interface| is_ambient(&interface));
        self.imports.push(Import { interface: text.to_owned(), label, ambient });
    }

    /// The interfaces that its claims must name: everything but what is ambient, without versions.
    pub fn capabilities(&self) -> BTreeSet<String> {
        let imports = self.imports.iter().map(|import| import.interface.as_str());
        imports
            .chain(self.exports.iter().map(String::as_str))
            .filter_map(|text| text.parse::<Interface>().ok())
            .filter(|interface| !is_ambient(interface))
            .map(|interface| interface.unversioned())
            .collect()
    }

    /// An exported function: by interface and name, or by name alone if only one has it.
    ///
    /// # Errors
    /// `E_NO_HANDLER`, with what there is.
    pub fn function(&self, interface: Option<&str>, function: &str) -> Result<(&str, &Signature), Report> {
        let wanted = interface.map(|text| text.split('@').next().unwrap_or(text));
        let fits = |have: &str| {
            let have = have.split('@').next().unwrap_or(have);
            wanted.is_none_or(|wanted| wanted == have || have.rsplit('/').next() == Some(wanted))
        };
        let mut found =
            self.functions.iter().filter(|(have, _)| fits(have)).filter_map(|(have, functions)| {
                functions.get(function).map(|signature| (have.as_str(), signature.as_ref()))
            });
        match (found.next(), found.next()) {
            (Some((have, Some(signature))), None) => Ok((have, signature)),
            (Some((have, None)), None) => Err(Report::new(
                ErrorCode::Usage,
                "function takes or gives resources: it cannot be called from outside",
            )
            .at(format!("{have}.{function}"))),
            (Some((first, _)), Some((second, _))) => {
                Err(Report::new(ErrorCode::Usage, "several interfaces have this function")
                    .at(function)
                    .got(format!("{first}, {second}"))
                    .hint("say which with --interface"))
            }
            (None, _) => Err(Report::new(ErrorCode::NoHandler, "no such function")
                .at(function)
                .hint(format!("it has {}", self.names_of_functions()))),
        }
    }

    fn names_of_functions(&self) -> String {
        let names: Vec<String> = self
            .functions
            .iter()
            .flat_map(|(interface, functions)| {
                functions.keys().map(move |name| format!("{interface}.{name}"))
            })
            .collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }
}

/// A refusal of claims or of a file's framing, as a report with the same stable code.
pub fn claims_report(error: &keys::ClaimsError) -> Report {
    Report::new(ErrorCode::parse(error.code()).unwrap_or(ErrorCode::Claim), error.to_string())
}
