//! `trellis claim …`: says whose a component is and what it may ever use, and checks that.

use crate::args::Args;
use crate::commands::Outcome;
use crate::component::claims_report;
use crate::context::Context;
use crate::{home, keyfile, output, signing};
use clap::Subcommand;
use keys::{ClaimRequest, Claims, KeyKind, KeyPair, PublicKey, TrustAnchors, VerifyPolicy, format_utc};
use lattice_protocol::{ErrorCode, Report};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const DAY_S: i64 = 86_400;

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum ClaimCommand {
    /// Sign a component (or a provider's binary): in place, unless told otherwise.
    Sign(Box<SignArgs>),
    /// Show what the claims say. Proves nothing: see verify.
    Inspect {
        /// The signed file, or a file of detached claims.
        file: PathBuf,
    },
    /// Check the claims against trusted issuers.
    Verify {
        /// The file.
        file: PathBuf,
        /// Claims that are kept beside it.
        #[arg(long, value_name = "FILE")]
        detached: Option<PathBuf>,
        /// Trust this account (`A…`); may be repeated. Without it, the lattice's own trust.
        #[arg(long = "issuer", value_name = "KEY")]
        issuers: Vec<String>,
    },
}

/// How to sign.
#[derive(Debug, clap::Args)]
pub struct SignArgs {
    /// The file.
    pub file: PathBuf,
    /// Its name, for people.
    #[arg(long)]
    pub name: String,
    /// File of the account key that signs; made if it is not there.
    #[arg(long, value_name = "FILE")]
    pub issuer: PathBuf,
    /// File of the module's own key; made if it is not there.
    #[arg(long, value_name = "FILE")]
    pub subject: PathBuf,
    /// An interface that it may be linked to; may be repeated. Default: all that it imports and exports.
    #[arg(long = "cap", value_name = "INTERFACE")]
    pub capabilities: Vec<String>,
    /// Its version, for people.
    #[arg(long = "ver", default_value = "0.1.0", value_name = "VERSION")]
    pub claimed_version: String,
    /// Its revision, which must rise with every change. Default: the time, in milliseconds.
    #[arg(long = "rev", value_name = "N")]
    pub revision: Option<u64>,
    /// Claims end after this many days.
    #[arg(long, value_name = "DAYS")]
    pub expires_in_days: Option<u32>,
    /// Claims begin at this second since 1970.
    #[arg(long = "nbf", value_name = "UNIX-SECONDS")]
    pub not_before: Option<i64>,
    /// A label for people; may be repeated.
    #[arg(long = "tag")]
    pub tags: Vec<String>,
    /// A short name for calls.
    #[arg(long)]
    pub alias: Option<String>,
    /// The file is a provider's binary, not a component (its claims are always detached).
    #[arg(long)]
    pub provider: bool,
    /// Write the claims beside the file (`<file>.claims`), and leave the file as it is.
    #[arg(long)]
    pub detached: bool,
    /// Write the result here.
    #[arg(long = "to", value_name = "FILE")]
    pub to: Option<PathBuf>,
}

/// Runs it.
pub fn run(args: &Args, command: &ClaimCommand) -> Outcome {
    match command {
        ClaimCommand::Sign(sign) => self::sign(args, sign),
        ClaimCommand::Inspect { file } => {
            let claims = read_claims(file)?;
            show(args, &claims, None);
            Ok(())
        }
        ClaimCommand::Verify { file, detached, issuers } => {
            let anchors = anchors(args, issuers)?;
            let claims = verify(file, detached.as_deref(), &anchors)?;
            show(args, &claims, Some(true));
            Ok(())
        }
    }
}

fn key(args: &Args, path: &Path, kind: KeyKind) -> Result<KeyPair, Report> {
    let (key, made) = keyfile::read_or_make(path, kind)?;
    if made {
        output::say(args, format!("made a new {kind} key: {} ({})", path.display(), key.public()));
    }
    Ok(key)
}

