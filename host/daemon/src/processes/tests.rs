//! Executables that are not ours, as shell scripts that leave a mark when they run.

use super::*;
use keys::{ClaimRequest, TrustAnchors};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

const NOW: i64 = 1_800_000_000;

struct Anybody;

impl Memberships for Anybody {
    fn membership(&self, role: ProviderRole, name: &str) -> Result<Membership, Report> {
        assert_eq!(name, "shop.store.h1");
        let inbox_prefix = Some(role.as_str().to_owned());
        Ok(Membership { url: "nats://127.0.0.1:1".to_owned(), credentials: None, inbox_prefix })
    }
}

/// A host's directories, with one executable installed.
struct Fixture {
    dir: tempfile::TempDir,
    launcher: Launcher,
}

fn key(kind: KeyKind, n: u8) -> KeyPair {
    KeyPair::from_entropy(kind, [n; 32])
}

impl Fixture {
    fn new(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let executables = dir.path().join("installed");
        std::fs::create_dir(&executables).unwrap();
        let data = dir.path().join("data");
        let mut config = HostConfig::new("test".parse().unwrap(), "h1".parse().unwrap(), data.clone());
        config.trust =
            TrustAnchors::new([key(KeyKind::Account, 1).public()].into(), BTreeMap::new()).unwrap();
        let processes = Processes {
            program: "/nonexistent".into(),
            executables: Some(executables),
            memberships: Arc::new(Anybody),
        };
        let store = Arc::new(Files::open(&data).unwrap());
        let launcher = Launcher { processes: Some(processes), config: Arc::new(config), store };
        let fixture = Self { dir, launcher };
        fixture.install(script);
        fixture
    }

    fn executable(&self) -> PathBuf {
        self.dir.path().join("installed/our-own")
    }

    fn ran(&self) -> bool {
        self.dir.path().join("mark").exists()
    }

    /// A script that first leaves its mark.
    fn install(&self, script: &str) {
        let mark = self.dir.path().join("mark");
        let text = format!("#!/bin/sh\n: > {}\n{script}\n", mark.display());
        std::fs::write(self.executable(), text).unwrap();
        std::fs::set_permissions(self.executable(), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn sign(&self, issuer: u8, change: impl FnOnce(&mut ClaimRequest)) {
        let mut request = ClaimRequest::new(key(KeyKind::Provider, 5).public(), "our-own");
        request.revision = 1;
        request.capabilities.insert("wasi:keyvalue".to_owned());
        change(&mut request);
        let file = std::fs::read(self.executable()).unwrap();
        let token = keys::sign_detached(&file, &request, &key(KeyKind::Account, issuer), NOW).unwrap();
        std::fs::write(self.executable().with_extension("claims"), token).unwrap();
    }

    async fn start(&self, kind: &str, now: i64) -> Result<Running, Report> {
        let spec = ProviderSpec {
            id: "shop/store".parse().unwrap(),
            kind: kind.to_owned(),
            mode: lattice_protocol::spec::ProviderMode::Process,
            config: BTreeMap::from([("url".to_owned(), "hush".to_owned())]),
        };
        self.launcher.start(&spec, (self.dir.path().join("own"), false), now).await
    }

    async fn refused(&self, kind: &str, now: i64) -> String {
        let report = self.start(kind, now).await.err().expect("it must not start");
        assert!(!self.ran(), "nothing runs before its claims hold: {report}");
        report.to_string()
    }
}

#[tokio::test]
async fn what_is_unsigned_foreign_changed_expired_or_older_never_runs() {
    let fixture = Fixture::new("exit 0");
    let refused = async |expected: &str| {
        let report = fixture.refused("our-own", NOW + 1_000).await;
        assert!(report.contains("invalid claim") && report.contains(expected), "{expected}: {report}");
    };
    refused("E_UNSIGNED").await;
    std::fs::write(fixture.executable().with_extension("claims"), "nonsense").unwrap();
    refused("invalid claim").await;
    fixture.sign(2, |_| {});
    refused("not trusted").await;
    fixture.sign(1, |request| request.expires = Some(NOW + 5));
    refused("expired").await;
    fixture.sign(1, |request| request.not_before = Some(NOW + 10_000));
    refused("valid from").await;
    fixture.sign(1, |_| {});
    fixture.install("exit 1");
    refused("digest mismatch").await;
}

#[tokio::test]
async fn a_kind_names_a_file_of_the_directory_and_nothing_else() {
    let fixture = Fixture::new("exit 0");
    std::fs::copy(fixture.executable(), fixture.dir.path().join("beside")).unwrap();
    for kind in ["../beside", "/bin/sh", "", ".", "our-own.claims", "absent"] {
        let report = fixture.refused(kind, NOW).await;
        assert!(report.starts_with("E_PROVIDER_NOT_FOUND: unknown provider kind"), "{kind}: {report}");
    }
    let nowhere = Launcher { processes: None, ..fixture.launcher };
    let fixture = Fixture { launcher: nowhere, ..fixture };
    assert!(fixture.refused("our-own", NOW).await.contains("no provider processes here"));
}

#[tokio::test]
async fn what_is_signed_runs_as_it_was_verified_and_an_older_revision_no_more() {
    let key = key(KeyKind::Provider, 9).public();
    let fixture = Fixture::new(&format!(
        "read -r launch; case $launch in *provider-store*hush*|*hush*provider-store*) ;; *) exit 3;; esac\n\
         [ \"$1 $2\" = \"provider serve\" ] || exit 4\n\
         [ -z \"$HOME$TRELLIS_HOME\" ] || exit 5\n\
         echo '{{\"serving\":{{\"id\":\"shop/store\",\"capability\":\"key-value\",\"key\":\"{key}\"}}}}'\n\
         cat > /dev/null\nexit 7"
    ));
    fixture.sign(1, |request| request.revision = 2);
    let mut running = fixture.start("our-own", NOW + 10).await.unwrap();
    assert!(fixture.ran());
    assert_eq!(running.description.key, key);
    let scope = TaskScope::new("test");
    let (ends, mut ended) = watch::channel(0);
    let (told, how) = tokio::sync::oneshot::channel();
    // Its end is seen when it ends by itself: here because its input does.
    let stdin = running.child.as_mut().map(|(_, stdin)| std::mem::replace(stdin, pipe()));
    running.watch(&scope, (ends, Duration::from_secs(5)), move |how| async move {
        told.send(how).ok();
    });
    drop(stdin);
    assert_eq!(how.await.unwrap(), "exit status 7");
    ended.wait_for(|count| *count == 1).await.unwrap();
    fixture.sign(1, |request| request.revision = 1);
    let report = fixture.start("our-own", NOW + 10).await.err().expect("older").to_string();
    assert!(report.starts_with("E_ROLLBACK"), "{report}");
}

/// A pipe that leads nowhere.
fn pipe() -> ChildStdin {
    let mut child = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap()
}

#[tokio::test]
async fn a_process_that_says_no_or_nothing_or_nonsense_has_not_started() {
    for (script, expected) in [
        ("exit 9", "its process ended: exit status 9"),
        ("kill -9 $$", "its process ended: signal 9"),
        ("echo hello", "says nothing valid"),
        ("echo '{\"failed\":{\"code\":\"E_CONFIG\",\"what\":\"no such database\"}}'", "no such database"),
    ] {
        let fixture = Fixture::new(&format!("read -r launch\n{script}"));
        fixture.sign(1, |_| {});
        let report = fixture.start("our-own", NOW + 10).await.err().expect(script).to_string();
        assert!(report.contains(expected) && !report.contains("hush"), "{script}: {report}");
    }
}
