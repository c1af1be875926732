//! Small inputs that would take much memory, stack or time.

use super::binary::{COMPONENT, around, leb, section};

/// Components within each other. Made from the inside out: each layer is written once.
pub fn nested_components(depth: usize) -> Vec<u8> {
    // Every layer's length is known before any is written.
    let mut lengths = vec![COMPONENT.len()];
    for _ in 1..depth {
        let inner = lengths.last().copied().unwrap_or_default();
        lengths.push(COMPONENT.len() + 1 + leb(inner).len() + inner);
    }
    let mut file = Vec::with_capacity(lengths.last().copied().unwrap_or_default());
    for length in lengths.iter().rev().skip(1) {
        file.extend_from_slice(COMPONENT);
        file.push(4);
        file.extend(leb(*length));
    }
    file.extend_from_slice(COMPONENT);
    file
}

/// Types of components within each other: three bytes a level.
pub fn nested_types(depth: usize) -> Vec<u8> {
    let types = [&[0x41, 1, 1].repeat(depth)[..], &[0x41, 0]].concat();
    [COMPONENT, &section(7, &[&[1], types.as_slice()].concat())].concat()
}

/// One function without parameters and results, with this body.
fn function(body: &[u8]) -> Vec<u8> {
    let code = [leb(1).as_slice(), &leb(body.len()), body].concat();
    let sections = [section(1, &[1, 0x60, 0, 0]), section(3, &[1, 0]), section(10, &code)].concat();
    around(&sections)
}

/// Blocks within each other in one function.
pub fn nested_blocks(depth: usize) -> Vec<u8> {
    function(&[&[0], [0x02, 0x40].repeat(depth).as_slice(), &[0x0b].repeat(depth + 1)].concat())
}

/// One function of so many locals.
pub fn locals(count: usize) -> Vec<u8> {
    function(&[&[1], leb(count).as_slice(), &[0x7f, 0x0b]].concat())
}

/// So many empty functions.
pub fn functions(count: usize) -> Vec<u8> {
    let declared = [leb(count).as_slice(), &vec![0; count]].concat();
    let bodies = [leb(count).as_slice(), &[2, 0, 0x0b].repeat(count)].concat();
    let sections = [section(1, &[1, 0x60, 0, 0]), section(3, &declared), section(10, &bodies)].concat();
    around(&sections)
}

/// So many types.
pub fn types(count: usize) -> Vec<u8> {
    around(&section(1, &[leb(count).as_slice(), &[0x60, 0, 0].repeat(count)].concat()))
}

/// Nine aliases of ten each: a thousand million values.
pub fn yaml_aliases() -> String {
    let level = |level: usize| {
        let values = vec![format!("*l{}", level - 1); 10].join(", ");
        format!("l{level}: &l{level} [{values}]\n")
    };
    (1..10).fold("l0: &l0 lol\n".to_owned(), |text, number| text + &level(number))
}
