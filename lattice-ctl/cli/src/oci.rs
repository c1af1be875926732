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

/// Pulls one component.
pub async fn pull(reference: &str) -> Result<Bytes, Report> {
    let (client, image, auth) = open(reference)?;
    let (manifest, _) = client
        .pull_image_manifest(&image, &auth)
        .await
        .map_err(|error| failed("image pull", reference, &error))?;
    let size: i64 = manifest.layers.iter().map(|layer| layer.size.max(0)).fold(0, i64::saturating_add);
    let limit = i64::try_from(keys::section::MAX_COMPONENT_BYTES).unwrap_or(i64::MAX);
    if size > limit {
        return Err(Report::new(ErrorCode::TooLarge, "artifact over the limit")
            .at(reference)
            .got(size)
            .limit(limit));
    }
    let data = client
        .pull(&image, &auth, ACCEPTED.to_vec())
        .await
        .map_err(|error| failed("image pull", reference, &error))?;
    match <[ImageLayer; 1]>::try_from(data.layers) {
        Ok([layer]) => Ok(layer.data),
        Err(layers) => Err(Report::new(ErrorCode::Usage, "not one component")
            .at(reference)
            .got(format!("{} layers", layers.len()))),
    }
}
