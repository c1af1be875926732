//! Key-value on Redis.
