//! Components in an OCI registry, in the form that the WebAssembly tools share: one layer
//! `application/wasm`, config `application/vnd.wasm.config.v0+json`. Layers are checked against
//! their digest by the client; whether the component may run is for its claims to say.
//!
//! A registry on this machine is spoken to without TLS. Credentials: `TRELLIS_OCI_USER` and
//! `TRELLIS_OCI_PASSWORD`, else none.

use bytes::Bytes;
use lattice_protocol::{ErrorCode, Report};
use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use serde_json::json;
use std::pin::Pin;
use std::task::{Context, Poll};

const WASM_LAYER: &str = "application/wasm";
const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// What wasmCloud's and older tools called the same.
const ACCEPTED: [&str; 3] = [
    WASM_LAYER,
    "application/vnd.module.wasm.content.layer.v1+wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
];

fn is_here(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

fn open(reference: &str) -> Result<(Client, Reference, RegistryAuth), Report> {
    // Only the first call installs it; a second finds it there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let image: Reference = reference.parse().map_err(|error| {
        Report::new(ErrorCode::Usage, format!("no reference of a registry: {error}"))
            .got(reference)
            .limit("registry/repository:tag")
    })?;
    let protocol =
        if is_here(image.resolve_registry()) { ClientProtocol::Http } else { ClientProtocol::Https };
    let client = Client::new(ClientConfig { protocol, ..ClientConfig::default() });
    let auth = match (std::env::var("TRELLIS_OCI_USER"), std::env::var("TRELLIS_OCI_PASSWORD")) {
        (Ok(user), Ok(password)) => RegistryAuth::Basic(user, password),
        _ => RegistryAuth::Anonymous,
    };
    Ok((client, image, auth))
}

fn failed(doing: &str, reference: &str, error: &dyn std::error::Error) -> Report {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    Report::new(ErrorCode::Io, format!("{doing}: {text}"))
        .at(format!("oci://{reference}"))
        .hint("check the network, the registry's address, and TRELLIS_OCI_USER and TRELLIS_OCI_PASSWORD")
}

/// Pushes one component.
pub async fn push(reference: &str, file: Bytes) -> Result<(), Report> {
    let (client, image, auth) = open(reference)?;
    let config = json!({
        "created": keys::format_utc(crate::home::now_unix()).replace(' ', "T"), "architecture": "wasm", "os": "wasip2",
        "layerDigests": [keys::Digest::of(&file)],
    });
    let config = Config::new(config.to_string().into_bytes(), WASM_CONFIG.to_owned(), None);
    let layer = ImageLayer::new(file, WASM_LAYER.to_owned(), None);
    client
        .push(&image, &[layer], config, &auth, None)
        .await
        .map_err(|error| failed("image push", reference, &error))?;
    Ok(())
}

/// Pulls one component: one layer, never more of it than its manifest says.
pub async fn pull(reference: &str) -> Result<Bytes, Report> {
    let (client, image, auth) = open(reference)?;
    let (manifest, _) = client
        .pull_image_manifest(&image, &auth)
        .await
        .map_err(|error| failed("image pull", reference, &error))?;
    let refused = |code, what: &str| Report::new(code, what).at(format!("oci://{reference}"));
    let [layer] = manifest.layers.as_slice() else {
        return Err(refused(ErrorCode::Usage, "not one component")
            .got(format!("{} layers", manifest.layers.len()))
            .limit("1 layer"));
    };
    if !ACCEPTED.contains(&layer.media_type.as_str()) {
        let got: String = layer.media_type.chars().take(80).collect();
        return Err(refused(ErrorCode::Usage, "not a component").got(got).limit(WASM_LAYER));
    }
    let limit = keys::section::MAX_COMPONENT_BYTES;
    let size = usize::try_from(layer.size).unwrap_or(usize::MAX);
    if size > limit {
        return Err(refused(ErrorCode::TooLarge, "artifact over the limit").got(layer.size).limit(limit));
    }
    let mut data = Bounded { bytes: Vec::new(), limit: size };
    client
        .pull_blob(&image, layer, &mut data)
        .await
        .map_err(|error| failed("image pull", reference, &error))?;
    Ok(data.bytes.into())
}

/// Takes so many bytes, and refuses the next: a registry that sends on and on ends the pull.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl tokio::io::AsyncWrite for Bounded {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, more: &[u8]) -> Poll<std::io::Result<usize>> {
        let this = self.get_mut();
        if this.bytes.len().saturating_add(more.len()) > this.limit {
            let words = format!("the layer is longer than its manifest says ({} bytes)", this.limit);
            return Poll::Ready(Err(std::io::Error::other(words)));
        }
        this.bytes.extend_from_slice(more);
        Poll::Ready(Ok(more.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
