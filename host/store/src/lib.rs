//! Durable local files of a host: last spec, artifacts, compile cache, local key.