fn sign(args: &Args, sign: &SignArgs) -> Outcome {
    let limit =
        if sign.provider { keys::verify::MAX_PROVIDER_BYTES } else { keys::section::MAX_COMPONENT_BYTES };
    let file =
        signing::read_file(&sign.file, u64::try_from(limit).unwrap_or(u64::MAX), "read the file to sign")?;
    if !sign.provider {
        // Refuse what cannot be signed before keys are made for it.
        keys::split(&file, limit).map_err(|error| claims_report(&error).at(sign.file.display()))?;
    }
    let issuer = key(args, &sign.issuer, KeyKind::Account)?;
    let subject = key(args, &sign.subject, if sign.provider { KeyKind::Provider } else { KeyKind::Module })?;
    let request = request(sign, &file, subject.public())?;
    let now = home::now_unix();
    let refused = |error: keys::ClaimsError| claims_report(&error).at(sign.file.display());
    let (path, content) = if sign.detached || sign.provider {
        let token = keys::sign_detached(&file, &request, &issuer, now).map_err(refused)?;
        let mut beside = sign.file.clone().into_os_string();
        beside.push(".claims");
        (sign.to.clone().unwrap_or_else(|| beside.into()), format!("{token}\n").into_bytes())
    } else {
        let signed = keys::sign_component(&file, &request, &issuer, now).map_err(refused)?;
        (sign.to.clone().unwrap_or_else(|| sign.file.clone()), signed)
    };
    write_whole(&path, &content)?;
    if !sign.detached && !sign.provider {
        home::remember_signed(&request.name, &path)?;
    }
    if args.output == output::Format::Json {
        output::json(&json!({
            "file": path, "issuer": issuer.public(), "subject": subject.public(), "name": request.name,
            "version": request.version, "revision": request.revision, "capabilities": request.capabilities,
            "digest": keys::Digest::of(&content),
        }));
    } else {
        output::say(args, format!("signed {} as {} {}", path.display(), request.name, subject.public()));
        output::say(args, format!("  issuer        {}", issuer.public()));
        output::say(args, format!("  may use       {}", listed(&request.capabilities)));
    }
    Ok(())
}

fn listed(entries: &BTreeSet<String>) -> String {
    if entries.is_empty() {
        return "nothing".to_owned();
    }
    entries.iter().cloned().collect::<Vec<_>>().join(", ")
}

fn request(sign: &SignArgs, file: &[u8], subject: PublicKey) -> Result<ClaimRequest, Report> {
    let mut request = if sign.provider || !sign.capabilities.is_empty() {
        let mut request = ClaimRequest::new(subject, &sign.name);
        request.revision = home::now_unix_ms();
        for capability in &sign.capabilities {
            request
                .capabilities
                .insert(keys::claims::capability(capability).map_err(|error| claims_report(&error))?);
        }
        request
    } else {
        signing::request_for(file, subject, &sign.name)?
    };
    request.version.clone_from(&sign.claimed_version);
    request.revision = sign.revision.unwrap_or(request.revision);
    request.not_before = sign.not_before;
    request.expires =
        sign.expires_in_days.map(|days| home::now_unix().saturating_add(i64::from(days) * DAY_S));
    request.tags = sign.tags.iter().cloned().collect();
    request.alias.clone_from(&sign.alias);
    Ok(request)
}

/// Writes beside, then renames: a signed file is never half there.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<(), Report> {
    let mut fresh = path.to_path_buf().into_os_string();
    fresh.push(".new");
    std::fs::write(&fresh, content)
        .and_then(|()| std::fs::rename(&fresh, path))
        .map_err(|error| output::file_report("write", path, &error))
}

