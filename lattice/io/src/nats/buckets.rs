//! Making, finding and deleting the streams behind buckets.

use super::core::{ApiError, Core, code};
use super::kv::NatsBucket;
use crate::bus::BusError;
use crate::kv::{Kv, KvBuckets, KvError, KvOptions, check_bucket};
use futures::FutureExt;
use futures::future::BoxFuture;
use lattice_protocol::jetstream::{kv_all, kv_stream};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long a bucket remembers message ids, which are not used: the least that costs nothing.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

#[derive(Deserialize)]
struct StreamInfo {
    config: StreamConfig,
}

#[derive(Deserialize)]
struct StreamConfig {
    #[serde(default)]
    max_msg_size: i64,
    #[serde(default)]
    persist_mode: Option<String>,
}

pub(super) struct NatsKv {
    core: Arc<Core>,
}

impl NatsKv {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    fn handle(&self, bucket: &str, max_value: Option<usize>) -> Arc<dyn Kv> {
        Arc::new(NatsBucket::new(self.core.clone(), bucket, max_value))
    }

    async fn create(&self, bucket: &str, options: KvOptions) -> Result<Arc<dyn Kv>, KvError> {
        check_bucket(bucket)?;
        let config = bucket_config(bucket, &options);
        match self.core.create_stream::<StreamInfo>(&kv_stream(bucket), &config).await {
            Ok(info) => Ok(self.handle(bucket, limit(info.config.max_msg_size))),
            Err(ApiError::Refused { code: code::STREAM_EXISTS, .. }) => {
                self.find(bucket).await?.ok_or_else(|| KvError::BucketNotFound { bucket: bucket.to_owned() })
            }
            Err(error) => Err(refused(bucket, error)),
        }
    }

    async fn find(&self, bucket: &str) -> Result<Option<Arc<dyn Kv>>, KvError> {
        check_bucket(bucket)?;
        let operation = format!("STREAM.INFO.{}", kv_stream(bucket));
        match self.core.api::<StreamInfo>(&operation, &Value::Null).await {
            Ok(info) if info.config.persist_mode.as_deref() == Some("async") => {
                let reason = "its stream acknowledges before it stores (persist_mode async)".to_owned();
                Err(KvError::Refused { bucket: bucket.to_owned(), reason })
            }
            Ok(info) => Ok(Some(self.handle(bucket, limit(info.config.max_msg_size)))),
            Err(ApiError::Refused { code: code::STREAM_NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(refused(bucket, error)),
        }
    }
}

fn limit(max_message: i64) -> Option<usize> {
    usize::try_from(max_message).ok().filter(|limit| *limit > 0)
}

fn bucket_config(bucket: &str, options: &KvOptions) -> Value {
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let ttl = options.ttl.unwrap_or_default();
    let window = if ttl.is_zero() { DUPLICATE_WINDOW } else { DUPLICATE_WINDOW.min(ttl) };
    json!({
        "name": kv_stream(bucket),
        "subjects": [kv_all(bucket)],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "num_replicas": options.replicas.count(),
        "max_consumers": -1,
        "max_msgs": -1,
        "max_msgs_per_subject": options.history.clamp(1, 64),
        "max_bytes": options.max_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        "max_msg_size": options.max_value.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        "max_age": nanos(ttl),
        "duplicate_window": nanos(window),
        "allow_rollup_hdrs": true,
        "deny_delete": true,
        "allow_direct": true,
    })
}

impl KvBuckets for NatsKv {
    fn open<'a>(
        &'a self,
        bucket: &'a str,
        options: KvOptions,
    ) -> BoxFuture<'a, Result<Arc<dyn Kv>, KvError>> {
        self.create(bucket, options).boxed()
    }

    fn lookup<'a>(&'a self, bucket: &'a str) -> BoxFuture<'a, Result<Option<Arc<dyn Kv>>, KvError>> {
        self.find(bucket).boxed()
    }

    fn assume(&self, bucket: &str) -> Result<Arc<dyn Kv>, KvError> {
        check_bucket(bucket)?;
        Ok(self.handle(bucket, None))
    }

    fn delete<'a>(&'a self, bucket: &'a str) -> BoxFuture<'a, Result<bool, KvError>> {
        async move {
            check_bucket(bucket)?;
            let operation = format!("STREAM.DELETE.{}", kv_stream(bucket));
            match self.core.api::<Value>(&operation, &Value::Null).await {
                Ok(_) => Ok(true),
                Err(ApiError::Refused { code: code::STREAM_NOT_FOUND, .. }) => Ok(false),
                Err(error) => Err(refused(bucket, error)),
            }
        }
        .boxed()
    }
}

/// An error of an operation on a whole bucket.
pub(super) fn refused(bucket: &str, error: ApiError) -> KvError {
    let bucket = bucket.to_owned();
    match error {
        ApiError::Refused { code: code::STREAM_NOT_FOUND, .. } => KvError::BucketNotFound { bucket },
        ApiError::Refused { code, description } if code::NO_LEADER.contains(&code) => {
            KvError::Unreachable { bucket, reason: format!("its servers have no leader: {description}") }
        }
        ApiError::Refused { description, .. } => KvError::Refused { bucket, reason: description },
        ApiError::Bus(BusError::Denied { .. }) => KvError::Denied { bucket, key: "*".to_owned() },
        ApiError::Bus(BusError::NoResponders { .. }) => {
            KvError::Unreachable { bucket, reason: "JetStream does not answer".to_owned() }
        }
        ApiError::Bus(error) if error.is_unsent() => {
            KvError::Unreachable { bucket, reason: error.to_string() }
        }
        ApiError::Bus(error) => KvError::Unknown { bucket, key: "*".to_owned(), reason: error.to_string() },
    }
}
