//! The codes, one line each: stable text, class, and what to do. The catalogue for users,
//! `docs/errors.md`, is made from here.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! codes {
    ($($(#[doc = $cause:literal])* $variant:ident = $text:literal => $exit:ident, $remedy:literal;)*) => {
        /// What kind of thing went wrong. The text is stable and goes over the wire.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode { $($(#[doc = $cause])* $variant,)* }

        impl ErrorCode {
            /// Every code, in the order of this page.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// The stable text, `E_…`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
            /// The class that gives the exit status.
            #[must_use]
            pub fn class(self) -> Class {
                match self { $(Self::$variant => Class::$exit,)* }
            }
            /// What it means, in one sentence: the documentation of the code.
            #[must_use]
            pub fn cause(self) -> &'static str {
                match self { $(Self::$variant => concat!($($cause),*).trim_ascii(),)* }
            }
            /// What to do about it, when the report itself does not say.
            #[must_use]
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)* }
            }
            /// Reads a stable text back.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

/// Exit classes of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// 1: a defect of ours.
    Internal,
    /// 2: usage, manifest or input.
    Usage,
    /// 3: trust.
    Trust,
    /// 4: denied.
    Denied,
    /// 5: not found.
    NotFound,
    /// 6: resources.
    Resources,
    /// 7: state or fence: somebody else was first.
    State,
    /// 8: input or output.
    Io,
    /// 9: timeout.
    Timeout,
}

impl Class {
    /// The exit status, 1 to 9.
    #[must_use]
    pub fn exit_status(self) -> u8 {
        self as u8 + 1
    }
}

