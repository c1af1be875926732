//! The tools, with the real programs: a machine that cannot get them fails here first.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

#[test]
fn the_server_is_there_and_stays_the_same() {
    let first = ensure_nats_server().unwrap();
    let again = ensure_nats_server().unwrap();
    assert_eq!(first, again);
    assert!(is_executable(&first));
}

#[test]
fn redis_a_registry_and_the_wasm_target_are_there() {
    assert!(is_executable(&ensure_redis().unwrap()));
    assert!(is_executable(&ensure_docker_registry().unwrap()));
    ensure_wasm_target().unwrap();
    assert!(has_target("wasm32-wasip2").unwrap());
}

#[test]
fn a_lock_admits_one_at_a_time() {
    let inside = AtomicUsize::new(0);
    let most = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    with_lock("test-one-at-a-time", || {
                        let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        Ok(())
                    })
                    .unwrap();
                }
            });
        }
    });
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[test]
fn a_failed_command_shows_what_it_said() {
    let error = run(Command::new("sh").args(["-c", "echo disk full >&2; exit 7"])).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("exit status: 7") && text.contains("disk full"), "{text}");
}
