//! A controller with its API, users with keys, and a host that says what hosts say.

use bytes::Bytes;
use keys::{KeyKind, KeyPair, RequestParts, sign_request};
use lattice_ctl_controller::api::ApiConfig;
use lattice_ctl_controller::{ControllerConfig, ControllerDeps, ControllerHandle, start};
use lattice_ctl_planner::Pace;
use lattice_ctl_planner::observed::Profile;
use lattice_io::memory::Memory;
use lattice_io::{BusMessage, Clock, KvOptions, Lattice, Replicas, SystemClock, TaskScope};
use lattice_protocol::heartbeat::{Heartbeat, Load};
use lattice_protocol::invocation::{decode_reply, encode_reply};
use lattice_protocol::permission::{ApiUser, PersonRole};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{HostId, LatticeName, Report};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Lab {
    pub lattice: Lattice,
    pub subjects: Subjects,
    pub address: SocketAddr,
    /// A component that is in the lattice.
    pub artifact: String,
    scope: TaskScope,
    _controller: ControllerHandle,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (have, value) = line.split_once(": ")?;
            have.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

pub fn name() -> LatticeName {
    "lab".parse().unwrap()
}

/// The key of one of our users.
pub fn key(role: PersonRole) -> KeyPair {
    KeyPair::from_entropy(KeyKind::User, [role as u8 + 1; 32])
}

pub fn now() -> i64 {
    i64::try_from(SystemClock::new().unix_ms() / 1_000).unwrap()
}

/// A token of a user for a request, signed now.
pub fn token(user: &KeyPair, method: &str, target: &str, body: &[u8]) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let nonce = format!("nonce-{:016}", COUNT.fetch_add(1, Ordering::Relaxed));
    let name = name();
    let parts = RequestParts { lattice: name.as_str(), method, target, body };
    sign_request(user, &parts, (now(), now() + 30), &nonce).unwrap()
}

impl Lab {
    pub async fn start() -> Self {
        let lattice = Memory::new().lattice();
        let subjects = Subjects::new(name());
        let scope = TaskScope::new("lab");
        let users = lattice.kv.open(&subjects.users_bucket(), KvOptions::default()).await.unwrap();
        for role in PersonRole::ALL {
            let user = ApiUser { name: format!("a-{role}"), role, by: "lab".to_owned(), at_unix_ms: 1 };
            let value = serde_json::to_vec(&user).unwrap();
            users.put(key(role).public().as_str(), value.into()).await.unwrap();
        }
        let bytes = Bytes::from_static(b"a component, as far as the API looks");
        let digest = keys::Digest::of(&bytes);
        let store = lattice.blobs.open(&subjects.artifact_store(), Replicas::One).await.unwrap();
        store.put(digest, bytes).await.unwrap();
        let config = ControllerConfig {
            lattice: name(),
            signer: KeyPair::from_entropy(KeyKind::Account, [9; 32]),
            profile: Profile::FAST,
            pace: Pace::default(),
            incarnation: 1,
            tick: Duration::from_millis(50),
            name: "controller".to_owned(),
            api: Some(ApiConfig { listen: ([127, 0, 0, 1], 0).into() }),
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let deps = ControllerDeps { lattice: lattice.clone(), clock, boot_id: "boot".to_owned() };
        let controller = start(config, deps, &scope).await.unwrap();
        let address = controller.api().unwrap();
        let lab =
            Self { lattice, subjects, address, artifact: digest.to_string(), scope, _controller: controller };
        lab.host("H1").await;
        lab
    }

    /// A host that beats and answers.
    async fn host(&self, id: &str) {
        let host: HostId = id.parse().unwrap();
        let (bus, subjects) = (Arc::clone(&self.lattice.bus), self.subjects.clone());
        let mut asked = bus.subscribe(&subjects.hosts_ping(), None).await.unwrap();
        let mut told = bus.subscribe(&subjects.host_all(&host), None).await.unwrap();
        self.scope.spawn_until_cancelled("host", async move {
            let mut beat = Heartbeat::new(name(), host.clone(), "b1");
            beat.load =
                Load { cpu_millis: 4_000, cpu_used_millis: 10, memory_mib: 1_024, memory_used_mib: 10 };
            beat.interval_ms = 100;
            beat.kinds = vec!["keyvalue-embedded".to_owned()];
            let mut tick = tokio::time::interval(Duration::from_millis(100));
            loop {
                let question = tokio::select! {
                    _ = tick.tick() => None,
                    question = asked.next() => question,
                    question = told.next() => question,
                };
                beat.seq += 1;
                let bytes = Bytes::from(serde_json::to_vec(&beat).unwrap());
                let message = match &question {
                    None => Some(BusMessage::new(subjects.heartbeat(&host), bytes)),
                    Some(question) => question.answer(encode_reply(&Ok(bytes))),
                };
                bus.publish(message.unwrap()).await.unwrap();
            }
        });
    }

    pub fn manifest(&self, app: &str) -> String {
        format!(
            "apiVersion: trellis.dev/v1\nkind: Application\nmetadata: {{ name: {app} }}\nspec:\n  actors:\n    - name: web\n      artifact: {}\n  providers:\n    - {{ name: data, kind: keyvalue-embedded }}\n",
            self.artifact
        )
    }

    /// One request as these bytes; the answer is read to its end.
    pub async fn raw(&self, request: &[u8]) -> Answer {
        let mut connection = TcpStream::connect(self.address).await.unwrap();
        // What is refused early may be answered before all of it is sent.
        let _ = connection.write_all(request).await;
        let mut text = Vec::new();
        tokio::time::timeout(PATIENCE, connection.read_to_end(&mut text)).await.unwrap().unwrap();
        let text = String::from_utf8(text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// One request with headers of its own.
    pub async fn send(
        &self,
        (method, target): (&str, &str),
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut request = format!("{method} {target} HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            request.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        self.raw(&[request.as_bytes(), body].concat()).await
    }

    /// One request of a user in this role.
    pub async fn http(
        &self,
        role: PersonRole,
        (method, target): (&str, &str),
        media: &str,
        body: &[u8],
    ) -> Answer {
        let bearer = format!("Bearer {}", token(&key(role), method, target, body));
        let mut headers = vec![("authorization", bearer.as_str())];
        if !body.is_empty() {
            headers.push(("content-type", media));
        }
        self.send((method, target), &headers, body).await
    }

    /// One request over the bus.
    pub async fn ask(
        &self,
        (role, user): (&str, &str),
        operation: &str,
        input: &Value,
    ) -> Result<Value, Report> {
        let subject = self.subjects.api(role, user, operation);
        let request = BusMessage::new(subject, serde_json::to_vec(input).unwrap());
        let answer = self.lattice.bus.request(request, PATIENCE).await?;
        Ok(serde_json::from_slice(&decode_reply(answer.payload)?).unwrap())
    }

    pub async fn put(&self, app: &str) {
        let target = format!("/v1/apps/{app}?deploy=true");
        let manifest = self.manifest(app);
        let put =
            self.http(PersonRole::Deployer, ("PUT", &target), "application/yaml", manifest.as_bytes()).await;
        assert_eq!(put.status, 200, "{put:?}");
    }
}
