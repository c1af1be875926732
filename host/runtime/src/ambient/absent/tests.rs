//! The tables beside the WIT texts that components are built against.

use super::*;
use std::collections::BTreeSet;

const WIT: &[(&str, &str)] = &[
    ("wasi:filesystem@0.2.12", include_str!("../../../../../wit/wasi-http/deps/filesystem.wit")),
    ("wasi:sockets@0.2.12", include_str!("../../../../../wit/wasi-http/deps/sockets.wit")),
    ("wasi:filesystem@0.3.0", include_str!("../../../../../wit/wasi-http-p3/deps/filesystem.wit")),
    ("wasi:sockets@0.3.0", include_str!("../../../../../wit/wasi-http-p3/deps/sockets.wit")),
];
/// What the engine's library defines.
const REAL: &[&str] = &["wasi:sockets/network@0.2.12", "wasi:sockets/instance-network@0.2.12"];

type Names = BTreeSet<(String, String, bool)>;

/// Functions and resources of a WIT text: interface, name in a component, `async`.
fn said(package: &str, text: &str) -> Names {
    let (name, version) = package.split_once('@').unwrap();
    let word = |line: &str| line.split([' ', ';', '{']).next().unwrap().to_owned();
    let (mut interface, mut resource, mut names) = (String::new(), None::<String>, Names::new());
    for line in text.lines() {
        if line == "  }" {
            // What is in an interface ends here: a resource, or a type.
            resource = None;
        }
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("interface ") {
            (interface, resource) = (format!("{name}/{}@{version}", word(rest)), None);
        } else if let Some(rest) = line.strip_prefix("resource ") {
            names.insert((interface.clone(), word(rest), false));
            resource = rest.ends_with('{').then(|| word(rest));
        } else if let Some((function, ty)) = line.split_once(": ").filter(|(_, ty)| ty.contains("func(")) {
            let (is_static, is_async) = (ty.starts_with("static "), ty.contains("async func("));
            let function = function.trim_start_matches('%');
            let name = match &resource {
                Some(resource) if is_static => format!("[static]{resource}.{function}"),
                Some(resource) => format!("[method]{resource}.{function}"),
                None => function.to_owned(),
            };
            names.insert((interface.clone(), name, is_async));
        }
    }
    names.retain(|(interface, ..)| !REAL.contains(&interface.as_str()));
    names
}

#[test]
fn every_function_and_resource_of_the_wit_texts_is_there_and_no_other() {
    let said: Names = WIT.iter().flat_map(|(package, text)| said(package, text)).collect();
    let here: Names = WASI_2
        .iter()
        .chain(WASI_3)
        .flat_map(|absent| {
            let resources = absent.resources.iter().map(|resource| (resource.name.to_owned(), false));
            let names = absent.functions().chain(resources);
            names.map(|(name, is_async)| (absent.interface.to_owned(), name, is_async)).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(
        here.difference(&said).collect::<Vec<_>>(),
        Vec::<&(String, String, bool)>::new(),
        "not in WIT"
    );
    assert_eq!(
        said.difference(&here).collect::<Vec<_>>(),
        Vec::<&(String, String, bool)>::new(),
        "missing here"
    );
    assert!(here.len() > 150, "{} were read", here.len());
}
