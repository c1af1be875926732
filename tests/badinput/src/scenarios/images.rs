//! A registry that serves one bad image, and `trellis pull` of it. Nothing unpacks archives here: a
//! component is one layer, taken as bytes. So what a name in an archive could do must be nothing.

use super::Played;
use crate::case::Case;
use crate::command::trellis;
use crate::desk::Desk;
use crate::make;
use anyhow::{Context, Result, ensure};
use keys::Digest;
use serde_json::json;
use std::fs;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const WASM: &str = "application/wasm";

/// An image: its manifest, and what is served for its layer.
struct Image {
    manifest: String,
    layer: Vec<u8>,
}

/// `with`: what is bad about the image.
pub async fn pull(case: &Case) -> Played {
    let image = image(&case.with)?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(serve(listener, image));
    let desk = Desk::new()?;
    let outcome = tokio::task::spawn_blocking(move || {
        // At the bottom of folders of its own: whatever climbs out of it is seen.
        fs::create_dir_all(desk.path().join("a/b/c"))?;
        let before = listing(&desk)?;
        let mut outcome = trellis(&desk.path().join("a/b/c"), &line(address), &[])?;
        let after: Vec<String> = listing(&desk)?.into_iter().filter(|path| !before.contains(path)).collect();
        outcome.aside.push_str(&format!("made {after:?}"));
        ensure!(!after.iter().any(|path| !path.starts_with("a/b/c/")), "files outside: {after:?}");
        Ok(outcome)
    });
    Ok(vec![(String::new(), outcome.await??)])
}

fn line(address: SocketAddr) -> String {
    format!("pull oci://{address}/lab/app:1")
}

fn image(what: &str) -> Result<Image> {
    let good = make::good();
    let layer = |media: &str, digest: Digest, size: usize, title: Option<&str>| {
        let annotations = title.map(|title| json!({ "org.opencontainers.image.title": title }));
        json!({ "mediaType": media, "digest": digest, "size": size, "annotations": annotations })
    };
    let (digest, size) = (Digest::of(&good), good.len());
    let tar = "application/vnd.oci.image.layer.v1.tar+gzip";
    let (layers, served) = match what {
        "an archive" => (vec![layer(tar, digest, size, None)], good),
        "10 GB" => (vec![layer(WASM, digest, 10 << 30, None)], good),
        "more than it says" => (vec![layer(WASM, digest, size, None)], [good, vec![0; 256 << 20]].concat()),
        "other bytes" => (vec![layer(WASM, Digest::of(b"other"), size, None)], good),
        "two layers" => (vec![layer(WASM, digest, size, None); 2], good),
        "100 000 layers" => (vec![layer(WASM, digest, size, None); 100_000], good),
        title => (vec![layer(WASM, digest, size, Some(title))], good),
    };
    let config =
        json!({ "mediaType": "application/vnd.wasm.config.v0+json", "digest": Digest::of(b"{}"), "size": 2 });
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
    Ok(Image { manifest: manifest.to_string(), layer: served })
}

/// Files below the desk, by their relative names.
fn listing(desk: &Desk) -> Result<Vec<String>> {
    let (mut found, mut folders) = (Vec::new(), vec![desk.path().to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(desk.path())?.display().to_string());
            }
        }
    }
    Ok(found)
}

/// The little of a registry that a pull asks for.
async fn serve(listener: TcpListener, image: Image) -> Result<()> {
    loop {
        let (mut socket, _) = listener.accept().await?;
        // A client that has seen enough closes in the middle.
        let _ = answer(&mut socket, &image).await;
    }
}

async fn answer(socket: &mut TcpStream, image: &Image) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await?);
    }
    let head = String::from_utf8(head)?;
    let path = head.split(' ').nth(1).context("a request line")?;
    let (media, body) = if path.contains("/manifests/") {
        (MANIFEST, image.manifest.as_bytes())
    } else if path.contains(&Digest::of(b"{}").to_string()) {
        ("application/octet-stream", &b"{}"[..])
    } else if path.contains("/blobs/") {
        ("application/octet-stream", image.layer.as_slice())
    } else {
        ("application/json", &b"{}"[..])
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {media}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(body).await?;
    Ok(())
}
