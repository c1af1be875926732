//! The stream of what happens and what changes.

use crate::lab::{Lab, PATIENCE, key, token};
use lattice_protocol::permission::PersonRole::{Admin, Viewer};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const STREAM: &str = "/v1/events/stream";

/// One server-sent event.
#[derive(Debug, Default)]
struct Sent {
    id: Option<u64>,
    event: String,
    data: Value,
}

struct Reader(BufReader<TcpStream>);

impl Reader {
    async fn open(lab: &Lab, last: Option<u64>) -> Self {
        let mut connection = TcpStream::connect(lab.address).await.unwrap();
        let bearer = token(&key(Viewer), "GET", STREAM, b"");
        let last = last.map(|last| format!("last-event-id: {last}\r\n")).unwrap_or_default();
        let head =
            format!("GET {STREAM} HTTP/1.1\r\nhost: lab\r\nauthorization: Bearer {bearer}\r\n{last}\r\n");
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut reader = Self(BufReader::new(connection));
        let first = reader.line().await.unwrap();
        assert!(first.contains("200"), "{first}");
        reader
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, self.0.read_line(&mut line)).await.unwrap().unwrap();
        (read > 0).then_some(line)
    }

    /// The next event; lines of chunks and headers are passed over.
    async fn next(&mut self) -> Option<Sent> {
        let mut sent = Sent::default();
        loop {
            let line = self.line().await?;
            let line = line.trim_end();
            match line.split_once(": ") {
                Some(("id", id)) => sent.id = Some(id.parse().unwrap()),
                Some(("event", event)) => sent.event = event.to_owned(),
                Some(("data", data)) => sent.data = serde_json::from_str(data).unwrap(),
                _ if line.is_empty() && !sent.event.is_empty() => return Some(sent),
                _ => {}
            }
        }
    }

    async fn until(&mut self, mut wanted: impl FnMut(&Sent) -> bool) -> Sent {
        loop {
            let sent = self.next().await.expect("the stream ended");
            if wanted(&sent) {
                return sent;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_tells_what_is_then_what_changes_and_goes_on_where_it_broke_off() {
    let lab = Lab::start().await;
    lab.put("shop").await;
    let mut reader = Reader::open(&lab, None).await;
    let shop = reader.until(|sent| sent.event == "desired").await;
    assert_eq!(shop.data["key"], "shop");
    assert!(shop.data["value"]["history"].is_null() && shop.data["value"]["deployed"] == true, "{shop:?}");
    reader.until(|sent| sent.event == "current").await;
    // A change is seen as the record that changed, as the decision, and as an event.
    assert_eq!(lab.http(Admin, ("POST", "/v1/apps/shop/undeploy"), "", b"").await.status, 200);
    let (mut record, mut event) = (None, None);
    while record.is_none() || event.is_none() {
        let sent = reader.next().await.unwrap();
        match sent.event.as_str() {
            "desired" if sent.data["value"]["deployed"] == false => record = Some(sent),
            "cloudevent" if sent.data["data"]["change"] == "undeploy" => event = Some(sent),
            _ => {}
        }
    }
    let id = event.unwrap().id.expect("events have ids");
    drop(reader);
    // Meanwhile two things happen; the next stream tells them and nothing before them.
    for path in ["/v1/apps/shop/deploy", "/v1/apps/shop/undeploy"] {
        assert_eq!(lab.http(Admin, ("POST", path), "", b"").await.status, 200);
    }
    let mut reader = Reader::open(&lab, Some(id)).await;
    let mut changes = Vec::new();
    while changes.len() < 2 {
        let sent = reader.until(|sent| sent.event == "cloudevent").await;
        assert!(sent.id > Some(id), "{sent:?}");
        if let Some(change) = sent.data["data"]["change"].as_str() {
            changes.push(change.to_owned());
        }
    }
    assert_eq!(changes, ["deploy", "undeploy"]);
    // Gone is told as well.
    assert_eq!(lab.http(Admin, ("DELETE", "/v1/apps/shop"), "", b"").await.status, 200);
    reader.until(|sent| sent.event == "desired" && sent.data["value"].is_null()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_from_nowhere_and_one_over_the_bus_are_refused() {
    let lab = Lab::start().await;
    let bearer = format!("Bearer {}", token(&key(Viewer), "GET", STREAM, b""));
    let headers = [("authorization", bearer.as_str()), ("last-event-id", "yesterday")];
    let refused = lab.send(("GET", STREAM), &headers, b"").await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (400, Some("E_USAGE")));
    let refused = lab.ask(("viewer", "a-viewer"), "event.stream", &serde_json::json!({})).await.unwrap_err();
    assert_eq!(refused.code.as_str(), "E_USAGE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_before_its_first_event_loses_none() {
    let lab = Lab::start().await;
    lab.put("shop").await;
    let mut reader = Reader::open(&lab, None).await;
    let open = reader.until(|sent| sent.event == "open").await;
    let id = open.id.expect("a stream says where its events begin");
    drop(reader);
    for path in ["/v1/apps/shop/undeploy", "/v1/apps/shop/deploy"] {
        assert_eq!(lab.http(Admin, ("POST", path), "", b"").await.status, 200);
    }
    let mut reader = Reader::open(&lab, Some(id)).await;
    assert_eq!(reader.until(|sent| sent.event == "open").await.id, Some(id));
    let mut changes = Vec::new();
    while changes.len() < 2 {
        let sent = reader.until(|sent| sent.event == "cloudevent").await;
        changes.extend(sent.data["data"]["change"].as_str().map(str::to_owned));
    }
    assert_eq!(changes, ["undeploy", "deploy"]);
}
