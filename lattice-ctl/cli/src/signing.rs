//! Making claims: whose module, which capabilities, for how long. Used by `claim sign`, `build`,
//! `run --sign` and `dev`.

use crate::component::{Shape, claims_report};
use crate::{home, keyfile};
use keys::{ClaimRequest, Claims, KeyKind, KeyPair, PublicKey};
use lattice_protocol::manifest::ActorManifest;
use lattice_protocol::{ActorId, ErrorCode, Report, Selector};
use std::path::{Path, PathBuf};

/// File of the account that signs on this machine.
const DEVELOPMENT: &str = "development.nk";

/// Where the module key of an actor is kept when no other file is named.
pub fn module_key_path(actor: &ActorId) -> Result<PathBuf, Report> {
    Ok(home::keys_dir()?.join(format!("{}_{}_module.nk", actor.app, actor.name)))
}

/// The account that signs on this machine when no other is named, made at first need: the one that
/// `trellis run --sign` trusts as well.
pub fn local_issuer() -> Result<KeyPair, Report> {
    keyfile::read_or_make(&home::keys_dir()?.join(DEVELOPMENT), KeyKind::Account).map(|(key, _)| key)
}

/// What this machine's development key signed, signed by another of our accounts: only the issuer
/// changes. `None` when it is somebody else's, or that account's already.
pub fn adopt(file: &[u8], claims: Claims, issuer: &KeyPair) -> Result<Option<Vec<u8>>, Report> {
    let path = home::keys_dir()?.join(DEVELOPMENT);
    if claims.issuer == issuer.public() || !path.exists() {
        return Ok(None);
    }
    if claims.issuer != keyfile::read(&path, KeyKind::Account)?.public() {
        return Ok(None);
    }
    let Claims { subject, name, version, revision, capabilities, not_before, expires, tags, alias, .. } =
        claims;
    let request =
        ClaimRequest { subject, name, version, revision, capabilities, not_before, expires, tags, alias };
    keys::sign_component(file, &request, issuer, home::now_unix())
        .map(Some)
        .map_err(|error| claims_report(&error))
}

/// A request for a component: all that it imports and exports, nothing else. Its revision is the time in
/// milliseconds: whoever builds twice within a second has two files, and a host takes one under each number.
pub fn request_for(file: &[u8], subject: PublicKey, name: &str) -> Result<ClaimRequest, Report> {
    let mut request = ClaimRequest::new(subject, name);
    request.capabilities = Shape::read(file)?.capabilities();
    request.revision = home::now_unix_ms();
    Ok(request)
}

/// What a persistent actor is linked to: it belongs to its claims as well, because its effects are data and it
/// imports nothing for them.
pub fn effects_of(actor: &ActorManifest) -> impl Iterator<Item = String> + '_ {
    let links = actor.persistent.is_some().then_some(&actor.links);
    links.into_iter().flatten().map(|link| unversioned(&link.interface))
}

/// Signs a component for an actor, with the actor's own module key.
pub fn sign_for(
    id: &ActorId,
    actor: &ActorManifest,
    file: &[u8],
    version: &str,
    issuer: &KeyPair,
) -> Result<Vec<u8>, Report> {
    let (module, _) = keyfile::read_or_make(&module_key_path(id)?, KeyKind::Module)?;
    let mut request = request_for(file, module.public(), id.name.as_str())?;
    request.capabilities.extend(effects_of(actor));
    if !version.is_empty() {
        version.clone_into(&mut request.version);
    }
    keys::sign_component(file, &request, issuer, home::now_unix()).map_err(|error| claims_report(&error))
}

/// A selector as claims name it: `namespace:package`, or `namespace:package/interface`.
fn unversioned(selector: &Selector) -> String {
    let package = selector.package();
    selector.interface().map_or_else(|| package.to_owned(), |interface| format!("{package}/{interface}"))
}

/// Reads a file, at most `limit` bytes.
pub fn read_file(path: &Path, limit: u64, doing: &str) -> Result<Vec<u8>, Report> {
    let report = |error| crate::output::file_report(doing, path, &error);
    let size = std::fs::metadata(path).map_err(report)?.len();
    if size > limit {
        return Err(Report::new(ErrorCode::TooLarge, "file over the limit")
            .at(path.display())
            .got(size)
            .limit(limit));
    }
    std::fs::read(path).map_err(report)
}
