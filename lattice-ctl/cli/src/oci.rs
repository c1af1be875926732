//! Components in an OCI registry, in the form that the WebAssembly tools share: one layer
//! `application/wasm`, config `application/vnd.wasm.config.v0+json`. The manifest is checked against
//! a pinned digest (`repository@sha256:…`), the layer against its own; whether the component may run
//! is for its claims to say.
//!
//! Nothing is unpacked: there is one layer, it is the file, and no name that a registry gives becomes a
//! path. What a registry declares is checked before it is read, and reading stops at what was declared.
//!
//! A registry on this machine is spoken to without TLS. Credentials: `TRELLIS_OCI_USER` and
//! `TRELLIS_OCI_PASSWORD`, else none.

mod refusal;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use keys::Digest;
use lattice_protocol::{ErrorCode, Report};
use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::manifest::{ImageIndexEntry, OciDescriptor, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use refusal::{Doing, failed};
use serde_json::json;
use std::time::Duration;

const WASM_LAYER: &str = "application/wasm";
const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// What wasmCloud's and older tools called the same.
const ACCEPTED: [&str; 3] = [
    WASM_LAYER,
    "application/vnd.module.wasm.content.layer.v1+wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
];

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest wait for the next bytes.
const SILENCE: Duration = Duration::from_secs(30);

/// What was pulled.
#[derive(Debug)]
pub struct Pulled {
    /// The component.
    pub file: Bytes,
    /// The reference that names exactly this, whatever becomes of its tag.
    pub pinned: String,
    /// The last part of the repository's name.
    pub name: String,
}

fn is_here(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

/// A registry, and what is meant in it.
struct Registry {
    client: Client,
    image: Reference,
    auth: RegistryAuth,
}

impl Registry {
    fn open(reference: &str) -> Result<Self, Report> {
        // Only the first call installs it; a second finds it there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let image: Reference = reference.parse().map_err(|error| {
            Report::new(ErrorCode::Usage, format!("no reference of a registry: {error}"))
                .got(reference)
                .limit("registry/repository:tag or registry/repository@sha256:…")
        })?;
        let protocol =
            if is_here(image.resolve_registry()) { ClientProtocol::Http } else { ClientProtocol::Https };
        let client = Client::new(ClientConfig {
            protocol,
            connect_timeout: Some(CONNECT),
            read_timeout: Some(SILENCE),
            platform_resolver: Some(Box::new(wasm_of)),
            ..ClientConfig::default()
        });
        let auth = match (std::env::var("TRELLIS_OCI_USER"), std::env::var("TRELLIS_OCI_PASSWORD")) {
            (Ok(user), Ok(password)) => RegistryAuth::Basic(user, password),
            _ => RegistryAuth::Anonymous,
        };
        Ok(Self { client, image, auth })
    }

    /// The reference with a digest in place of its tag.
    fn pinned(&self, digest: &str) -> String {
        format!("{}/{}@{digest}", self.image.registry(), self.image.repository())
    }

    /// The bytes of a layer, no more than it declares.
    async fn layer(&self, layer: &OciDescriptor, size: usize) -> Result<Bytes, Report> {
        let place = self.image.whole();
        let mut stream = self
            .client
            .pull_blob_stream(&self.image, layer)
            .await
            .map_err(|error| failed(Doing::Pull, &place, &error))?;
        let mut file = BytesMut::with_capacity(size);
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| refusal::broken_off(&place, &error))?;
            if file.len().saturating_add(chunk.len()) > size {
                let what = "image pull: the layer is longer than its manifest says";
                return Err(Report::new(ErrorCode::Io, what)
                    .at(format!("oci://{place}"))
                    .limit(format!("{size} bytes")));
            }
            file.extend_from_slice(&chunk);
        }
        let found = Digest::of(&file).to_string();
        if found != layer.digest {
            return Err(Report::new(ErrorCode::Damaged, "image pull: digest mismatch")
                .at(format!("oci://{place}"))
                .got(found)
                .limit(&layer.digest));
        }
        Ok(file.freeze())
    }
}

/// Of an index of images for many platforms, the one that is WebAssembly.
fn wasm_of(entries: &[ImageIndexEntry]) -> Option<String> {
    let is_wasm = |entry: &&ImageIndexEntry| {
        entry.platform.as_ref().is_some_and(|platform| platform.architecture.to_string().starts_with("wasm"))
    };
    entries.iter().find(is_wasm).map(|entry| entry.digest.clone())
}

