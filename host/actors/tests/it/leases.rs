//! A lease that holds is respected by those who have not heard of it, too.

use crate::lattice::{Node, node, owned, submit};
use crate::support::{key, until};
use bytes::Bytes;
use futures::StreamExt;
use lattice_io::memory::Memory;
use lattice_io::{
    BoxFuture, Kv, KvBuckets, KvEntry, KvError, KvEvent, KvOptions, KvWatch, Lattice, WatchKeys,
};
use std::sync::Arc;
use std::time::Duration;

/// Buckets of which those of sessions tell no watch what is put there, as when it could not begin again after an outage:
/// all else works.
struct Deaf<B: ?Sized>(Arc<B>);

impl KvBuckets for Deaf<dyn KvBuckets> {
    fn open<'a>(
        &'a self,
        bucket: &'a str,
        options: KvOptions,
    ) -> BoxFuture<'a, Result<Arc<dyn Kv>, KvError>> {
        self.0.open(bucket, options)
    }
    fn lookup<'a>(&'a self, bucket: &'a str) -> BoxFuture<'a, Result<Option<Arc<dyn Kv>>, KvError>> {
        self.0.lookup(bucket)
    }
    fn assume(&self, bucket: &str) -> Result<Arc<dyn Kv>, KvError> {
        let kv = self.0.assume(bucket)?;
        Ok(if bucket.ends_with("sessions") { Arc::new(Deaf(kv)) } else { kv })
    }
    fn delete<'a>(&'a self, bucket: &'a str) -> BoxFuture<'a, Result<bool, KvError>> {
        self.0.delete(bucket)
    }
}

impl Kv for Deaf<dyn Kv> {
    fn bucket(&self) -> &str {
        self.0.bucket()
    }
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<KvEntry>, KvError>> {
        self.0.get(key)
    }
    fn get_latest<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<KvEntry>, KvError>> {
        self.0.get_latest(key)
    }
    fn put<'a>(&'a self, key: &'a str, value: Bytes) -> BoxFuture<'a, Result<u64, KvError>> {
        self.0.put(key, value)
    }
    fn create<'a>(&'a self, key: &'a str, value: Bytes) -> BoxFuture<'a, Result<u64, KvError>> {
        self.0.create(key, value)
    }
    fn update<'a>(
        &'a self,
        key: &'a str,
        value: Bytes,
        expected: u64,
    ) -> BoxFuture<'a, Result<u64, KvError>> {
        self.0.update(key, value, expected)
    }
    fn delete<'a>(&'a self, key: &'a str, expected: Option<u64>) -> BoxFuture<'a, Result<(), KvError>> {
        self.0.delete(key, expected)
    }
    fn purge<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), KvError>> {
        self.0.purge(key)
    }
    fn keys(&self) -> BoxFuture<'_, Result<Vec<String>, KvError>> {
        self.0.keys()
    }
    fn watch(&self, keys: WatchKeys) -> KvWatch {
        let heard = self.0.watch(keys).filter(|event| {
            let heard = !matches!(event, KvEvent::Put(_));
            async move { heard }
        });
        KvWatch::new(Box::pin(heard))
    }
}

async fn balance(node: &Node, actor: &str) -> Bytes {
    let door = node.actors.door(&key(actor)).expect("its owner");
    let query = ("balance".to_owned(), Bytes::new());
    door.query(key(actor), query, Duration::from_secs(1)).await.expect("its owner answers").reply
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_from_a_host_whose_lease_was_not_heard_of_and_all_of_it_when_it_is_over() {
    let lattice = Memory::new().lattice();
    let first = node("H1", &lattice);
    until("it has every shard", async || owned(&first).len() == 16).await;
    assert_eq!(submit(&[&first], 1, "sum/a", "5").await.reply, "5");
    let deaf = Lattice { kv: Arc::new(Deaf(Arc::clone(&lattice.kv))), ..lattice };
    let second = node("H2", &deaf);
    // Three leases: whoever has heard nothing of a host for one holds it dead.
    for n in 0..36 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!((owned(&first).len(), owned(&second).len()), (16, 0), "look {n}");
        assert_eq!(balance(&first, "sum/a").await, "5");
    }
    first.scope.shutdown(Duration::ZERO).await;
    until("the other has them all", async || owned(&second).len() == 16).await;
    let again = submit(&[&second], 1, "sum/a", "5").await;
    assert!(again.repeated && again.reply == "5", "{again:?}");
}
