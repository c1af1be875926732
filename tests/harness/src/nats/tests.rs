//! Real servers: settings as promised, a store that survives SIGKILL, leaf nodes with domains.
//!
//! The client protocol is spoken by hand: this crate must not need a NATS client.

use super::*;
use anyhow::ensure;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const SOON: Duration = Duration::from_secs(20);

/// One request, one answer, one connection.
async fn request(server: &NatsServer, subject: &str, body: &str) -> Result<String> {
    let mut stream = BufReader::new(TcpStream::connect(server.address()).await?);
    let opening = format!(
        "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true}}\r\n\
         SUB answer 1\r\nPUB {subject} answer {}\r\n{body}\r\n",
        body.len()
    );
    stream.write_all(opening.as_bytes()).await?;
    let mut line = String::new();
    loop {
        line.clear();
        ensure!(stream.read_line(&mut line).await? > 0, "closed");
        if line.starts_with("MSG ") {
            let size: usize = line.rsplit(' ').next().unwrap_or("").trim().parse()?;
            let mut payload = vec![0; size];
            stream.read_exact(&mut payload).await?;
            return Ok(String::from_utf8(payload)?);
        }
        ensure!(!line.starts_with("HMSG"), "no responders for {subject}");
        ensure!(!line.starts_with("-ERR"), "{line}");
    }
}

async fn create_stream(server: &NatsServer, api: &str) {
    let config = json!({"name": "S", "subjects": ["s.>"], "storage": "file", "num_replicas": 1});
    let answer = request(server, &format!("{api}.STREAM.CREATE.S"), &config.to_string()).await.unwrap();
    assert!(!answer.contains("\"error\""), "{answer}");
}

#[tokio::test]
async fn it_runs_with_the_settings_that_the_lattice_demands() {
    let server = NatsServer::start(NatsOptions::default()).await.unwrap();
    let jsz = server.monitor("/jsz?config=true").await.unwrap();
    assert_eq!(jsz.pointer("/config/sync_always"), Some(&json!(true)));
    let varz = server.monitor("/varz").await.unwrap();
    assert_eq!(varz.pointer("/max_payload"), Some(&json!(1_048_576)));
    assert_eq!(varz.pointer("/max_pending"), Some(&json!(16_777_216)));
    assert_eq!(varz.pointer("/http_host"), Some(&json!("127.0.0.1")));
}

#[tokio::test]
async fn without_jetstream_there_is_none() {
    let options = NatsOptions { jetstream: None, ..NatsOptions::default() };
    let server = NatsServer::start(options).await.unwrap();
    assert!(request(&server, "$JS.API.INFO", "").await.is_err());
}

#[tokio::test]
async fn an_acknowledged_message_survives_sigkill_on_the_same_port() {
    let mut server = NatsServer::start(NatsOptions::default()).await.unwrap();
    let (url, monitor) = (server.url(), server.monitor_url());
    create_stream(&server, "$JS.API").await;
    let ack = request(&server, "s.one", "kept").await.unwrap();
    assert!(ack.contains("\"seq\":1"), "{ack}");
    server.kill().unwrap();
    assert!(TcpStream::connect(server.address()).await.is_err());
    server.restart_on_same_port().await.unwrap();
    assert_eq!((url, monitor), (server.url(), server.monitor_url()));
    let info = request(&server, "$JS.API.STREAM.INFO.S", "").await.unwrap();
    assert!(info.contains("\"messages\":1"), "{info}");
}

#[tokio::test]
async fn a_bad_configuration_fails_with_the_servers_own_words() {
    let options = NatsOptions {
        operator_config: Some("operator: /no/such/operator.jwt".to_owned()),
        ..NatsOptions::default()
    };
    let error = NatsServer::start(options).await.unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("/no/such/operator.jwt"), "{text}");
}

#[tokio::test]
async fn a_leaf_node_joins_leaves_with_the_uplink_and_comes_back() {
    let both = Site::start(SiteOptions::default()).await.unwrap();
    let site = &both.site;
    // The hub's JetStream, asked from the site by its domain: works only while the leaf is up.
    let reach = || async { request(site, "$JS.hub.API.INFO", "").await };
    let answer = eventually(SOON, "the hub's JetStream from the site", reach).await;
    assert!(answer.unwrap().contains("\"domain\":\"hub\""));
    create_stream(site, "$JS.API").await;

    both.cut().await.unwrap();
    assert!(reach().await.is_err());
    let info = request(site, "$JS.API.STREAM.INFO.S", "").await.unwrap();
    assert!(info.contains("\"name\":\"S\""), "the site works on: {info}");

    both.heal().await.unwrap();
    eventually(SOON, "the hub again", reach).await.unwrap();
}
