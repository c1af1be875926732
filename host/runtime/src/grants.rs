//! What a link narrows its capability to: buckets, keys, subjects, hosts, methods.
