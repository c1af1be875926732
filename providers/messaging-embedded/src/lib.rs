//! Messaging inside one process.