/// Pushes one component; gives the reference that pins it.
///
/// # Errors
/// `E_CONNECTION`, `E_DENIED`, `E_TIMEOUT`, `E_IO`: `image push: …`.
pub async fn push(reference: &str, file: Bytes) -> Result<String, Report> {
    let registry = Registry::open(reference)?;
    let failed = |error| failed(Doing::Push, reference, &error);
    // No time in it: the same file has the same digest, whenever and however often it is pushed.
    let config = json!({ "architecture": "wasm", "os": "wasip2", "layerDigests": [Digest::of(&file)] });
    let config = Config::new(config.to_string().into_bytes(), WASM_CONFIG.to_owned(), None);
    let layer = ImageLayer::new(file, WASM_LAYER.to_owned(), None);
    let Registry { client, image, auth } = &registry;
    client.push(image, &[layer], config, auth, None).await.map_err(failed)?;
    let digest = client.fetch_manifest_digest(image, auth).await.map_err(failed)?;
    Ok(registry.pinned(&digest))
}

/// Pulls one component.
///
/// # Errors
/// `E_CONNECTION`, `E_DENIED`, `E_ARTIFACT_NOT_FOUND`, `E_USAGE`, `E_TOO_LARGE`, `E_DAMAGED`,
/// `E_TIMEOUT`, `E_IO`: `image pull: …`.
pub async fn pull(reference: &str) -> Result<Pulled, Report> {
    let registry = Registry::open(reference)?;
    let (manifest, digest) = registry
        .client
        .pull_image_manifest(&registry.image, &registry.auth)
        .await
        .map_err(|error| failed(Doing::Pull, reference, &error))?;
    let (layer, size) = only_layer(reference, &manifest)?;
    let file = registry.layer(layer, size).await?;
    let name = registry.image.repository().rsplit('/').next().unwrap_or("artifact").to_owned();
    Ok(Pulled { file, pinned: registry.pinned(&digest), name })
}

/// The one layer of a component's image, and its size: nothing is read that could not be one.
fn only_layer<'m>(
    reference: &str,
    manifest: &'m OciImageManifest,
) -> Result<(&'m OciDescriptor, usize), Report> {
    let refused =
        |code, what: &str| Report::new(code, format!("image pull: {what}")).at(format!("oci://{reference}"));
    let [layer] = manifest.layers.as_slice() else {
        return Err(refused(ErrorCode::Usage, "not one component")
            .got(format!("{} layers", manifest.layers.len()))
            .limit("1 layer"));
    };
    if !ACCEPTED.contains(&layer.media_type.as_str()) {
        let got: String = layer.media_type.chars().take(80).collect();
        return Err(refused(ErrorCode::Usage, "not a component")
            .got(got)
            .limit(WASM_LAYER)
            .hint("push it with: trellis push <file.wasm> oci://registry/repository:tag"));
    }
    let limit = keys::section::MAX_COMPONENT_BYTES;
    match usize::try_from(layer.size) {
        Ok(size) if size <= limit => Ok((layer, size)),
        _ => Err(refused(ErrorCode::TooLarge, "artifact over the limit").got(layer.size).limit(limit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(media_type: &str, size: i64) -> OciDescriptor {
        OciDescriptor { media_type: media_type.to_owned(), size, ..OciDescriptor::default() }
    }

    fn read(layers: Vec<OciDescriptor>) -> Result<usize, ErrorCode> {
        let manifest = OciImageManifest { layers, ..OciImageManifest::default() };
        only_layer("r/a:1", &manifest).map(|(_, size)| size).map_err(|report| report.code)
    }

    /// Row 22 of the bad input: there is no archive to escape from, and no room to fill.
    #[test]
    fn an_archive_many_layers_and_absurd_sizes_are_refused_before_they_are_read() {
        assert_eq!(read(vec![layer(WASM_LAYER, 7)]), Ok(7));
        for archive in [
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "",
        ] {
            assert_eq!(read(vec![layer(archive, 7)]), Err(ErrorCode::Usage), "{archive}");
        }
        assert_eq!(read(vec![]), Err(ErrorCode::Usage));
        assert_eq!(read(vec![layer(WASM_LAYER, 7); 1_000]), Err(ErrorCode::Usage));
        for size in [10 << 30, i64::MAX, -1] {
            assert_eq!(read(vec![layer(WASM_LAYER, size)]), Err(ErrorCode::TooLarge), "{size}");
        }
    }

    #[test]
    fn only_registries_of_this_machine_are_spoken_to_in_the_clear() {
        for here in ["localhost:5000", "127.0.0.1:5000", "localhost", "[::1]:5000"] {
            assert!(is_here(here), "{here}");
        }
        for there in ["registry.example", "localhost.example:5000", "127.0.0.1.example"] {
            assert!(!is_here(there), "{there}");
        }
    }
}
