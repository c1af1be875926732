//! One thread that starts all children and never ends, because the death signal of a child is
//! tied to the thread that started it: a pool thread that retires would take the child along.

use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

struct Request {
    command: Command,
    reply: SyncSender<io::Result<Child>>,
}

/// Starts `command` on the spawning thread and waits for the outcome.
pub(super) fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<SyncSender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, requests) = sync_channel(16);
        // Detached on purpose: it lives exactly as long as the process does. If it cannot be
        // started, its receiver is dropped and every request below fails.
        let _ = thread::Builder::new().name("harness-spawner".to_owned()).spawn(move || serve(&requests));
        sender
    });
    let (reply, outcome) = sync_channel(1);
    spawner
        .send(Request { command, reply })
        .map_err(|_| io::Error::other("the spawning thread could not be started"))?;
    outcome.recv().map_err(|_| io::Error::other("the spawning thread ended"))?
}

fn serve(requests: &Receiver<Request>) {
    for Request { mut command, reply } in requests {
        // A requester that went away drops the child handle; the child then ends with us.
        let _ = reply.send(command.spawn());
    }
}
