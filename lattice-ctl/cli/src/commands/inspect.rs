//! `trellis inspect FILE`: what a component is, without running it.

use crate::args::Args;
use crate::commands::{Outcome, claim};
use crate::component::{Shape, claims_report};
use crate::{output, signing};
use keys::Digest;
use lattice_protocol::Report;
use serde_json::json;
use std::path::PathBuf;

/// Its arguments.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// The component.
    pub file: PathBuf,
}

/// Runs it.
pub fn run(args: &Args, inspect: &InspectArgs) -> Outcome {
    let limit = keys::section::MAX_COMPONENT_BYTES;
    let file =
        signing::read_file(&inspect.file, u64::try_from(limit).unwrap_or(u64::MAX), "read the component")?;
    let at = |report: Report| report.at(inspect.file.display());
    let split = keys::split(&file, limit).map_err(|error| at(claims_report(&error)))?;
    let shape = Shape::read(&file).map_err(at)?;
    let claims = match split.token {
        Some(token) => Some(
            keys::token::parse(token)
                .map_err(|error| at(claims_report(&error).during("invalid claim")))?
                .claims,
        ),
        None => None,
    };
    let foreign = keys::foreign_claims(&file, limit);
    if args.output == output::Format::Json {
        let functions: serde_json::Map<String, serde_json::Value> = shape
            .functions
            .iter()
            .map(|(interface, functions)| {
                let shown = functions.iter().map(|(name, signature)| {
                    (name.clone(), json!(signature.as_ref().map(ToString::to_string)))
                });
                (interface.clone(), serde_json::Value::Object(shown.collect()))
            })
            .collect();
        output::json(&json!({
            "file": inspect.file, "size": file.len(), "digest": Digest::of(&file),
            "signed": claims.is_some(), "claims": claims.as_ref().map(|claims| claim::as_json(claims, None)),
            "foreignClaims": foreign.map(|foreign| json!({ "section": foreign.section, "claims": foreign.claims })),
            "imports": shape.imports, "exports": shape.exports, "functions": functions,
            "capabilities": shape.capabilities(),
        }));
        return Ok(());
    }
    let mut rows = vec![
        vec!["file".to_owned(), inspect.file.display().to_string()],
        vec!["size".to_owned(), format!("{} bytes", file.len())],
        vec!["digest of the file".to_owned(), Digest::of(&file).to_string()],
    ];
    match &claims {
        Some(claims) => rows.extend(claim::rows(claims)),
        None => rows.push(vec!["claims".to_owned(), "none: it is not signed, and will not run".to_owned()]),
    }
    if let Some(foreign) = foreign {
        rows.push(vec![format!("claims of {} (not trusted)", foreign.section), foreign.claims.to_string()]);
    }
    for import in &shape.imports {
        let note = match (&import.label, import.ambient) {
            (_, true) => "  (always there)".to_owned(),
            (Some(label), false) => format!("  (by link {label})"),
            (None, false) => "  (needs a link)".to_owned(),
        };
        rows.push(vec!["imports".to_owned(), format!("{}{note}", import.interface)]);
    }
    for export in &shape.exports {
        rows.push(vec!["exports".to_owned(), export.clone()]);
        for (name, signature) in shape.functions.get(export).into_iter().flatten() {
            let shown = signature.as_ref().map_or("takes or gives resources".to_owned(), ToString::to_string);
            rows.push(vec![String::new(), format!("  {name}: {shown}")]);
        }
    }
    output::table(args, &(), &["what", "value"], rows);
    Ok(())
}
