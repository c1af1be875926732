//! A client as a load balancer is one: each request goes to the host that answered last, and from there
//! to the next when that one refuses the connection, does not take it in time, or does not have what is
//! asked for. What a host has begun to answer and does not finish well is a failure.

use anyhow::{Result, bail, ensure};
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Longest time for a connection.
const CONNECT: Duration = Duration::from_millis(250);
/// Longest time for an answer.
const ANSWER: Duration = Duration::from_secs(15);
/// A host that does not take connections is left alone for so long.
const ASIDE: Duration = Duration::from_secs(1);

/// One client of several hosts.
#[derive(Debug, Clone)]
pub struct Balancer {
    hosts: Vec<(SocketAddr, Option<Instant>)>,
    last: usize,
}

/// What one host did.
#[derive(Debug)]
enum Tried {
    Answered,
    /// It did not take the request; with how it said so.
    Passed(String),
}

impl Balancer {
    /// Of these.
    #[must_use]
    pub fn new(hosts: Vec<SocketAddr>) -> Self {
        Self { hosts: hosts.into_iter().map(|host| (host, None)).collect(), last: 0 }
    }

    /// One request: 200 from one of the hosts.
    ///
    /// # Errors
    /// A host failed it, or none of them took it.
    pub fn ask(&mut self, path: &str) -> Result<()> {
        let mut passed = Vec::new();
        let count = self.hosts.len();
        for turn in 0..count {
            let index = (self.last + turn) % count;
            let Some((address, aside)) = self.hosts.get_mut(index) else { continue };
            if aside.is_some_and(|until| Instant::now() < until) {
                passed.push(format!("{address}: left alone"));
                continue;
            }
            match attempt(*address, path)? {
                Tried::Answered => {
                    self.last = index;
                    return Ok(());
                }
                Tried::Passed(how) => {
                    let is_late = how.starts_with("late");
                    *aside = is_late.then(|| Instant::now() + ASIDE);
                    passed.push(format!("{address}: {how}"));
                }
            }
        }
        bail!("GET {path}: nobody took it: {}", passed.join("; "))
    }
}

fn attempt(address: SocketAddr, path: &str) -> Result<Tried> {
    let mut stream = match TcpStream::connect_timeout(&address, CONNECT) {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::TimedOut => {
            return Ok(Tried::Passed("late: no connection".to_owned()));
        }
        Err(error) => return Ok(Tried::Passed(error.to_string())),
    };
    stream.set_read_timeout(Some(ANSWER))?;
    let mut answer = Vec::new();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let exchange = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_end(&mut answer));
    if let Err(error) = exchange {
        bail!("GET {path} at {address}: broken after {} bytes: {error}", answer.len());
    }
    let head = String::from_utf8_lossy(&answer);
    let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
    match status.as_str() {
        "200" => Ok(Tried::Answered),
        // It is not here (any more): a balancer's own check of each host finds that.
        "404" => Ok(Tried::Passed("404".to_owned())),
        _ => {
            let said: String = head.chars().take(400).collect();
            bail!("GET {path} at {address}: {said:?}")
        }
    }
}

/// Clients that ask without a pause until they are told to stop.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<std::thread::JoinHandle<Asked>>,
}

/// What became of the requests of a load.
#[derive(Debug, Default)]
pub struct Asked {
    /// Answered well.
    pub good: u64,
    /// Failed, each in words.
    pub failed: Vec<String>,
}

impl fmt::Display for Asked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first: Vec<&str> = self.failed.iter().take(5).map(String::as_str).collect();
        write!(formatter, "{} answered, {} failed: {}", self.good, self.failed.len(), first.join("\n"))
    }
}

impl Load {
    /// One client for each of these paths, `pause` between its requests.
    #[must_use]
    pub fn begin(balancer: &Balancer, paths: &[&'static str], pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |path: &'static str| {
            let (mut balancer, stop) = (balancer.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut asked = Asked::default();
                while !stop.load(Ordering::Relaxed) {
                    match balancer.ask(path) {
                        Ok(()) => asked.good += 1,
                        Err(error) => asked.failed.push(format!("{error:#}")),
                    }
                    std::thread::sleep(pause);
                }
                asked
            })
        };
        let clients = paths.iter().map(|path| client(path)).collect();
        Self { stop, clients }
    }

    /// Ends it.
    ///
    /// # Errors
    /// A client panicked, or asked nothing.
    pub fn end(self) -> Result<Asked> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Asked::default();
        for client in self.clients {
            let Ok(asked) = client.join() else { bail!("a client panicked") };
            ensure!(asked.good > 0, "a client was never answered: {asked}");
            all.good += asked.good;
            all.failed.extend(asked.failed);
        }
        Ok(all)
    }
}
