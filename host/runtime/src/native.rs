//! Native code: made by this process, or for hosts that compile nothing by whoever they trust to.
//!
//! A small gateway has no compiler, or not the memory and the time for one. What it runs was compiled elsewhere
//! (`trellis compile`) and waits in the lattice under a [`name`](name_of) that both sides derive. Native code can do
//! whatever its process can, so no issuer's claim suffices for it: it comes *sealed*, and counts for what a
//! **compiler key** of the host's configuration has signed.
//!
//! ```text
//! 8 bytes magic · 4 bytes length of the statement, little-endian · the statement · native code
//!
//! statement = a signed document of kind `native-code`, as JSON:
//!   { component: digest, target, settings: fingerprint of the engine, code: digest, bytes }
//! ```
//! Invariants: a [`Native`] is made by this process' compiler or by [`open`], and by nothing else, and cannot be
//! changed; sealed code of another component, another target or other settings is not opened, whoever signed
//! it; what was opened is kept under the host's own key (`cache`) and loaded from the bytes that were verified.

use crate::engine::sizing::Reservation;
use bytes::Bytes;
use futures::future::BoxFuture;
use keys::{Digest, PublicKey, Signed};
use lattice_protocol::{ErrorCode, Report};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use wasmtime::Engine;

const MAGIC: &[u8; 8] = b"TRELNAT1";
/// Kind of the signed document.
const KIND: &str = "native-code";
/// Far more than a statement has.
const MAX_STATEMENT_BYTES: usize = 16 << 10;
/// Processors that code can be compiled for.
const PROCESSORS: [&str; 2] = ["x86_64", "aarch64"];

/// What code is compiled for: a processor, and whether its kernel has addresses enough for memories
/// without bounds checks. As text `aarch64`, or `aarch64-128m` where each memory reserves 128 MiB.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    arch: String,
    reservation: Reservation,
}

impl Target {
    /// Of this process.
    pub(crate) fn here(reservation: Reservation) -> Self {
        Self { arch: std::env::consts::ARCH.to_owned(), reservation }
    }

    pub(crate) fn arch(&self) -> &str {
        &self.arch
    }

    pub(crate) fn reservation(&self) -> Reservation {
        self.reservation
    }

    #[cfg(feature = "compiler")]
    pub(crate) fn triple(&self) -> String {
        format!("{}-unknown-linux-gnu", self.arch)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.arch)?;
        if self.reservation == Reservation::FULL {
            return Ok(());
        }
        write!(formatter, "-{}m", self.reservation.bytes >> 20)
    }
}

impl FromStr for Target {
    type Err = Report;

    fn from_str(text: &str) -> Result<Self, Report> {
        let (arch, memory) = match text.split_once('-') {
            Some((arch, memory)) => (arch, Some(memory)),
            None => (text, None),
        };
        let reservation = match memory {
            None => Some(Reservation::FULL),
            Some(memory) => memory
                .strip_suffix('m')
                .and_then(|mib| mib.parse().ok())
                .map(|mib: u64| Reservation::small(mib.saturating_mul(1 << 20))),
        };
        reservation
            .filter(|_| PROCESSORS.contains(&arch))
            .map(|reservation| Self { arch: arch.to_owned(), reservation })
            // One spelling for each: `aarch64-0128m` and `aarch64-999m` are none.
            .filter(|target| target.to_string() == text)
            .ok_or_else(|| {
                Report::new(ErrorCode::Usage, "no target that code can be compiled for")
                    .got(text)
                    .limit("x86_64 or aarch64, or with the MiB of a memory where addresses are few, as aarch64-128m")
                    .hint("a host says what it needs: trellis get hosts --output json, codeFor")
            })
    }
}

/// Where a host that compiles nothing gets its code.
#[derive(Clone)]
pub struct Elsewhere {
    /// Who may compile for this host.
    pub compilers: BTreeSet<PublicKey>,
    /// Fetches sealed code by its name; none when there is none.
    pub fetch: Fetch,
}

/// Fetches sealed code by its name.
pub type Fetch = Arc<dyn Fn(String) -> BoxFuture<'static, Result<Option<Bytes>, Report>> + Send + Sync>;

impl fmt::Debug for Elsewhere {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Elsewhere").field("compilers", &self.compilers).finish_non_exhaustive()
    }
}

/// What sealed code is for: whoever asks knows it, and takes no other.
#[derive(Clone, Copy)]
pub(crate) struct For<'a> {
    /// Digest of the component without its claims.
    pub(crate) component: Digest,
    pub(crate) target: &'a Target,
    pub(crate) fingerprint: &'a [u8; 32],
}

