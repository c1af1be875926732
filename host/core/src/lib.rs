//! The host's decisions, without IO: reconcile, admit, pool, retry, circuit, supervision.
