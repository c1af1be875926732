//! Key-value on a JetStream bucket.
