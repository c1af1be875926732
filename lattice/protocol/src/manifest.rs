//! The application manifest: what people write (YAML), and what is left of it once it is checked.
//!
//! [`parse`] takes the text and returns either a whole [`Application`] or *every* problem at once,
//! each with its line, its path and, for a misspelt field, what was probably meant. Nothing
//! downstream checks again: an `Application` that exists is one that can be planned. One that was
//! made otherwise (an edit, a program's request) goes through [`check`].
//!
//! ```yaml
//! apiVersion: trellis.dev/v1
//! kind: Application
//! metadata:
//!   name: edge                         # [A-Za-z0-9_-]{1,64}, unique in the lattice
//!   version: 1.0.0                     # for people
//!   description: Readings in, alerts out
//!   labels: { team: sensors }
//! spec:
//!   actors:
//!     - name: edge-processor
//!       artifact: ./target/edge.wasm   # a path from this file, file://…, oci://… or sha256:…
//!       replicas: 3                    # 0..100000, or daemon: true for one on every host
//!       instances: per-call            # or warm, or warm: {maxCalls, maxConcurrency, idleMs}
//!       persistent:                    # or true: actors of a kind, each with a state and a history of its own
//!         kind: meter                  # default: the actor's name; unique in the lattice
//!         durability: lattice          # or device, the default: pinned to one host, replicas: 1
//!         domain: factory              # of lattice: the JetStream domain of a site; default: the lattice's own
//!         replicas: 3                  # of lattice: servers that keep a copy, 1 or 3
//!         isolation: { shared: 1024 }  # actors of one instance; or shared, or instance
//!         turnMs: 1000                 # longest turn
//!         snapshots: { events: 10000, seconds: 300, replayMs: 1000 }
//!         retainHours: 72              # history behind the snapshots, while there is room, …
//!         retainMib: 1024              # … and at most so much of it
//!         idleSeconds: 300             # then an actor leaves memory
//!       limits: { memoryMib: 64, tableElements: 10000, callMs: 30000, concurrency: 256, queue: 1024, bodyKib: 1024 }
//!       config: { temp_threshold: 85 } # what wasi:config answers
//!       placement:
//!         requirements: { tier: edge } # labels a host must have
//!         hosts: [NEDGE01]             # confined to these
//!         spread: [{ name: ap, requirements: { region: ap-east-1 }, weight: 100 }]
//!         strategy: spread             # or pack
//!         preferredRegion: ap-east-1
//!         maxLatencyMs: 50             # round trip from preferredRegion
//!         resources: { cpuMillis: 100, memoryMib: 64 }
//!         priority: 0                  # 0..255, higher goes first
//!       links:
//!         - to: kv                     # a provider or actor of this manifest, or app/actor
//!           interface: wasi:keyvalue   # a package, an interface, or an old contract id
//!           name: default
//!           config: { bucket: edge-data }
//!           timeoutMs: 5000            # per attempt
//!           retries: 3                 # only what is safe to retry
//!           retryDelayMs: 1000
//!           idempotent: false
//!           grants: { buckets: [], keyPrefixes: [], publish: [], subscribe: [], hosts: [], methods: [], readOnly: false }
//!       autoscale:                     # between replicas and max, at most one change a cool-down
//!         metric: concurrency          # or queue, rate (calls/s), lag (messages)
//!         target: 16                   # how much of it one replica shall have
//!         max: 20
//!         cooldownMs: 30000
//!         budget: { cpuMillis: 4000, memoryMib: 2048 }   # of all replicas together
//!   providers:
//!     - name: kv
//!       kind: keyvalue-embedded        # one of KNOWN_KINDS, or any with run: remote
//!       config: { password: { secretRef: kv } }
//!       run: in-process                # or remote
//!   rollout:                           # of new components; also of one actor; without it: at once
//!     strategy: canary                 # or rolling, blue-green
//!     waves: [10, 50]                  # canary: percent of the hosts; then all
//!     # rolling has maxUnavailable: 25% and maxSurge: 0 (numbers or percent of the replicas)
//!     gate: { windowMs: 10000, deadlineMs: 30000, maxErrorPercent: 5, minCalls: 20, maxRestarts: 1, maxLatencyMs: 500,
//!             check: { http: /healthz, timeoutMs: 1000, everyMs: 1000 } }   # or call: acme:shop/health#ready
//!     finalise: auto                   # or manual: trellis app finalise
//! ```
//!
//! Values are strict: text that some reader of YAML takes for a number or a truth value (`no`,
//! `012`, `1_000`, `.inf`) must be quoted. In `config`, `labels` and `requirements`, plain numbers
//! and `true`/`false` are kept as they are written. Secrets are referred to, never written.
//! [`schema`] is the same as a JSON Schema, for editors. wasmCloud's manifests
//! (`core.oam.dev/v1beta1`) are read as well; see `oam`.

