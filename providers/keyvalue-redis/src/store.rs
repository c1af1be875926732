//! The provider: each operation is one Redis command, a page of keys several.

use crate::config::Config;
use crate::connection::Connection;
use crate::keys::{pattern, redis_key, space};
use bytes::Bytes;
use providers_sdk::keyvalue::{KeyPage, KeyValue, Versioned};
use providers_sdk::{BoxFuture, CallContext, ProviderError, ProviderErrorKind};
use redis::{Client, Cmd, FromRedisValue, Script};
use std::collections::BTreeSet;

/// Keys of one page.
const PAGE_KEYS: usize = 1_000;
/// Keys that the server looks at in one step; it blocks everyone else meanwhile.
const SCAN_KEYS: usize = 500;
/// Steps for one page: in a server full of others' keys a page may come out short, never late.
const SCAN_STEPS: usize = 50;

/// Versions begin with one of these; the value follows [`PRESENT`].
const ABSENT: &[u8] = b"0";
const PRESENT: u8 = b'1';

/// Writes if the value is still the one that was read.
const SWAP: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
                    redis.call('SET', KEYS[1], ARGV[2]) return 1";

type Answer<'a, T> = BoxFuture<'a, Result<T, ProviderError>>;

/// A key-value store on Redis.
pub struct RedisKeyValue {
    connection: Connection,
    prefix: String,
    swap: Script,
}

impl RedisKeyValue {
    /// On this server; connects when first used.
    ///
    /// # Errors
    /// The address is one that the client cannot use.
    pub fn new(config: Config) -> Result<Self, ProviderError> {
        let client = Client::open(config.server)
            .map_err(|error| ProviderError::new(ProviderErrorKind::Invalid, format!("Redis: {error}")))?;
        Ok(Self { connection: Connection::new(client), prefix: config.prefix, swap: Script::new(SWAP) })
    }

    async fn run<T: FromRedisValue>(&self, cx: &CallContext, command: Cmd) -> Result<T, ProviderError> {
        let run = |mut connection| async move { command.query_async(&mut connection).await };
        self.connection.run(cx, run).await
    }

    /// A command whose first argument is this key.
    fn on(&self, name: &str, bucket: &str, key: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(redis_key(&self.prefix, bucket, key));
        command
    }

    fn on_all(&self, name: &str, bucket: &str, keys: &[String]) -> Cmd {
        let mut command = redis::cmd(name);
        for key in keys {
            command.arg(redis_key(&self.prefix, bucket, key));
        }
        command
    }

    async fn get_bytes(
        &self,
        cx: &CallContext,
        bucket: &str,
        key: &str,
    ) -> Result<Option<Bytes>, ProviderError> {
        let value: Option<Vec<u8>> = self.run(cx, self.on("GET", bucket, key)).await?;
        Ok(value.map(Bytes::from))
    }

    async fn page(
        &self,
        cx: &CallContext,
        bucket: &str,
        cursor: Option<&str>,
    ) -> Result<KeyPage, ProviderError> {
        let mut at = Cursor::parse(cursor)?;
        let space = space(&self.prefix, bucket);
        let pattern = pattern(&space);
        let mut page = BTreeSet::new();
        for _ in 0..SCAN_STEPS {
            let mut command = redis::cmd("SCAN");
            command.arg(at.scan).arg("MATCH").arg(&pattern).arg("COUNT").arg(SCAN_KEYS);
            let (next, found): (u64, Vec<Vec<u8>>) = self.run(cx, command).await?;
            // A key that is no text was not written through here.
            let mut keys =
                found.iter().filter_map(|key| std::str::from_utf8(key).ok()?.strip_prefix(&*space));
            let room = PAGE_KEYS - page.len();
            let taken = keys.by_ref().skip(at.skip).take(room).map(|key| page.insert(key.to_owned())).count();
            at = if keys.next().is_some() {
                Cursor { scan: at.scan, skip: at.skip + taken }
            } else {
                Cursor { scan: next, skip: 0 }
            };
            if at.is_end() || page.len() >= PAGE_KEYS / 2 || at.skip > 0 {
                break;
            }
        }
        Ok(KeyPage { keys: page.into_iter().collect(), cursor: (!at.is_end()).then(|| at.to_string()) })
    }
}

/// Where a listing is: Redis' own cursor, and how many keys of that step were given already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    scan: u64,
    skip: usize,
}

impl Cursor {
    fn parse(text: Option<&str>) -> Result<Self, ProviderError> {
        let Some(text) = text else { return Ok(Self { scan: 0, skip: 0 }) };
        let parts =
            text.split_once('.').and_then(|(scan, skip)| Some((scan.parse().ok()?, skip.parse().ok()?)));
        let (scan, skip) = parts.ok_or_else(|| {
            ProviderError::new(ProviderErrorKind::Invalid, "list keys: not a cursor of this store")
        })?;
        Ok(Self { scan, skip })
    }
    fn is_end(self) -> bool {
        self == Self { scan: 0, skip: 0 }
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}", self.scan, self.skip)
    }
}

