//! The proxy in front of an echo server: each mode, and what healing does.

use super::*;
use std::future::Future;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

/// A server that sends back what it gets, and its address.
async fn echo_server() -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    (address, tasks)
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("not within the deadline")
}

async fn echo(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(text).await?;
    let mut back = vec![0; text.len()];
    soon(stream.read_exact(&mut back)).await?;
    Ok(back)
}

#[tokio::test]
async fn bytes_pass_and_a_half_close_is_kept() {
    let (target, _server) = echo_server().await;
    let proxy = ChaosProxy::start(target).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let sent: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let (mut read, mut write) = stream.split();
    let mut back = Vec::new();
    let (wrote, got) = soon(async {
        tokio::join!(
            async {
                write.write_all(&sent).await?;
                write.shutdown().await
            },
            read.read_to_end(&mut back)
        )
    })
    .await;
    wrote.unwrap();
    got.unwrap();
    assert_eq!(back, sent);
}

#[tokio::test]
async fn cut_closes_open_and_new_connections_until_heal() {
    let (target, _server) = echo_server().await;
    let proxy = ChaosProxy::start(target).await.unwrap();
    let mut open = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(echo(&mut open, b"before").await.unwrap(), b"before");
    proxy.cut();
    assert!(!matches!(soon(open.read(&mut [0; 8])).await, Ok(1..)));
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(!matches!(soon(new.read(&mut [0; 8])).await, Ok(1..)));
    proxy.heal();
    let mut healed = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(echo(&mut healed, b"after").await.unwrap(), b"after");
}

#[tokio::test]
async fn drop_connections_closes_the_old_only() {
    let (target, _server) = echo_server().await;
    let proxy = ChaosProxy::start(target).await.unwrap();
    let mut old = TcpStream::connect(proxy.address()).await.unwrap();
    echo(&mut old, b"x").await.unwrap();
    proxy.drop_connections();
    assert!(!matches!(soon(old.read(&mut [0; 8])).await, Ok(1..)));
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(echo(&mut new, b"new").await.unwrap(), b"new");
}

#[tokio::test]
async fn held_bytes_arrive_after_heal() {
    let (target, _server) = echo_server().await;
    let proxy = ChaosProxy::start(target).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    echo(&mut stream, b"x").await.unwrap();
    proxy.set_mode(Mode::Hold);
    stream.write_all(b"held").await.unwrap();
    // An absence cannot be waited for; a short look must find nothing, a long one would too.
    let mut back = [0; 4];
    let early = timeout(Duration::from_millis(50), stream.read_exact(&mut back)).await;
    assert!(early.is_err());
    proxy.heal();
    soon(stream.read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"held");
}

#[tokio::test]
async fn swallowed_answers_never_come_and_healing_closes() {
    let (target, _server) = echo_server().await;
    let proxy = ChaosProxy::start(target).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    echo(&mut stream, b"x").await.unwrap();
    proxy.set_mode(Mode::Blackhole(Direction::ToClient));
    stream.write_all(b"lost").await.unwrap();
    let mut back = [0; 4];
    let early = timeout(Duration::from_millis(50), stream.read(&mut back)).await;
    assert!(early.is_err(), "{early:?}");
    proxy.heal();
    assert!(!matches!(soon(stream.read(&mut back)).await, Ok(1..)));
}

#[tokio::test]
async fn delay_is_latency_in_each_direction() {
    let (target, _server) = echo_server().await;
    let proxy = ChaosProxy::start(target).await.unwrap();
    proxy.set_delay(Duration::from_millis(40));
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let start = Instant::now();
    assert_eq!(echo(&mut stream, b"late").await.unwrap(), b"late");
    // A lower bound only: the proxy promises not to deliver early, a busy machine may be late.
    assert!(start.elapsed() >= Duration::from_millis(80));
}
