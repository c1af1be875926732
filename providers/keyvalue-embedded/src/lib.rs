//! Key-value on a local SQLite file, or in memory.
