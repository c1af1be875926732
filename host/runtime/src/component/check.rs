//! What is checked of a component before it is compiled, and what kind of engine it needs. The
//! signature has been verified: this guards against accidents and against trusted people's tools,
//! and it makes compilation cost what the file's size suggests.
//!
//! Only headers and counts are read here; that the code is valid is the compiler's own check
//! ([`explain`] says in our words what it found).

#![cfg_attr(
    not(feature = "compiler"),
    allow(dead_code, reason = "without a compiler only the profile is read")
)]

use crate::engine::Profile;
use lattice_protocol::{ErrorCode, Report};
use wasmparser::{
    BinaryReaderError, CanonicalFunction, CanonicalOption, ComponentDefinedType, ComponentType,
    ComponentTypeDeclaration, CompositeInnerType, FunctionBody, InstanceTypeDeclaration, MemoryType,
    Operator, Parser, Payload, TableType, TypeRef,
};

/// Blocks within each other in one function: one `switch` of an interpreter has hundreds.
const MAX_BLOCKS: u32 = 10_000;
/// Functions of the whole file.
const MAX_FUNCTIONS: u64 = 500_000;
/// Core types of the whole file.
const MAX_TYPES: u64 = 50_000;
/// Locals of one function.
const MAX_LOCALS: u64 = 10_000;
const PAGE: u64 = 64 << 10;

/// What a component may ask for at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Linear memory, bytes.
    pub(crate) memory_bytes: u64,
    /// Elements of a table.
    pub(crate) table_elements: u64,
}

fn malformed(error: &BinaryReaderError) -> Report {
    Report::new(ErrorCode::Malformed, error.message().to_owned()).at(format!("{:#x}", error.offset()))
}

