//! Code that one side compiles and seals, and another opens: through runtimes that compile nothing.

use super::*;
use crate::engine::{Profile, fingerprint};
use crate::fixtures::{self, ALL, guest, signed};
use crate::{Runtime, RuntimeConfig};
use keys::{KeyKind, KeyPair};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

fn compiler(number: u8) -> KeyPair {
    KeyPair::from_entropy(KeyKind::Account, [number; 32])
}

/// What the lattice has, and what was asked of it.
#[derive(Clone, Default)]
struct Shelf {
    sealed: Arc<Mutex<BTreeMap<String, Bytes>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Shelf {
    fn put(&self, made: Made) {
        self.sealed.lock().unwrap().insert(made.name, made.sealed);
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// A host that takes from here what compiler 1 made.
    fn runtime(&self, cache: Option<&Path>) -> Arc<Runtime> {
        let shelf = self.clone();
        let fetch: Fetch = Arc::new(move |name| {
            let found = shelf.sealed.lock().unwrap().get(&name).cloned();
            shelf.asked.lock().unwrap().push(name);
            Box::pin(async move { Ok(found) })
        });
        fixtures::runtime_with(RuntimeConfig {
            elsewhere: Some(Elsewhere { compilers: [compiler(1).public()].into(), fetch }),
            cache_dir: cache.map(Path::to_owned),
            ..RuntimeConfig::default()
        })
    }
}

#[test]
fn a_target_has_one_spelling() {
    for text in ["x86_64", "aarch64", "aarch64-128m", "x86_64-1m", "aarch64-16m"] {
        assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "arm",
        "riscv64",
        "aarch64-",
        "aarch64-m",
        "aarch64-0m",
        "aarch64-129m",
        "aarch64-0128m",
        "aarch64-128",
        "x86_64 ",
    ] {
        assert_eq!(text.parse::<Target>().unwrap_err().code, ErrorCode::Usage, "{text}");
    }
}

#[tokio::test]
async fn a_host_that_compiles_nothing_runs_what_a_compiler_it_trusts_has_made() {
    let (shelf, cache) = (Shelf::default(), tempfile::tempdir().unwrap());
    // WASI 0.2 and 0.3: an engine of each profile.
    for name in ["http_hello_raw", "http_hello_p3"] {
        let (runtime, component) = (shelf.runtime(Some(cache.path())), guest(name));
        let target = runtime.code_for().unwrap().clone();
        let none = fixtures::load(&runtime, &component).await.map(drop).unwrap_err();
        assert_eq!(none.code, ErrorCode::NotCompiled, "{none}");
        assert!(none.to_string().contains(&target.to_string()), "{none}");
        let (_, file) = signed(&component, ALL);
        let made = compile(&file, &target, &compiler(1)).unwrap();
        assert_eq!(made.name, name_for(&file, &target).unwrap());
        shelf.put(made);
        assert!(!fixtures::load(&runtime, &component).await.unwrap().from_cache());
        // After a restart, without a lattice: from its own disk.
        let (before, restarted) = (shelf.asked(), shelf.runtime(Some(cache.path())));
        assert!(fixtures::load(&restarted, &component).await.unwrap().from_cache());
        assert_eq!(shelf.asked(), before);
    }
}

#[tokio::test]
async fn what_another_key_sealed_or_what_is_for_something_else_is_not_loaded() {
    let target = Shelf::default().runtime(None).code_for().unwrap().clone();
    let (component, other) = (guest("http_hello_raw"), guest("http_hello"));
    let ((_, file), (_, other)) = (signed(&component, ALL), signed(&other, ALL));
    let good = compile(&file, &target, &compiler(1)).unwrap();
    let refusal = async |sealed: Bytes| {
        let shelf = Shelf::default();
        shelf.put(Made { name: good.name.clone(), sealed });
        fixtures::load(&shelf.runtime(None), &component).await.map(drop).unwrap_err()
    };
    // An issuer whose claims count is no compiler.
    let issuer = KeyPair::from_entropy(KeyKind::Account, [7; 32]);
    for signer in [compiler(2), issuer] {
        let report = refusal(compile(&file, &target, &signer).unwrap().sealed).await;
        assert_eq!(report.code, ErrorCode::Untrusted, "{report}");
    }
    let small: Target = "x86_64-64m".parse().unwrap();
    let elsewhere: Target = if target.arch() == "aarch64" { "x86_64" } else { "aarch64" }.parse().unwrap();
    let mut wrong = vec![(&other, &target), (&file, &small)];
    // What compiles for this machine alone has refused the other one.
    if cfg!(feature = "cross") {
        wrong.push((&file, &elsewhere));
    } else {
        assert_eq!(compile(&file, &elsewhere, &compiler(1)).unwrap_err().code, ErrorCode::Usage);
    }
    for (file, target) in wrong {
        let report = refusal(compile(file, target, &compiler(1)).unwrap().sealed).await;
        assert_eq!(report.code, ErrorCode::Damaged, "{report}");
        assert!(report.to_string().contains("something else"), "{report}");
    }
}

#[tokio::test]
async fn sealed_code_that_was_touched_anywhere_is_not_opened() {
    let runtime = Shelf::default().runtime(None);
    let (claims, file) = signed(&guest("http_hello_raw"), ALL);
    let target = runtime.code_for().unwrap();
    let sealed = compile(&file, target, &compiler(1)).unwrap().sealed;
    let fingerprint = fingerprint(Profile::Plain, target);
    let wanted = For { component: claims.digest, target, fingerprint: &fingerprint };
    let trusted = [compiler(1).public()].into();
    assert!(open(&sealed, &trusted, wanted).is_ok());
    let statement = 12 + usize::try_from(u32::from_le_bytes(sealed[8..12].try_into().unwrap())).unwrap();
    let places = (0..statement).chain([statement, statement + 1, sealed.len() / 2, sealed.len() - 1]);
    for at in places {
        let mut bad = sealed.to_vec();
        bad[at] ^= 1;
        // A change that JSON does not see (the case of a hexadecimal digit of an escape, say) would be none.
        assert!(open(&bad.into(), &trusted, wanted).is_err(), "byte {at}");
    }
    for length in [0, 7, 8, 11, 12, statement - 1, statement, sealed.len() - 1] {
        assert!(open(&sealed.slice(..length), &trusted, wanted).is_err(), "{length} bytes");
    }
    assert!(open(&sealed, &BTreeSet::new(), wanted).is_err(), "a host that trusts no compiler");
}

#[test]
fn what_no_host_would_run_is_not_compiled_either() {
    let target: Target = "aarch64".parse().unwrap();
    let (_, file) = signed(&guest("http_hello_raw"), ALL);
    for (file, code) in [
        (&b"\0asm\x01\0\0\0"[..], ErrorCode::CoreModule),
        (&file[..file.len() / 2], ErrorCode::Malformed),
        (b"", ErrorCode::ArtifactEmpty),
    ] {
        let report = compile(file, &target, &compiler(1)).unwrap_err();
        assert_eq!(report.code, code, "{report}");
    }
}
