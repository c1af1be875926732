//! Real children: lines, signals, early ends, and the end of the parent.

use super::*;
use std::fs;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);

fn shell(dir: &TempDir, script: &str) -> Process {
    ProcessSpec::new("child", "sh", dir.path().join("log")).args(["-c", script]).spawn().unwrap()
}

/// The state letter of a process in /proc, or `None` when there is no such process.
fn state(id: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

async fn wait_for_state(id: u32, wanted: &[Option<char>]) {
    eventually(SOON, "a process state", || {
        let now = state(id);
        std::future::ready(if wanted.contains(&now) {
            Ok(())
        } else {
            Err(anyhow!("{now:?}, not {wanted:?}"))
        })
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_line_is_found_and_the_status_reported() {
    let dir = TempDir::new().unwrap();
    let mut child = shell(&dir, "echo ready on port 7; exit 3");
    let line = child.wait_for_line("ready on", SOON).await.unwrap();
    assert_eq!(line, "ready on port 7");
    assert_eq!(child.wait_for_exit(SOON).await.unwrap().code(), Some(3));
}

#[tokio::test]
async fn waiting_from_a_mark_ignores_older_lines() {
    let dir = TempDir::new().unwrap();
    let go = dir.path().join("go");
    let script = format!(
        "echo first; until test -e {}; do sleep 0.01; done; echo first again; exec sleep 600",
        go.display()
    );
    let mut child = shell(&dir, &script);
    child.wait_for_line("first", SOON).await.unwrap();
    let mark = child.mark();
    fs::write(&go, "").unwrap();
    let line = child.wait_for_line_since(mark, "first", SOON).await.unwrap();
    assert_eq!(line, "first again");
}

#[tokio::test]
async fn an_early_end_is_an_error_with_the_log() {
    let dir = TempDir::new().unwrap();
    let mut child = shell(&dir, "echo no such port >&2; exit 1");
    let error = child.wait_for_line("ready", SOON).await.unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("child ended first (exit status: 1)"), "{text}");
    assert!(text.contains("no such port"), "{text}");
}

#[tokio::test]
async fn freeze_and_thaw_change_the_state() {
    let dir = TempDir::new().unwrap();
    let mut child = shell(&dir, "echo up; while :; do sleep 0.01; done");
    child.wait_for_line("up", SOON).await.unwrap();
    child.freeze().unwrap();
    wait_for_state(child.id(), &[Some('T')]).await;
    child.thaw().unwrap();
    wait_for_state(child.id(), &[Some('S'), Some('R')]).await;
}

#[tokio::test]
async fn a_dead_child_is_never_signalled() {
    let dir = TempDir::new().unwrap();
    let mut child = shell(&dir, "exit 0");
    child.wait_for_exit(SOON).await.unwrap();
    let error = child.freeze().unwrap_err();
    assert_eq!(error.to_string(), "child has already ended (exit status: 0)");
}

#[tokio::test]
async fn drop_kills_and_reaps() {
    let dir = TempDir::new().unwrap();
    let mut child = shell(&dir, "echo up; exec sleep 600");
    child.wait_for_line("up", SOON).await.unwrap();
    let id = child.id();
    drop(child);
    assert_eq!(state(id), None);
}

#[tokio::test]
async fn the_child_outlives_the_thread_that_asked_for_it() {
    let dir = TempDir::new().unwrap();
    let go = dir.path().join("go");
    let script = format!(
        "echo up; until test -e {}; do sleep 0.01; done; echo still here; exec sleep 600",
        go.display()
    );
    let spec = ProcessSpec::new("child", "sh", dir.path().join("log")).args(["-c", &script]);
    // The thread ends only after the child has asked for its death signal.
    let asking = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut child = spec.spawn().unwrap();
        runtime.block_on(child.wait_for_line("up", SOON)).unwrap();
        child
    });
    let mut child = asking.join().unwrap();
    fs::write(&go, "").unwrap();
    child.wait_for_line("still here", SOON).await.unwrap();
}

#[tokio::test]
async fn a_missing_program_says_so() {
    let dir = TempDir::new().unwrap();
    let mut child = ProcessSpec::new("ghost", "/no/such/program", dir.path().join("log")).spawn().unwrap();
    let error = child.wait_for_line("up", SOON).await.unwrap_err();
    assert!(format!("{error:#}").contains("/no/such/program"));
}

/// Not a test by itself: the process that `the_kernel_kills_the_children_of_a_killed_parent`
/// starts and kills. It starts a child, prints the child's id, and waits.
#[tokio::test]
async fn a_parent_to_be_killed() {
    let Some(dir) = std::env::var_os("HARNESS_PARENT_DIR") else {
        return;
    };
    let log = Path::new(&dir).join("grandchild.log");
    let mut child =
        ProcessSpec::new("grandchild", "sh", log).args(["-c", "echo up; exec sleep 600"]).spawn().unwrap();
    child.wait_for_line("up", SOON).await.unwrap();
    println!("grandchild {}", child.id());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn the_kernel_kills_the_children_of_a_killed_parent() {
    let dir = TempDir::new().unwrap();
    let this_binary = std::env::current_exe().unwrap();
    let mut parent = ProcessSpec::new("parent", this_binary, dir.path().join("parent.log"))
        .args(["--exact", "process::tests::a_parent_to_be_killed"])
        .arg("--nocapture")
        .env("HARNESS_PARENT_DIR", dir.path())
        .spawn()
        .unwrap();
    let line = parent.wait_for_line("grandchild ", SOON).await.unwrap();
    let (_, id) = line.rsplit_once("grandchild ").unwrap();
    let id: u32 = id.trim().parse().unwrap();
    assert!(matches!(state(id), Some('S' | 'R')));
    parent.kill().unwrap();
    // A zombie is dead: in a container nobody may be there to reap it.
    wait_for_state(id, &[None, Some('Z')]).await;
}
