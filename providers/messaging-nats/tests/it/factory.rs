//! Building the provider from its configuration.

use super::hand::hand;
use super::{SOON, context, message, plain};
use anyhow::{Context, Result, bail, ensure};
use lattice_io::TaskScope;
use lattice_io::memory::Memory;
use lattice_io::nats::{NatsOptions, connect};
use providers_messaging_nats::NatsMessagingFactory;
use providers_sdk::messaging::Messaging;
use providers_sdk::{BuildContext, Factory, Provider, ProviderErrorKind};
use std::collections::BTreeMap;
use std::sync::Arc;
use tests_harness::NatsServer;

async fn build(config: &[(&str, String)]) -> Result<Arc<dyn Messaging>> {
    let factory = NatsMessagingFactory::new(Memory::new().lattice(), TaskScope::new("test"));
    let config: BTreeMap<String, String> =
        config.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    ensure!(factory.check(&config).is_empty());
    let id = "app/bus".parse()?;
    let built = factory.build(BuildContext { id, data_dir: std::path::PathBuf::new(), config }).await?;
    let Provider::Messaging(messaging) = built else { bail!("messaging") };
    Ok(messaging)
}

#[tokio::test]
async fn without_configuration_it_is_the_lattices_own_bus() -> Result<()> {
    let messaging = build(&[]).await?;
    let (hand, mut told) = hand();
    let _subscription = messaging.subscribe(plain("a", 1), Arc::new(hand)).await?;
    messaging.publish(&context(), message("a", "1")).await?;
    assert_eq!(told.body().await?, "1");
    Ok(())
}

#[tokio::test]
async fn a_configuration_may_name_another_server_and_its_streams() -> Result<()> {
    let server = NatsServer::start(tests_harness::NatsOptions::default()).await?;
    let streams = ("streams", "ORDERS=orders.>".to_owned());
    let messaging = build(&[("cluster_uri", server.url()), streams]).await?;
    messaging.publish(&context(), message("orders.new", "1")).await?;
    let lattice = connect(NatsOptions::new(server.url())).await?.lattice();
    assert_eq!(lattice.streams.find("orders.new").await?.as_deref(), Some("ORDERS"));
    let second = lattice.streams.publish(lattice_io::BusMessage::new("orders.new", "2"), None, SOON).await?;
    assert_eq!(second.sequence, 2, "the first one was stored");
    Ok(())
}

#[tokio::test]
async fn an_absent_server_is_unreachable() -> Result<()> {
    let error = build(&[("url", "nats://127.0.0.1:1".to_owned())]).await.err().context("refused")?;
    let error = error.downcast::<providers_sdk::ProviderError>()?;
    assert_eq!(error.kind, ProviderErrorKind::Unreachable);
    ensure!(error.message.contains("NATS: connection refused: nats://127.0.0.1:1"), "{error}");
    Ok(())
}
