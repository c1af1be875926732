//! Why a registry did not give or take a component, in words that say what to do. Each begins as seed 004
//! says it: `image pull: …`.

use lattice_protocol::{ErrorCode, Report};
use oci_client::errors::{OciDistributionError as Failure, OciErrorCode};

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Reading a component.
    Pull,
    /// Storing one.
    Push,
}

impl Doing {
    fn words(self) -> &'static str {
        match self {
            Self::Pull => "image pull",
            Self::Push => "image push",
        }
    }
}

const LOG_IN: &str = "set TRELLIS_OCI_USER and TRELLIS_OCI_PASSWORD";

/// What kind of failure it is, in a few words.
fn kind(error: &Failure) -> (ErrorCode, &'static str, &'static str) {
    let refused = (ErrorCode::Denied, "unauthorized", LOG_IN);
    let absent = (ErrorCode::ArtifactNotFound, "not found", "check the repository and the tag");
    match error {
        Failure::UnauthorizedError { .. } | Failure::AuthenticationFailure(_) => refused,
        Failure::ServerError { code: 401 | 403, .. } => refused,
        Failure::ServerError { code: 404, .. } | Failure::ImageManifestNotFoundError(_) => absent,
        Failure::RegistryError { envelope, .. } => {
            let has =
                |codes: &[OciErrorCode]| envelope.errors.iter().any(|error| codes.contains(&error.code));
            use OciErrorCode as Code;
            if has(&[Code::Unauthorized, Code::Denied]) {
                refused
            } else if has(&[Code::ManifestUnknown, Code::NameUnknown, Code::BlobUnknown, Code::NotFound]) {
                absent
            } else {
                (ErrorCode::Io, "the registry refuses", "see what it says")
            }
        }
        Failure::DigestError(_) => {
            (ErrorCode::Damaged, "digest mismatch", "pull it again; if that is no help, push it again")
        }
        Failure::RequestError(error) if error.is_timeout() => {
            (ErrorCode::Timeout, "no answer in time", "check the network")
        }
        Failure::RequestError(error) if error.is_connect() => {
            (ErrorCode::Connection, "registry not reached", "check the network and the registry's address")
        }
        Failure::ImageIndexParsingNoPlatformResolverError
        | Failure::ManifestParsingError(_)
        | Failure::VersionedParsingError(_)
        | Failure::UnsupportedMediaTypeError(_) => {
            (ErrorCode::NotWasm, "not the image of a component", "push it with: trellis push")
        }
        _ => (ErrorCode::Io, "failed", "check the network and the registry's address"),
    }
}

/// The failure as a person reads it.
pub fn failed(doing: Doing, reference: &str, error: &Failure) -> Report {
    let (code, short, hint) = kind(error);
    Report::new(code, format!("{}: {short}", doing.words()))
        .at(format!("oci://{reference}"))
        .got(with_causes(error))
        .hint(hint)
}

/// A layer that ended too early.
pub fn broken_off(reference: &str, error: &std::io::Error) -> Report {
    // The client checks the digest at the end of the stream.
    let is_digest = with_causes(error).contains("igest");
    let (code, short) = match is_digest {
        true => (ErrorCode::Damaged, "digest mismatch"),
        false => (ErrorCode::Io, "broken off"),
    };
    Report::new(code, format!("image pull: {short}"))
        .at(format!("oci://{reference}"))
        .got(with_causes(error))
        .hint("pull it again")
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