impl For<'_> {
    /// What sealed code of this is called in the lattice.
    pub(crate) fn name(&self) -> String {
        name_of(&self.component, self.fingerprint)
    }

    /// There is none.
    pub(crate) fn missing(&self) -> Report {
        let Self { component, target, .. } = self;
        Report::new(ErrorCode::NotCompiled, "not compiled for this host, which compiles nothing itself")
            .at(component)
            .limit(format!("code for {target}"))
            .hint("trellis compile, where the directory of the lattice is")
    }
}

fn name_of(component: &Digest, fingerprint: &[u8; 32]) -> String {
    format!("native.{}.{}", component.hex(), hex(fingerprint))
}

/// The component that such a name is of; none if it is no such name.
#[must_use]
pub fn component_of(name: &str) -> Option<Digest> {
    let (component, fingerprint) = name.strip_prefix("native.")?.split_once('.')?;
    blake3::Hash::from_hex(fingerprint).ok()?;
    format!("sha256:{component}").parse().ok()
}

fn hex(fingerprint: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*fingerprint).to_hex().to_string()
}

/// Native code that may be loaded.
pub(crate) struct Native(Bytes);

impl Native {
    /// What this process has just compiled.
    #[cfg(feature = "compiler")]
    pub(crate) fn compiled(code: Vec<u8>) -> Self {
        Self(code.into())
    }

    /// As it is kept on disk.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Loads it into the engine that it was compiled for.
    pub(crate) fn load(&self, engine: &Engine) -> wasmtime::Result<wasmtime::component::Component> {
        #[allow(
            unsafe_code,
            reason = "such bytes come from a compiler that this host believes, and from nowhere else"
        )]
        // SAFETY: a `Native` is what the engine's own compiler gave out, in this process or in one whose key this
        // host's configuration trusts to compile for it; the signature was checked over these very bytes, which
        // nobody can change. The engine checks that they are of its version and settings.
        unsafe {
            wasmtime::component::Component::deserialize(engine, &self.0)
        }
    }
}

/// What a compiler key signs.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Statement {
    component: Digest,
    target: String,
    settings: String,
    code: Digest,
    bytes: u64,
}

impl Statement {
    fn of(wanted: For<'_>, code: &[u8]) -> Self {
        Self {
            component: wanted.component,
            target: wanted.target.to_string(),
            settings: hex(wanted.fingerprint),
            code: Digest::of(code),
            bytes: code.len() as u64,
        }
    }
}

/// Opens sealed code: signed by one of these keys, of this component, for this target, unchanged.
pub(crate) fn open(
    sealed: &Bytes,
    compilers: &BTreeSet<PublicKey>,
    wanted: For<'_>,
) -> Result<Native, Report> {
    let damaged = |what: &str| {
        Report::new(ErrorCode::Damaged, format!("compiled code: {what}"))
            .at(wanted.component)
            .hint("compile it again: trellis compile")
    };
    let (statement, code) = split(sealed).ok_or_else(|| damaged("not sealed as it should be"))?;
    let signed: Signed =
        serde_json::from_slice(&statement).map_err(|error| damaged(&format!("its statement: {error}")))?;
    let opened = keys::open(KIND, &signed, compilers).map_err(|error| {
        Report::new(ErrorCode::Untrusted, format!("compiled code: {error}"))
            .at(wanted.component)
            .hint("name the compiler's key under compilers in the host's trust.json, if it is yours")
    })?;
    let said: Statement = serde_json::from_slice(&opened.payload)
        .map_err(|error| damaged(&format!("what was signed of it: {error}")))?;
    let found = Statement::of(wanted, &code);
    if said == found {
        return Ok(Native(code));
    }
    let what = if said.code == found.code { "made for something else" } else { "not what was signed" };
    Err(damaged(what).got(format!("{said:?}")).limit(format!("{found:?}")))
}

fn split(sealed: &Bytes) -> Option<(Bytes, Bytes)> {
    let (length, _) = sealed.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
    let length =
        usize::try_from(u32::from_le_bytes(*length)).ok().filter(|most| *most <= MAX_STATEMENT_BYTES)?;
    let begin = MAGIC.len() + 4;
    let end = begin.checked_add(length).filter(|end| *end <= sealed.len())?;
    Some((sealed.slice(begin..end), sealed.slice(end..)))
}

#[cfg(feature = "compiler")]
mod make;

#[cfg(feature = "compiler")]
pub use make::{Made, compile, name_for};

#[cfg(test)]
#[cfg(feature = "compiler")]
mod tests;