/// The claims of a signed component, or of a file of claims; not verified.
pub fn read_claims(path: &Path) -> Result<Claims, Report> {
    let limit = keys::section::MAX_COMPONENT_BYTES;
    let file = signing::read_file(path, u64::try_from(limit).unwrap_or(u64::MAX), "read the claims")?;
    let refused = |error: keys::ClaimsError| claims_report(&error).during("invalid claim").at(path.display());
    if let Ok(text) = std::str::from_utf8(&file)
        && text.starts_with("ey")
    {
        return Ok(keys::token::parse(text.trim()).map_err(refused)?.claims);
    }
    let split = keys::split(&file, limit).map_err(|error| claims_report(&error).at(path.display()))?;
    let token = split.token.ok_or(keys::ClaimsError::Unsigned).map_err(refused)?;
    Ok(keys::token::parse(token).map_err(refused)?.claims)
}

fn anchors(args: &Args, issuers: &[String]) -> Result<TrustAnchors, Report> {
    if issuers.is_empty() {
        return Context::resolve(args)?.trust()?.ok_or_else(|| {
            Report::new(ErrorCode::Config, "no issuer is trusted here")
                .hint("name the account: --issuer A…, or run this where the lattice's directory is")
        });
    }
    let issuers = issuers
        .iter()
        .map(|text| {
            text.parse().map_err(|error: keys::KeyError| {
                Report::new(ErrorCode::Name, error.to_string()).at("--issuer")
            })
        })
        .collect::<Result<BTreeSet<PublicKey>, Report>>()?;
    TrustAnchors::new(issuers, BTreeMap::new())
        .map_err(|error| Report::new(ErrorCode::Name, error.to_string()).at("--issuer"))
}

fn verify(path: &Path, detached: Option<&Path>, anchors: &TrustAnchors) -> Result<Claims, Report> {
    let limit = u64::try_from(keys::verify::MAX_PROVIDER_BYTES).unwrap_or(u64::MAX);
    let file = signing::read_file(path, limit, "read the file to verify")?;
    let refused = |error: keys::ClaimsError| claims_report(&error).during("invalid claim").at(path.display());
    let now = home::now_unix();
    let verified = match detached {
        None => keys::verify(&file, anchors, now, &VerifyPolicy::ACTOR),
        Some(beside) => {
            let token = signing::read_file(beside, 64 << 10, "read the claims")?;
            let token = String::from_utf8_lossy(&token);
            let subject = keys::token::parse(token.trim()).map_err(refused)?.claims.subject;
            let policy = if subject.kind() == KeyKind::Provider {
                VerifyPolicy::PROVIDER
            } else {
                VerifyPolicy::ACTOR
            };
            keys::verify_detached(&file, token.trim(), anchors, now, &policy)
        }
    };
    verified.map(keys::Verified::into_inner).map_err(refused)
}

/// Claims as a program reads them.
pub fn as_json(claims: &Claims, verified: Option<bool>) -> serde_json::Value {
    json!({
        "name": claims.name, "version": claims.version, "revision": claims.revision,
        "issuer": claims.issuer, "subject": claims.subject, "capabilities": claims.capabilities,
        "digest": claims.digest, "issuedAt": claims.issued_at, "notBefore": claims.not_before,
        "expires": claims.expires, "id": claims.jti, "tags": claims.tags, "alias": claims.alias,
        "verified": verified,
    })
}

/// Claims as people read them.
pub fn rows(claims: &Claims) -> Vec<Vec<String>> {
    let time = |seconds: Option<i64>, otherwise: &str| seconds.map_or(otherwise.to_owned(), format_utc);
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    vec![
        row("name", claims.name.clone()),
        row("version", format!("{} (revision {})", claims.version, claims.revision)),
        row("module", claims.subject.to_string()),
        row("issuer", claims.issuer.to_string()),
        row("may use", listed(&claims.capabilities)),
        row("signed", format_utc(claims.issued_at)),
        row("valid from", time(claims.not_before, "when signed")),
        row("expires", time(claims.expires, "never")),
        row("digest", claims.digest.to_string()),
    ]
}

fn show(args: &Args, claims: &Claims, verified: Option<bool>) {
    output::table(args, &as_json(claims, verified), &["claim", "value"], rows(claims));
    if verified == Some(true) && args.output == output::Format::Table {
        output::say(args, "valid: signature, digest, times and issuer are as they should be");
    }
}