mod application;
mod check;
mod config;
mod draft;
mod kind;
mod native;
mod oam;
mod reader;
mod render;
mod scalar;
mod suggest;
mod yaml;

#[cfg(test)]
mod tests;

pub use application::{
    ActorManifest, Application, AutoScale, Metric, PlacementRule, ProviderManifest, Resources, Scale, Spread,
};
pub use check::check;
pub use config::{SECRET_PREFIX, secret_ref};
pub use kind::{KNOWN_KINDS, kind_of_image, kind_serves};
pub use render::render;
pub use suggest::closest;
pub use yaml::{MAX_BYTES, MAX_DEPTH};

use crate::error::{ErrorCode, Report};
use reader::{At, Reader};

/// `apiVersion` of our own form.
pub const API_VERSION: &str = "trellis.dev/v1";
/// `apiVersion` of wasmCloud's form.
pub const OAM_API_VERSION: &str = "core.oam.dev/v1beta1";

/// Reads a manifest of either form. The file's name is only for messages.
///
/// # Errors
/// Every problem found, in the order of the file, at most 100 and a count of the rest; never empty.
pub fn parse(text: &str, file_name: &str) -> Result<Application, Vec<Report>> {
    let mut reader = Reader::new(file_name);
    let (tree, duplicates) = match yaml::read(text) {
        Ok(read) => read,
        Err(error) => {
            reader.problem_at(error.place, error.report);
            return Err(reader.finish());
        }
    };
    for duplicate in duplicates {
        reader.problem_at(duplicate.place, duplicate.report);
    }
    let draft = read_form(&mut reader, &At { node: &tree, path: String::new() });
    if let Some(draft) = &draft {
        check::relations(&draft.application, &mut |part, report| {
            if let Some(spot) = draft.spot(part) {
                reader.problem(spot, report);
            }
        });
    }
    match draft {
        Some(draft) if reader.is_clean() => Ok(draft.application),
        _ => Err(reader.finish()),
    }
}

/// [`parse`] for the bytes of a file, which need not be text at all.
///
/// # Errors
/// As [`parse`]; `E_YAML` for bytes that are not UTF-8.
pub fn parse_bytes(bytes: &[u8], file_name: &str) -> Result<Application, Vec<Report>> {
    let not_utf8 = |what: String| {
        let report = Report::new(ErrorCode::Yaml, what).at(file_name);
        Err(vec![report.hint("save the file as UTF-8")])
    };
    if matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) {
        return not_utf8("the file is UTF-16".to_owned());
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text, file_name),
        Err(error) => not_utf8(format!("not UTF-8 at byte {}", error.valid_up_to())),
    }
}

/// JSON Schema (2020-12) of our own form, for editors and other tools.
#[must_use]
pub fn schema() -> &'static str {
    include_str!("manifest/schema.json")
}

fn read_form(reader: &mut Reader, root: &At<'_>) -> Option<draft::Draft> {
    // Both forms begin with these; which fields are known otherwise depends on the form.
    let yaml::Data::Mapping(entries) = &root.node.data else {
        reader.fields(root, native::ROOT);
        return None;
    };
    let field = |name: &str| {
        let entry = entries.iter().find(|entry| entry.key == name)?;
        Some(At { node: &entry.value, path: name.to_owned() })
    };
    let Some(version) = field("apiVersion") else {
        let report = Report::new(ErrorCode::Manifest, "missing field \"apiVersion\"");
        reader.problem(&root.spot(), report.hint(format!("begin with apiVersion: {API_VERSION}")));
        return native::read(reader, root);
    };
    let is_oam = reader.one_of(&version, &[(API_VERSION, false), (OAM_API_VERSION, true)])?;
    match field("kind") {
        Some(at) => drop(reader.one_of(&at, &[("Application", ())])),
        None => reader.problem(&root.spot(), Report::new(ErrorCode::Manifest, "missing field \"kind\"")),
    }
    if is_oam { oam::read(reader, root) } else { native::read(reader, root) }
}
