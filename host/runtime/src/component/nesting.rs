//! How deep a component is nested: components and modules within each other, and types within types.
//! Everything else that reads a component recurses over its types (the parser, the validator, the
//! compiler), so this is asked first, and does not.

use lattice_protocol::spec::MAX_COMPONENT_NESTING;
use lattice_protocol::{ErrorCode, Report};
use wasmparser::{
    BinaryReader, BinaryReaderError, ComponentType, ComponentTypeDeclaration, InstanceTypeDeclaration,
    Parser, Payload,
};

/// `componenttype` and `instancetype` in the binary format: both hold declarations.
const COMPONENT_TYPE: u8 = 0x41;
const INSTANCE_TYPE: u8 = 0x42;
/// The declaration that holds another type.
const TYPE_DECLARATION: u8 = 0x01;

/// Refuses what is nested deeper than [`MAX_COMPONENT_NESTING`].
///
/// # Errors
/// `E_NESTING`, or `E_MALFORMED` for what cannot be read.
pub fn check_nesting(file: &[u8]) -> Result<(), Report> {
    let malformed = |error: BinaryReaderError| {
        Report::new(ErrorCode::Malformed, error.message().to_owned()).at(format!("{:#x}", error.offset()))
    };
    let mut depth = 1;
    for payload in Parser::new(0).parse_all(file) {
        match payload.map_err(malformed)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                depth += 1;
                within(depth, "nested components")?;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentTypeSection(section) => {
                let range = section.range();
                let bytes = file.get(range.clone()).unwrap_or_default();
                types(BinaryReader::new(bytes, range.start)).map_err(|problem| match problem {
                    Problem::Malformed(error) => malformed(error),
                    Problem::TooDeep(report) => report,
                })?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// What is open: a section of types, or a type of declarations; and how many are left in it.
enum Open {
    Section(u32),
    Component(u32),
    Instance(u32),
}

enum Problem {
    Malformed(BinaryReaderError),
    TooDeep(Report),
}

impl From<BinaryReaderError> for Problem {
    fn from(error: BinaryReaderError) -> Self {
        Self::Malformed(error)
    }
}

/// Walks a section of types with a stack of its own.
fn types(mut reader: BinaryReader<'_>) -> Result<(), Problem> {
    let mut open = vec![Open::Section(reader.read_var_u32()?)];
    while let Some(top) = open.last_mut() {
        let (Open::Section(left) | Open::Component(left) | Open::Instance(left)) = top;
        let Some(rest) = left.checked_sub(1) else {
            open.pop();
            continue;
        };
        *left = rest;
        let nested = matches!(top, Open::Section(_)) || reader.clone().read_u8()? == TYPE_DECLARATION;
        if !nested {
            if matches!(top, Open::Component(_)) {
                reader.read::<ComponentTypeDeclaration<'_>>()?;
            } else {
                reader.read::<InstanceTypeDeclaration<'_>>()?;
            }
            continue;
        }
        if !matches!(top, Open::Section(_)) {
            reader.read_u8()?;
        }
        match reader.clone().read_u8()? {
            kind @ (COMPONENT_TYPE | INSTANCE_TYPE) => {
                reader.read_u8()?;
                let count = reader.read_var_u32()?;
                open.push(if kind == COMPONENT_TYPE {
                    Open::Component(count)
                } else {
                    Open::Instance(count)
                });
                let depth = u32::try_from(open.len()).unwrap_or(u32::MAX);
                within(depth, "nested types").map_err(Problem::TooDeep)?;
            }
            _ => drop(reader.read::<ComponentType<'_>>()?),
        }
    }
    Ok(())
}

fn within(depth: u32, what: &str) -> Result<(), Report> {
    if depth <= MAX_COMPONENT_NESTING {
        return Ok(());
    }
    Err(Report::new(ErrorCode::Nesting, format!("{what}: depth > {MAX_COMPONENT_NESTING}"))
        .got(depth)
        .limit(format!("at most {MAX_COMPONENT_NESTING}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::guest;

    fn code(file: &[u8]) -> Result<(), ErrorCode> {
        check_nesting(file).map_err(|report| report.code)
    }

    #[test]
    fn the_guests_are_not_nested_deep() {
        for name in ["http_hello", "fixture_probe", "edge_processor", "ping", "pong", "http_hello_p3"] {
            assert_eq!(code(&guest(name)), Ok(()), "{name}");
        }
    }

    #[test]
    fn components_and_types_within_each_other_are_counted() {
        // The text format's own parser nests no deeper than a hundred parentheses.
        let nested = |open: &str, close: &str, depth: usize| {
            wat::parse_str(format!("(component {}{})", open.repeat(depth), close.repeat(depth))).unwrap()
        };
        for (open, close) in [
            ("(component ", ")"),
            ("(type (component ", "))"),
            ("(type (instance ", "))"),
            ("(type (component (type (instance ", "))))"),
        ] {
            assert_eq!(code(&nested(open, close, 20)), Ok(()), "{open}");
        }
        assert_eq!(code(&nested("(component ", ")", 66)), Err(ErrorCode::Nesting));
    }

    /// A component of one type: component types within each other, so many.
    fn types(depth: usize) -> Vec<u8> {
        let mut types = [0x41, 1, 1].repeat(depth);
        types.extend([0x41, 0]);
        let mut file = b"\0asm\x0d\0\x01\0\x07".to_vec();
        let mut length = types.len() + 1;
        while length > 0x7f {
            file.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        file.push(length as u8);
        file.push(1);
        file.extend(types);
        file
    }

    #[test]
    fn very_deep_types_take_no_stack() {
        assert_eq!(code(&types(30)), Ok(()));
        for depth in [66, 100_000] {
            assert_eq!(code(&types(depth)), Err(ErrorCode::Nesting), "{depth}");
        }
    }
}