/// Redis says only in words what is wrong with an increment.
fn increment_error(error: ProviderError, key: &str) -> ProviderError {
    let says = |words: &str| error.message.contains(words);
    if says("not an integer") {
        let message = format!("increment: key {key:?} does not hold a decimal integer of 64 bits");
        ProviderError::new(ProviderErrorKind::Invalid, message)
    } else if says("would overflow") {
        let message = format!("increment: key {key:?} would overflow 64 bits");
        ProviderError::new(ProviderErrorKind::Limit, message)
    } else {
        error
    }
}

impl KeyValue for RedisKeyValue {
    /// Every bucket can be made; asking the server would cost each call a round trip.
    fn open<'a>(&'a self, _: &'a CallContext, _: &'a str) -> Answer<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn get<'a>(&'a self, cx: &'a CallContext, bucket: &'a str, key: &'a str) -> Answer<'a, Option<Bytes>> {
        Box::pin(self.get_bytes(cx, bucket, key))
    }

    fn set<'a>(&'a self, cx: &'a CallContext, bucket: &'a str, key: &'a str, value: Bytes) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut command = self.on("SET", bucket, key);
            command.arg(&value[..]);
            self.run(cx, command).await
        })
    }

    fn delete<'a>(&'a self, cx: &'a CallContext, bucket: &'a str, key: &'a str) -> Answer<'a, ()> {
        Box::pin(self.run(cx, self.on("DEL", bucket, key)))
    }

    fn exists<'a>(&'a self, cx: &'a CallContext, bucket: &'a str, key: &'a str) -> Answer<'a, bool> {
        Box::pin(self.run(cx, self.on("EXISTS", bucket, key)))
    }

    /// A key that exists throughout is listed; one may be listed twice while Redis resizes.
    fn list_keys<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        cursor: Option<&'a str>,
    ) -> Answer<'a, KeyPage> {
        Box::pin(self.page(cx, bucket, cursor))
    }

    fn increment<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
        delta: i64,
    ) -> Answer<'a, i64> {
        Box::pin(async move {
            let mut command = self.on("INCRBY", bucket, key);
            command.arg(delta);
            self.run(cx, command).await.map_err(|error| increment_error(error, key))
        })
    }

    fn current<'a>(&'a self, cx: &'a CallContext, bucket: &'a str, key: &'a str) -> Answer<'a, Versioned> {
        Box::pin(async move {
            let value = self.get_bytes(cx, bucket, key).await?;
            let version = match &value {
                None => ABSENT.to_vec(),
                Some(value) => [&[PRESENT], &value[..]].concat(),
            };
            Ok(Versioned { value, version })
        })
    }

    /// The version is the value: one that was changed and changed back counts as unchanged.
    fn swap<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
        version: &'a [u8],
        value: Bytes,
    ) -> Answer<'a, bool> {
        Box::pin(async move {
            match version.split_first() {
                _ if version == ABSENT => {
                    let mut command = self.on("SET", bucket, key);
                    command.arg(&value[..]).arg("NX");
                    let set: Option<String> = self.run(cx, command).await?;
                    Ok(set.is_some())
                }
                Some((&PRESENT, seen)) => {
                    let mut swap = self.swap.key(redis_key(&self.prefix, bucket, key));
                    swap.arg(seen).arg(&value[..]);
                    let run = |mut connection| async move { swap.invoke_async(&mut connection).await };
                    self.connection.run(cx, run).await
                }
                _ => Err(ProviderError::new(
                    ProviderErrorKind::Invalid,
                    format!("swap: not a version of this store (got {} bytes)", version.len()),
                )),
            }
        })
    }

    fn get_many<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        keys: &'a [String],
    ) -> Answer<'a, Vec<Option<Bytes>>> {
        Box::pin(async move {
            if keys.is_empty() {
                return Ok(Vec::new());
            }
            let values: Vec<Option<Vec<u8>>> = self.run(cx, self.on_all("MGET", bucket, keys)).await?;
            Ok(values.into_iter().map(|value| value.map(Bytes::from)).collect())
        })
    }

    fn set_many<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        pairs: Vec<(String, Bytes)>,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            if pairs.is_empty() {
                return Ok(());
            }
            let mut command = redis::cmd("MSET");
            for (key, value) in &pairs {
                command.arg(redis_key(&self.prefix, bucket, key)).arg(&value[..]);
            }
            self.run(cx, command).await
        })
    }

    fn delete_many<'a>(&'a self, cx: &'a CallContext, bucket: &'a str, keys: &'a [String]) -> Answer<'a, ()> {
        Box::pin(async move {
            if keys.is_empty() {
                return Ok(());
            }
            self.run(cx, self.on_all("DEL", bucket, keys)).await
        })
    }
}
