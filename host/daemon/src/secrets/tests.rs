//! Secrets on a lattice in memory: both places, rotation, no lattice, and every refusal.

use super::*;
use host_store::DataDir;
use lattice_io::KvOptions;
use lattice_io::memory::Memory;
use tempfile::TempDir;

const CANARY: &str = "c4n4ry-of-a-secret";
const BUCKET: &str = "secrets";

struct Fixture {
    dir: TempDir,
    memory: Memory,
    key: CurveKey,
    secrets: Arc<Secrets>,
}

fn fixture() -> Fixture {
    let dir = TempDir::new().unwrap();
    let data = DataDir::open(&dir.path().join("data")).unwrap();
    let (memory, key) = (Memory::new(), CurveKey::from_entropy([7; 32]));
    let own = dir.path().join("own");
    std::fs::create_dir(&own).unwrap();
    let config = SecretsConfig { key: Some(key.clone()), dir: Some(own) };
    let secrets = Secrets::new(
        "NEDGE01".parse().unwrap(),
        config,
        (memory.lattice(), BUCKET.to_owned()),
        SealedStore::open(&data).unwrap(),
    );
    Fixture { dir, memory, key, secrets: Arc::new(secrets) }
}

impl Fixture {
    async fn put(&self, name: &str, value: &str, to: &CurveKey) {
        let bucket = self.memory.lattice().kv.open(BUCKET, KvOptions::default()).await.unwrap();
        let sealed = Sealed::seal(name, value.as_bytes(), [to.public()], [[1; 32], [2; 32]]).unwrap();
        bucket.put(name, serde_json::to_vec(&sealed).unwrap().into()).await.unwrap();
    }
    fn write(&self, name: &str, value: &str, mode: u32) {
        let path = self.dir.path().join("own").join(name);
        std::fs::write(&path, value).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    async fn text(&self, name: &str) -> Result<String, Report> {
        self.secrets.text(name).await.map(|text| text.to_string())
    }
}

fn config(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn a_reference_becomes_the_value_and_no_error_text_holds_it() {
    let fixture = fixture();
    fixture.put("redis", CANARY, &fixture.key).await;
    let resolved = fixture
        .secrets
        .resolve(&config(&[("url", "redis://x"), ("password", "secret:redis")]))
        .await
        .unwrap();
    assert_eq!(resolved.values, config(&[("url", "redis://x"), ("password", CANARY)]));
    assert_eq!(resolved.redact(&format!("WRONGPASS {CANARY} for x")), "WRONGPASS [secret] for x");
}

#[tokio::test]
async fn a_secret_that_is_absent_says_which_where_and_what_to_do() {
    let fixture = fixture();
    let report = fixture.text("redis").await.unwrap_err();
    assert_eq!(report.code, ErrorCode::SecretNotFound);
    let line = report.to_string();
    for part in ["secret not found: redis", "host NEDGE01", "trellis secret put redis", "own/redis"] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[tokio::test]
async fn a_secret_sealed_to_others_stays_closed() {
    let fixture = fixture();
    fixture.put("redis", CANARY, &CurveKey::from_entropy([9; 32])).await;
    let report = fixture.text("redis").await.unwrap_err();
    assert_eq!(report.code, ErrorCode::SecretSealed);
    assert!(report.to_string().contains("trellis secret share redis"), "{report}");
}

#[tokio::test]
async fn the_hosts_own_file_comes_first_and_must_be_private() {
    let fixture = fixture();
    fixture.put("redis", "of the lattice", &fixture.key).await;
    fixture.write("redis", "of the host\n", 0o600);
    assert_eq!(fixture.text("redis").await.unwrap(), "of the host");
    fixture.write("redis", CANARY, 0o644);
    let report = fixture.text("redis").await.unwrap_err();
    assert_eq!(report.code, ErrorCode::Denied);
    assert!(report.to_string().contains("chmod 600") && !report.to_string().contains(CANARY), "{report}");
}

#[tokio::test]
async fn without_the_lattice_the_last_sealed_form_is_opened() {
    let fixture = fixture();
    fixture.put("redis", CANARY, &fixture.key).await;
    assert_eq!(fixture.text("redis").await.unwrap(), CANARY);
    fixture.memory.set_connected(false);
    assert_eq!(fixture.text("redis").await.unwrap(), CANARY);
    assert_eq!(fixture.text("mqtt").await.unwrap_err().code, ErrorCode::Connection);
    let kept = std::fs::read(fixture.dir.path().join("data/sealed/redis")).unwrap();
    assert!(!String::from_utf8_lossy(&kept).contains(CANARY), "sealed on disk too");
}

#[tokio::test]
async fn a_change_is_told_once_and_only_of_what_was_asked_for() {
    let fixture = fixture();
    let bucket = fixture.memory.lattice().kv.open(BUCKET, KvOptions::default()).await.unwrap();
    let (sender, mut changed) = mpsc::channel(8);
    let scope = lattice_io::TaskScope::new("test");
    assert!(fixture.text("late").await.is_err());
    fixture.put("redis", "one", &fixture.key).await;
    fixture.text("redis").await.unwrap();
    scope.spawn_until_cancelled("watch", Arc::clone(&fixture.secrets).watch(bucket, sender));
    fixture.put("other", "nobody asked", &fixture.key).await;
    fixture.put("late", "here now", &fixture.key).await;
    assert_eq!(changed.recv().await.as_deref(), Some("late"));
    fixture.put("redis", "two", &fixture.key).await;
    assert_eq!(changed.recv().await.as_deref(), Some("redis"));
    assert_eq!(fixture.text("redis").await.unwrap(), "two");
    fixture.write("redis", "three", 0o600);
    assert_eq!(changed.recv().await.as_deref(), Some("redis"), "the host's own file is looked at");
    scope.shutdown(Duration::from_secs(1)).await;
}
