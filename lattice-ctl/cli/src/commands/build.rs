//! `trellis build`: cargo for the component target, then claims: what a component imports and exports, and what the
//! project's `app.yaml` links it to when it is a persistent actor.

use crate::app_files::{self, Source};
use crate::args::Args;
use crate::commands::{Outcome, claim};
use crate::component::claims_report;
use crate::project::{self, Profile};
use crate::{home, keyfile, output, signing};
use keys::{KeyKind, KeyPair};
use lattice_protocol::{ErrorCode, Report};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Its arguments.
#[derive(Debug, clap::Args)]
pub struct BuildArgs {
    /// The project.
    #[arg(long, default_value = ".")]
    pub dir: PathBuf,
    /// Build quickly rather than small.
    #[arg(long)]
    pub debug: bool,
    /// Leave the components unsigned.
    #[arg(long)]
    pub no_sign: bool,
    /// File of the account key that signs. Default: the lattice's issuer in ./trellis-lattice, else
    /// a development key.
    #[arg(long, value_name = "FILE")]
    pub issuer: Option<PathBuf>,
    /// Version in the claims, for people.
    #[arg(long = "ver", default_value = "0.1.0", value_name = "VERSION")]
    pub claimed_version: String,
}

fn issuer(args: &Args, build: &BuildArgs) -> Result<KeyPair, Report> {
    if let Some(path) = &build.issuer {
        return keyfile::read(path, KeyKind::Account);
    }
    if let Ok(context) = crate::context::Context::resolve(args)
        && let Some(dir) = context.dir
        && dir.issuer_path().exists()
    {
        return keyfile::read(&dir.issuer_path(), KeyKind::Account);
    }
    signing::local_issuer()
}

/// Runs it.
pub async fn run(args: &Args, build: &BuildArgs) -> Outcome {
    let profile = if build.debug { Profile::Debug } else { Profile::Release };
    let components = project::build(args, &build.dir, profile).await?;
    if components.is_empty() {
        return Err(Report::new(ErrorCode::Usage, "the project makes no component")
            .at(build.dir.display())
            .hint("in Cargo.toml: [lib] crate-type = [\"cdylib\"]"));
    }
    let mut records = Vec::new();
    for path in &components {
        let issuer = if build.no_sign {
            None
        } else {
            let issuer = issuer(args, build)?;
            sign(path, &issuer, (&build.claimed_version, effects_of(&build.dir, path)?))?;
            Some(issuer.public())
        };
        let size = std::fs::metadata(path).map_or(0, |data| data.len());
        let signed = issuer.map_or("unsigned".to_owned(), |issuer| format!("signed by {issuer}"));
        output::say(args, format!("built {} ({} KiB, {signed})", path.display(), size >> 10));
        records.push(json!({ "file": path, "size": size, "issuer": issuer }));
    }
    if args.output == output::Format::Json {
        output::json(&records);
    }
    Ok(())
}

/// What the project's manifest links a persistent actor to that is this component.
fn effects_of(dir: &Path, component: &Path) -> Result<Vec<String>, Report> {
    let manifest = dir.join("app.yaml");
    if !manifest.exists() {
        return Ok(Vec::new());
    }
    let is_it = |artifact: &str| match app_files::source_of(artifact, &app_files::base_of(&manifest)) {
        Ok(Source::File(path)) => {
            path.canonicalize().ok().is_some_and(|path| component.canonicalize().is_ok_and(|it| it == path))
        }
        _ => false,
    };
    let application = app_files::parse(&manifest)?;
    let actors = application.actors.iter().filter(|actor| is_it(&actor.artifact));
    Ok(actors.flat_map(signing::effects_of).collect())
}

fn sign(path: &Path, issuer: &KeyPair, (version, effects): (&str, Vec<String>)) -> Result<(), Report> {
    let limit = u64::try_from(keys::section::MAX_COMPONENT_BYTES).unwrap_or(u64::MAX);
    let file = signing::read_file(path, limit, "read the component")?;
    let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("actor").replace('_', "-");
    let key = home::keys_dir()?.join(format!("{name}_module.nk"));
    let (module, _) = keyfile::read_or_make(&key, KeyKind::Module)?;
    let mut request = signing::request_for(&file, module.public(), &name)?;
    version.clone_into(&mut request.version);
    request.capabilities.extend(effects);
    let signed = keys::sign_component(&file, &request, issuer, home::now_unix())
        .map_err(|error| claims_report(&error).at(path.display()))?;
    claim::write_whole(path, &signed)?;
    home::remember_signed(&name, path)
}