/// Which engine a component needs: the concurrent one if anything in it is async. Its nesting was
/// checked: reading types recurses.
pub(crate) fn profile(file: &[u8]) -> Result<Profile, Report> {
    for payload in Parser::new(0).parse_all(file) {
        let found = match payload.map_err(|error| malformed(&error))? {
            Payload::ComponentTypeSection(section) => {
                any(section, |found: ComponentType<'_>| is_async_type(&found))?
            }
            Payload::ComponentCanonicalSection(section) => any(section, is_async_function)?,
            Payload::ComponentImportSection(section) => {
                any(section, |import: wasmparser::ComponentImport<'_>| is_wasi_3(import.name.name))?
            }
            Payload::ComponentExportSection(section) => {
                any(section, |export: wasmparser::ComponentExport<'_>| is_wasi_3(export.name.name))?
            }
            _ => false,
        };
        if found {
            return Ok(Profile::Concurrent);
        }
    }
    Ok(Profile::Plain)
}

fn any<'a, T: wasmparser::FromReader<'a>>(
    section: wasmparser::SectionLimited<'a, T>,
    is: impl Fn(T) -> bool,
) -> Result<bool, Report> {
    for item in section {
        if is(item.map_err(|error| malformed(&error))?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_wasi_3(name: &str) -> bool {
    name.starts_with("wasi:") && name.contains("@0.3.")
}

fn is_async_type(found: &ComponentType<'_>) -> bool {
    match found {
        ComponentType::Defined(defined) => {
            matches!(defined, ComponentDefinedType::Stream(_) | ComponentDefinedType::Future(_))
        }
        ComponentType::Func(function) => function.async_,
        ComponentType::Component(parts) => parts
            .iter()
            .any(|part| matches!(part, ComponentTypeDeclaration::Type(found) if is_async_type(found))),
        ComponentType::Instance(parts) => parts
            .iter()
            .any(|part| matches!(part, InstanceTypeDeclaration::Type(found) if is_async_type(found))),
        ComponentType::Resource { .. } => false,
    }
}

fn is_async_function(function: CanonicalFunction) -> bool {
    match function {
        CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. } => {
            options.contains(&CanonicalOption::Async)
        }
        CanonicalFunction::ResourceNew { .. }
        | CanonicalFunction::ResourceDrop { .. }
        | CanonicalFunction::ResourceRep { .. } => false,
        // Tasks, streams, futures, waitable sets: all of them belong to component concurrency.
        _ => true,
    }
}

/// Checks counts, memories, tables and features, and the nesting of blocks.
pub(crate) fn check(file: &[u8], bounds: Bounds) -> Result<(), Report> {
    let mut counts = Counts { bounds, functions: 0, types: 0 };
    for payload in Parser::new(0).parse_all(file) {
        counts.see(payload.map_err(|error| malformed(&error))?)?;
    }
    Ok(())
}

struct Counts {
    bounds: Bounds,
    functions: u64,
    types: u64,
}

impl Counts {
    fn see(&mut self, payload: Payload<'_>) -> Result<(), Report> {
        match payload {
            Payload::FunctionSection(section) => {
                self.functions += u64::from(section.count());
                limit(self.functions, MAX_FUNCTIONS, ErrorCode::Limit, "functions")
            }
            Payload::TypeSection(section) => self.types(section),
            Payload::MemorySection(section) => each(section, |memory| self.memory(&memory)),
            Payload::TableSection(section) => each(section, |table| self.table(&table.ty)),
            Payload::ImportSection(section) => each(section.into_imports(), |import| match import.ty {
                TypeRef::Memory(memory) => self.memory(&memory),
                TypeRef::Table(table) => self.table(&table),
                _ => Ok(()),
            }),
            Payload::CodeSectionEntry(body) => code(&body),
            _ => Ok(()),
        }
    }

    fn types(&mut self, section: wasmparser::TypeSectionReader<'_>) -> Result<(), Report> {
        self.types += u64::from(section.count());
        limit(self.types, MAX_TYPES, ErrorCode::Limit, "types")?;
        each(section, |group| {
            for found in group.types() {
                if !matches!(found.composite_type.inner, CompositeInnerType::Func(_)) {
                    return Err(disabled("gc"));
                }
                if found.composite_type.shared {
                    return Err(disabled("threads"));
                }
            }
            Ok(())
        })
    }

    fn memory(&self, memory: &MemoryType) -> Result<(), Report> {
        if memory.shared {
            return Err(disabled("threads"));
        }
        if memory.memory64 {
            return Err(disabled("memory64"));
        }
        let limit = self.bounds.memory_bytes / PAGE;
        if memory.initial <= limit {
            return Ok(());
        }
        Err(Report::new(ErrorCode::Memory, "initial memory over the limit")
            .got(format!("min {} pages", memory.initial))
            .limit(format!("limit {limit} pages of 64 KiB")))
    }

    fn table(&self, table: &TableType) -> Result<(), Report> {
        if table.shared {
            return Err(disabled("threads"));
        }
        if table.table64 {
            return Err(disabled("memory64"));
        }
        limit(table.initial, self.bounds.table_elements, ErrorCode::Table, "initial table elements")
    }
}

fn each<T>(
    items: impl IntoIterator<Item = Result<T, BinaryReaderError>>,
    mut check: impl FnMut(T) -> Result<(), Report>,
) -> Result<(), Report> {
    items.into_iter().try_for_each(|item| check(item.map_err(|error| malformed(&error))?))
}

fn code(body: &FunctionBody<'_>) -> Result<(), Report> {
    let mut locals: u64 = 0;
    let reader = body.get_locals_reader().map_err(|error| malformed(&error))?;
    each(reader, |(count, _)| {
        locals += u64::from(count);
        limit(locals, MAX_LOCALS, ErrorCode::Limit, "locals of one function")
    })?;
    // Every block costs two bytes at least: a short body cannot be nested too deep.
    if body.range().len() < usize::try_from(MAX_BLOCKS).unwrap_or(usize::MAX) {
        return Ok(());
    }
    let mut depth: u32 = 0;
    each(body.get_operators_reader().map_err(|error| malformed(&error))?, |operator| {
        match operator {
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::TryTable { .. }
            | Operator::Try { .. } => depth += 1,
            Operator::End => depth = depth.saturating_sub(1),
            _ => {}
        }
        limit(depth.into(), MAX_BLOCKS.into(), ErrorCode::Nesting, "nested blocks")
    })
}

fn limit(got: u64, limit: u64, code: ErrorCode, what: &str) -> Result<(), Report> {
    if got <= limit {
        return Ok(());
    }
    let what = if code == ErrorCode::Nesting { format!("{what}: depth > {limit}") } else { what.to_owned() };
    Err(Report::new(code, what).got(got).limit(format!("at most {limit}")))
}

fn disabled(feature: &str) -> Report {
    Report::new(ErrorCode::Feature, format!("{feature} disabled"))
        .hint("build the component for wasm32-wasip2 without it")
}

/// Says in our words why the compiler refused a component.
#[cfg(feature = "compiler")]
pub(crate) fn explain(error: &wasmtime::Error) -> Report {
    let text = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<BinaryReaderError>().map(ToString::to_string))
        .unwrap_or_else(|| format!("{error:#}"));
    let feature = ["must be enabled", "not enabled", "disallowed", "requires the", "not supported"];
    let code = if feature.iter().any(|words| text.contains(words)) {
        ErrorCode::Feature
    } else {
        ErrorCode::Malformed
    };
    Report::new(code, text)
}

#[cfg(test)]
mod tests;
