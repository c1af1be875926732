//! The provider kinds that are built in: what each serves, and by which older image it is known.

use crate::interface::Selector;

/// Kinds of providers built into a host. Others are processes (`run: process`, `run: remote`).
pub const KNOWN_KINDS: &[&str] = &[
    "http-server",
    "http-client",
    "keyvalue-embedded",
    "keyvalue-nats",
    "keyvalue-redis",
    "messaging-embedded",
    "messaging-nats",
    "blobstore-embedded",
];

/// Last parts of the images of wasmCloud's providers, and the kinds that took their place.
const IMAGES: &[(&str, &str)] = &[
    ("http-server", "http-server"),
    ("httpserver", "http-server"),
    ("http-client", "http-client"),
    ("httpclient", "http-client"),
    ("keyvalue-redis", "keyvalue-redis"),
    ("kvredis", "keyvalue-redis"),
    ("keyvalue-nats", "keyvalue-nats"),
    ("messaging-nats", "messaging-nats"),
    ("nats", "messaging-nats"),
    ("nats_messaging", "messaging-nats"),
    ("blobstore-fs", "blobstore-embedded"),
];

/// The built-in kind for a well-known provider image, whatever its registry and tag
/// (`ghcr.io/wasmcloud/http-server:0.23.2`, `wasmcloud.azurecr.io/kvredis:0.27.0`).
#[must_use]
pub fn kind_of_image(image: &str) -> Option<&'static str> {
    let path = image.split('@').next()?;
    let name = path.rsplit('/').next()?;
    let name = name.split(':').next()?;
    IMAGES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
}

/// Well-known images by name, for messages.
pub(super) fn known_images() -> String {
    IMAGES.iter().map(|(image, _)| *image).collect::<Vec<_>>().join(", ")
}

/// A package, and those of its interfaces that are served; none listed is all of them.
type Served = (&'static str, &'static [&'static str]);

const KEY_VALUE: &[Served] = &[
    ("wasi:keyvalue", &["store", "atomics", "batch", "watcher"]),
    ("wasmcloud:secrets", &["store", "reveal"]),
];

/// Does a built-in kind serve, or call, what this selector names? Unknown kinds may serve anything.
#[must_use]
pub fn kind_serves(kind: &str, selector: &Selector) -> bool {
    let served: &[Served] = match kind {
        "http-server" => &[("wasi:http", &["incoming-handler", "handler"])],
        "http-client" => &[("wasi:http", &["outgoing-handler", "client", "handler"])],
        "keyvalue-embedded" | "keyvalue-nats" | "keyvalue-redis" => KEY_VALUE,
        "messaging-embedded" | "messaging-nats" => &[("wasmcloud:messaging", &[])],
        "blobstore-embedded" => &[("wasi:blobstore", &[])],
        _ => return true,
    };
    served.iter().any(|(package, interfaces)| {
        let all = |interface| interfaces.is_empty() || interfaces.contains(&interface);
        selector.package() == *package && selector.interface().is_none_or(all)
    })
}

/// Does some built-in kind serve this package? Then a missing target is a missing provider.
pub(super) fn is_capability(selector: &Selector) -> bool {
    KNOWN_KINDS.iter().any(|kind| kind_serves(kind, selector))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_every_age_are_known() {
        for (image, kind) in [
            ("ghcr.io/wasmcloud/http-server:0.23.2", Some("http-server")),
            ("wasmcloud.azurecr.io/kvredis:0.27.0", Some("keyvalue-redis")),
            ("localhost:5000/nats@sha256:00", Some("messaging-nats")),
            ("oci://ghcr.io/wasmcloud/blobstore-fs", Some("blobstore-embedded")),
            ("ghcr.io/wasmcloud/lattice-controller:1", None),
            ("", None),
        ] {
            assert_eq!(kind_of_image(image), kind, "{image}");
        }
        for (_, kind) in IMAGES {
            assert!(KNOWN_KINDS.contains(kind));
        }
    }

    #[test]
    fn kinds_serve_their_own_package() {
        let serves = |kind: &str, selector: &str| kind_serves(kind, &selector.parse().unwrap());
        assert!(serves("http-server", "wasi:http"));
        assert!(serves("http-server", "wasmcloud:httpserver"));
        assert!(!serves("http-server", "wasi:http/outgoing-handler"));
        assert!(serves("keyvalue-redis", "wasi:keyvalue/store@0.2.0-draft"));
        assert!(serves("keyvalue-redis", "wasmcloud:secrets/store@0.1.0-draft"));
        assert!(!serves("keyvalue-redis", "wasi:blobstore"));
        assert!(serves("my-own", "acme:camera/frames"));
        assert!(is_capability(&"wasi:keyvalue".parse().unwrap()));
        assert!(!is_capability(&"example:pong/pingpong".parse().unwrap()));
    }
}
