//! Actors that nobody calls: their code goes, and comes again.

use super::*;
use crate::{RuntimeConfig, Source};
use std::sync::Mutex;

/// An actor of a component whose file is read again from `file`, with a cache of compiled components.
struct Resting {
    actor: Arc<Actor>,
    file: Arc<Mutex<Bytes>>,
    cache: tempfile::TempDir,
    looked: Instant,
}

impl Resting {
    async fn start(component: &[u8], options: ActorOptions) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let cache_dir = Some(cache.path().to_owned());
        let runtime = fixtures::runtime_with(RuntimeConfig { cache_dir, ..RuntimeConfig::default() });
        let (claims, bytes) = fixtures::signed(component, fixtures::ALL);
        let file = Arc::new(Mutex::new(bytes.clone()));
        let again = Arc::clone(&file);
        let source: Source = Arc::new(move || Ok(again.lock().unwrap().clone()));
        let component = runtime.load_from(claims, bytes, Some(source)).await.unwrap();
        let actor = Actor::start(&runtime, component, options, Arc::new(Wiring::default())).await.unwrap();
        Self { actor, file, cache, looked: Instant::now() }
    }

    /// The ticker's looks, a minute apart: does the code go at one of them?
    fn look(&mut self, times: usize) -> bool {
        (0..times).any(|_| {
            self.looked += Duration::from_secs(60);
            self.actor.reap(self.looked);
            self.actor.unload_unused(self.looked)
        })
    }

    fn empty_cache(&self) {
        for entry in std::fs::read_dir(self.cache.path()).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

#[tokio::test]
async fn code_goes_when_nobody_calls_and_comes_again_with_the_next_call() {
    for component in [counter(), concurrent_counter()] {
        let mut resting = Resting::start(&component, options()).await;
        for _ in 0..3 {
            // The first look finds a call since the last one, the second finds none.
            assert_eq!(count(&resting.actor).await, 1);
            // A concurrent instance ends on its own task.
            while resting.actor.stats().instances > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(!resting.look(1));
            assert!(resting.look(1));
            assert!(!resting.look(3), "it goes once");
        }
        assert_eq!(resting.actor.stats().errors, 0);
    }
}

#[tokio::test]
async fn handlers_of_http_are_found_again() {
    for name in ["http_hello_raw", "http_hello_p3"] {
        let mut resting = Resting::start(&guest(name), options()).await;
        assert!(resting.look(2), "{name}");
        let (first, second) = tokio::join!(ask(&resting.actor, "/"), ask(&resting.actor, "/"));
        assert_eq!((first.unwrap(), second.unwrap()), ("Hello World\n".into(), "Hello World\n".into()));
    }
}

#[tokio::test]
async fn what_has_an_instance_keeps_its_code() {
    let policy = InstancePolicy::Warm { max_calls: 1_000, max_concurrency: 1, idle_ms: 3_600_000 };
    let mut resting = Resting::start(&counter(), ActorOptions { policy, ..options() }).await;
    assert_eq!(count(&resting.actor).await, 1);
    assert!(!resting.look(30));
    assert_eq!(count(&resting.actor).await, 2);
    // After an hour its instance goes, and then the code can.
    assert!(resting.look(40));
    assert_eq!(count(&resting.actor).await, 1);
}

#[tokio::test]
async fn an_instance_goes_on_with_the_code_that_it_was_made_of() {
    let resting = Resting::start(&counter(), warm()).await;
    assert_eq!(count(&resting.actor).await, 1);
    // As if it had been let go between a call's look for an instance and its making one.
    assert!(resting.actor.component().unload());
    assert_eq!(count(&resting.actor).await, 2);
    resting.actor.call_values(PROBE, "boom", &[], soon()).await.unwrap_err();
    assert_eq!(count(&resting.actor).await, 1);
    assert_eq!(count(&resting.actor).await, 2);
}

#[tokio::test]
async fn without_its_cache_entry_a_component_is_compiled_from_its_file() {
    let mut resting = Resting::start(&counter(), options()).await;
    assert!(resting.look(2));
    resting.empty_cache();
    assert_eq!(count(&resting.actor).await, 1);
    assert!(std::fs::read_dir(resting.cache.path()).unwrap().next().is_some(), "it is kept again");
}

#[tokio::test]
async fn only_the_component_that_was_verified_comes_again() {
    let mut resting = Resting::start(&counter(), options()).await;
    assert!(resting.look(2));
    resting.empty_cache();
    let (_, other) = fixtures::signed(&concurrent_counter(), fixtures::ALL);
    let right = std::mem::replace(&mut *resting.file.lock().unwrap(), other);
    let report = resting.actor.call_values(PROBE, "count", &[], soon()).await.unwrap_err();
    assert_eq!(report.code, ErrorCode::Claim, "{report}");
    *resting.file.lock().unwrap() = right;
    assert_eq!(count(&resting.actor).await, 1);
}

#[tokio::test]
async fn code_that_cannot_be_had_again_stays() {
    let actor = start(&counter(), options()).await.unwrap();
    let later = Instant::now() + Duration::from_secs(3_600);
    assert!(!actor.unload_unused(later) && !actor.unload_unused(later + Duration::from_secs(3_600)));
    assert_eq!(count(&actor).await, 1);
}
