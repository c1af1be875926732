//! A real redis-server for a test: a free port on loopback, nothing saved, killed on drop.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tempfile::TempDir;

use crate::process::{LogMark, Process, ProcessSpec};
use crate::tools;

const START_DEADLINE: Duration = Duration::from_secs(30);
/// Redis cannot choose a port itself, so one that was free may be taken when it starts.
const START_ATTEMPTS: u32 = 5;

/// A running (or killed) server. Killed on drop.
#[derive(Debug)]
pub struct RedisServer {
    binary: PathBuf,
    process: Process,
    address: SocketAddr,
    dir: TempDir,
}

impl RedisServer {
    /// Starts one and waits until it accepts connections.
    ///
    /// # Errors
    /// No redis-server to be had, or it does not start (its log is shown).
    pub async fn start() -> Result<Self> {
        let binary = tools::ensure_redis()?;
        let dir = tempfile::Builder::new().prefix("redis-").tempdir()?;
        let mut last = anyhow!("not tried");
        for _ in 0..START_ATTEMPTS {
            let address = free_address()?;
            match launch(&binary, dir.path(), address).await {
                Ok(process) => {
                    return Ok(Self { binary, process, address, dir });
                }
                Err(error) => last = error,
            }
        }
        Err(last).context("redis-server does not start")
    }

    /// SIGKILL. Everything it held is gone: nothing is saved.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill().map(drop)
    }

    /// Starts it again, empty, on the same port; kills it first if it still runs.
    ///
    /// # Errors
    /// As [`RedisServer::start`]; also when another program has taken the port meanwhile.
    pub async fn restart_on_same_port(&mut self) -> Result<()> {
        self.kill()?;
        self.process = launch(&self.binary, self.dir.path(), self.address).await?;
        Ok(())
    }

    /// `redis://127.0.0.1:<port>/`.
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// The address behind [`RedisServer::url`], for a proxy.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The child process: to freeze and thaw it, or to read its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

async fn launch(binary: &Path, dir: &Path, address: SocketAddr) -> Result<Process> {
    let log = dir.join("redis.log");
    let since = LogMark::end_of(&log);
    let mut process = ProcessSpec::new("redis-server", binary, log)
        .args(["--bind", &address.ip().to_string()])
        .args(["--port", &address.port().to_string()])
        .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
        .arg("--dir")
        .arg(dir)
        .spawn()?;
    // Its own word, not a PING: on a port that was taken meanwhile, somebody else would answer.
    process.wait_for_line_since(since, "Ready to accept connections", START_DEADLINE).await?;
    Ok(process)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    async fn command(server: &RedisServer, line: &str) -> String {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let request = format!("{line}\r\nQUIT\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn it_answers_and_a_restart_is_empty_on_the_same_port() {
        let mut server = RedisServer::start().await.unwrap();
        let url = server.url();
        assert!(command(&server, "SET k v").await.starts_with("+OK"));
        assert!(command(&server, "GET k").await.starts_with("$1\r\nv"));
        server.restart_on_same_port().await.unwrap();
        assert_eq!(server.url(), url);
        assert!(command(&server, "GET k").await.starts_with("$-1"));
    }

    #[tokio::test]
    async fn two_servers_do_not_meet() {
        let one = RedisServer::start().await.unwrap();
        let two = RedisServer::start().await.unwrap();
        assert_ne!(one.address(), two.address());
        command(&one, "SET k one").await;
        assert!(command(&two, "GET k").await.starts_with("$-1"));
    }

    #[tokio::test]
    async fn drop_ends_it() {
        let server = RedisServer::start().await.unwrap();
        let address = server.address();
        drop(server);
        assert!(TcpStream::connect(address).await.is_err());
    }
}