codes! {
    /// A defect of Trellis.
    Internal = "E_INTERNAL" => Internal,
        "Report it with the line and the command; the same again may work.";
    /// The command line, or an argument of it.
    Usage = "E_USAGE" => Usage,
        "Correct the command: `trellis <command> --help` says what it takes.";
    /// A manifest that is not what its schema says.
    Manifest = "E_MANIFEST" => Usage,
        "Correct the line and column that are named; `trellis app validate` checks without deploying, `trellis app schema` prints the schema.";
    /// Text that is not YAML, or YAML with aliases or too deep.
    Yaml = "E_YAML" => Usage,
        "Correct the line that is named. Write values out instead of aliases, quote what is text, indent by spaces.";
    /// A name that is not one token.
    Name = "E_NAME" => Usage,
        "Use letters, digits, `-` and `_`, at most 64 of them.";
    /// A link that cannot be, or contradicts another.
    Link = "E_LINK" => Usage,
        "Give each link a name of its own, a target that serves its interface, and values within the ranges that are named.";
    /// Configuration.
    Config = "E_CONFIG" => Usage,
        "Correct the setting that is named, in the manifest, the context or the lattice's directory.";
    /// A value over a limit.
    Limit = "E_LIMIT" => Usage,
        "Send or build less, or raise the limit that is named if it is configurable.";
    /// A file over the size limit.
    TooLarge = "E_TOO_LARGE" => Usage,
        "Send less: strip the component, split the manifest, or raise the limit that is named.";
    /// A secret in plain text where only a reference may be.
    InlineSecret = "E_INLINE_SECRET" => Usage,
        "Put the value among the host's secrets, and write `{secretRef: <name>}` in its place.";
    /// An artifact of no bytes.
    ArtifactEmpty = "E_ARTIFACT_EMPTY" => Usage,
        "Build the component again: `trellis build`.";
    /// Not WebAssembly.
    NotWasm = "E_NOT_WASM" => Usage,
        "Name the `.wasm` component, not its source, an archive or a program.";
    /// A core module where a component is due.
    CoreModule = "E_CORE_MODULE" => Usage,
        "Build for `wasm32-wasip2`, or wrap it: `wasm-tools component new`.";
    /// Broken binary.
    Malformed = "E_MALFORMED" => Usage,
        "Build or download the file again; it is cut off or was changed.";
    /// Nested too deep.
    Nesting = "E_NESTING" => Usage,
        "Simplify it: the limit is far above what compilers and people write.";
    /// Bytes after the end.
    Trailing = "E_TRAILING" => Usage,
        "Build or download the file again; remove what was appended.";
    /// Native code offered as an actor.
    Precompiled = "E_PRECOMPILED" => Trust,
        "Give the component's `.wasm`, from which this was compiled.";
    /// An import that nobody offers.
    UnknownImport = "E_UNKNOWN_IMPORT" => Usage,
        "Build against interfaces that the host offers; `trellis inspect` lists what a component imports.";
    /// An interface version that is too new.
    Version = "E_VERSION" => Usage,
        "Build against a version that the host has (it is named), or update the host.";
    /// The export that a link needs is missing.
    NoHandler = "E_NO_HANDLER" => Usage,
        "Export the handler that the link calls, or delete the link; `trellis inspect` lists exports.";
    /// A WebAssembly feature that is off.
    Feature = "E_FEATURE" => Usage,
        "Build for `wasm32-wasip2` without the feature that is named.";
    /// Memory over the limit.
    Memory = "E_MEMORY" => Resources,
        "Build with less initial memory, or raise the actor's `limits.memoryMib`.";
    /// Table over the limit.
    Table = "E_TABLE" => Resources,
        "Build with a smaller table, or raise the actor's `limits.tableElements`.";
    /// Compilation over its time.
    CompileTimeout = "E_COMPILE_TIMEOUT" => Timeout,
        "Make the component smaller, or compile it ahead of time.";
    /// Instantiation over its time.
    StartTimeout = "E_START_TIMEOUT" => Timeout,
        "Do less when the component starts: no loops and no work before the first call.";
    /// No signature.
    Unsigned = "E_UNSIGNED" => Trust,
        "Sign it: `trellis claim sign`; for development, `--sign`.";
    /// Two claims sections.
    DuplicateClaims = "E_DUP_CLAIMS" => Trust,
        "Sign the unsigned component again: `trellis claim sign` replaces claims.";
    /// Claims that do not hold.
    Claim = "E_CLAIM" => Trust,
        "Sign it again with `trellis claim sign` and an account that the host trusts; check the clock if times are named.";
    /// An older version than was seen.
    Rollback = "E_ROLLBACK" => Trust,
        "Sign with a higher revision (`--rev`), or deploy the newer file.";
    /// The same version with other content.
    Equivocation = "E_EQUIVOCATION" => Trust,
        "Raise the revision (`--rev`) and sign again: one revision is one file.";
    /// A revoked key.
    Revoked = "E_REVOKED" => Trust,
        "Sign it again with a key that is not revoked.";
    /// A signature of a controller or a compiler that this host does not trust.
    Untrusted = "E_UNTRUSTED" => Trust,
        "Name the key in the host's `trust.json`, under `controllers` or `compilers`, if it is yours.";
    /// No link, claim or policy grants it.
    CapabilityDenied = "E_CAPABILITY_DENIED" => Denied,
        "Put a link (`trellis link put`), widen its grants, or sign with the capability, whichever is named.";
    /// A user without the right.
    Denied = "E_DENIED" => Denied,
        "Use credentials that may do this, or have the permission added.";
    /// Nobody that is known asks: no token, or one that does not hold.
    Unauthenticated = "E_UNAUTHENTICATED" => Denied,
        "Send a token of a user that may use the API: `trellis user token`; `trellis user list` shows those there are.";
    /// No such link.
    LinkNotFound = "E_LINK_NOT_FOUND" => NotFound,
        "Put the link: `trellis link put`; `trellis get links` lists those there are.";
    /// No such host.
    HostNotFound = "E_HOST_NOT_FOUND" => NotFound,
        "Name a host of `trellis get hosts`, or enrol it: `trellis lattice enroll`.";
    /// No such actor.
    ActorNotFound = "E_ACTOR_NOT_FOUND" => NotFound,
        "Name an actor of `trellis get actors`.";
    /// No such provider.
    ProviderNotFound = "E_PROVIDER_NOT_FOUND" => NotFound,
        "Name a provider of the manifest, or start it: `trellis start provider`.";
    /// No such application.
    AppNotFound = "E_APP_NOT_FOUND" => NotFound,
        "Name an application of `trellis app list`.";
    /// No such artifact.
    ArtifactNotFound = "E_ARTIFACT_NOT_FOUND" => NotFound,
        "Push the component (`trellis push`), or deploy its application again.";
    /// A component without code for a host that compiles nothing.
    NotCompiled = "E_NOT_COMPILED" => NotFound,
        "Run `trellis compile` where the lattice's directory is; the host tries again by itself.";
    /// History that a checkpoint has replaced.
    HistoryTrimmed = "E_HISTORY_TRIMMED" => NotFound,
        "Read from the checkpoint on, or from the archive if there is one.";
    /// No such secret.
    SecretNotFound = "E_SECRET_NOT_FOUND" => NotFound,
        "Put it: `trellis secret put <name>`; `trellis secret list` names those there are.";
    /// A secret that is there and cannot be opened here.
    SecretSealed = "E_SECRET_SEALED" => Denied,
        "Seal it to this host as well: `trellis secret share <name>`.";
    /// Nothing else of that name.
    NotFound = "E_NOT_FOUND" => NotFound,
        "Check the name or path.";
    /// Not enough room.
    InsufficientResources = "E_INSUFFICIENT_RESOURCES" => Resources,
        "Lower what the actor needs, change its placement, or add or repair hosts.";
    /// Too much at once.
    Overloaded = "E_OVERLOADED" => Resources,
        "Try again shortly; raise the actor's `limits.concurrency` or `limits.queue`, or its replicas.";
    /// The circuit is open: the target failed often just now.
    CircuitOpen = "E_CIRCUIT_OPEN" => Resources,
        "Repair the target; the link tries it again by itself.";
    /// Calls nested too deep.
    CallDepth = "E_CALL_DEPTH" => Resources,
        "Break the circle of calls between actors.";
    /// Somebody else wrote first.
    Conflict = "E_CONFLICT" => State,
        "Read again what the other one wrote, and repeat the change.";
    /// An older generation or epoch.
    Fenced = "E_FENCED" => State,
        "Nothing: a newer decision is in force, and this older one was refused.";
    /// Two live hosts with one id.
    HostIdInUse = "E_HOST_ID_IN_USE" => State,
        "Stop the other machine, or enrol this one under an id of its own.";
    /// A command id used again with another body.
    IdReused = "E_ID_REUSED" => State,
        "Send the command with a new id.";
    /// A command id older than what the actor remembers: never executed, because it may have been.
    IdExpired = "E_ID_EXPIRED" => State,
        "Read the actor's state to see whether the command took effect; send it anew with a new id if not.";
    /// A command id issued in the future.
    IdFuture = "E_ID_FUTURE" => State,
        "Set the sender's clock right.";
    /// A message of an actor ahead of one that has not come yet.
    SequenceGap = "E_SEQUENCE_GAP" => State,
        "Nothing: the sender repeats what is missing, in order.";
    /// Two histories where one may be.
    Fork = "E_FORK" => State,
        "Stop the older owner, and restore the shard from its stream.";
    /// A command that kept trapping and was set aside.
    Quarantined = "E_QUARANTINED" => State,
        "Repair the actor, then send the command again with a new id.";
    /// The actor is on its way to another host.
    Moving = "E_MOVING" => State,
        "Send it again: it arrives at the new host.";
    /// A rollout does not allow it, or was taken back.
    Rollout = "E_ROLLOUT" => State,
        "See what its gates say: trellis app status <app>.";
    /// Starting over and over.
    CrashLooping = "E_CRASH_LOOPING" => State,
        "Repair the actor: its log says why it fails; it is tried again ever more slowly.";
    /// The guest trapped.
    Trap = "E_TRAP" => State,
        "Repair the actor: its log has the trap's message.";
    /// The guest answered with an error of its own.
    Guest = "E_GUEST" => State,
        "The actor says what it wants: correct the request.";
    /// A provider did not start.
    ProviderStart = "E_PROVIDER_START" => Io,
        "Correct its configuration; check the network, and the registry or server that it names.";
    /// A provider failed.
    Provider = "E_PROVIDER" => Io,
        "Check the service behind the provider.";
    /// Nobody listens there.
    Connection = "E_CONNECTION" => Io,
        "Check that the server runs there, that `CLUSTER_URI` or the context names it, and that a subscriber is linked.";
    /// A JetStream domain that does not answer: no such site, or it is cut off from here.
    Domain = "E_DOMAIN" => Io,
        "Check that the site's nats-server runs with `jetstream { domain: … }` of that name and that its leaf connection stands, and that the host was enrolled for it: `trellis lattice enroll <host> --domain <name>`.";
    /// The disk or the network.
    Io = "E_IO" => Io,
        "Check the path, its rights, the disk's room, or the network.";
    /// The journal stopped taking writes, for good, after a failure that must not be retried.
    JournalStopped = "E_JOURNAL_STOPPED" => Io,
        "Check the disk, then restart the host.";
    /// Stored bytes that are not what was written.
    Damaged = "E_DAMAGED" => Io,
        "Nothing by hand where the host says that it fetches again; else restore the file from its source.";
    /// A call over its deadline.
    Timeout = "E_TIMEOUT" => Timeout,
        "Raise the timeout if the work takes long; else see the log of whom it waited for.";
    /// Sent, and not known whether it took effect: the same command id finds out.
    OutcomeUnknown = "E_OUTCOME_UNKNOWN" => Timeout,
        "Send the same command again with the same id.";
    /// A host that fell silent.
    HeartbeatTimeout = "E_HEARTBEAT_TIMEOUT" => Timeout,
        "Check the host's network and its `trellis` process; its actors move by themselves.";
}

impl ErrorCode {
    /// Would the same again, with nothing changed, end in the same? Waiting does not help then.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self.class(), Class::Usage | Class::Trust | Class::Denied)
            || matches!(
                self,
                Self::Memory | Self::Table | Self::StartTimeout | Self::CompileTimeout | Self::Trap
            )
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        // A newer peer may know codes that we do not; its words still say what happened.
        Ok(Self::parse(&text).unwrap_or(Self::Internal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_and_has_its_own_text() {
        let mut seen = std::collections::BTreeSet::new();
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.as_str()), Some(*code));
            assert!(seen.insert(code.as_str()), "{code} twice");
        }
        assert_eq!(ErrorCode::Usage.class().exit_status(), 2);
        assert_eq!(ErrorCode::Timeout.class().exit_status(), 9);
    }
}
