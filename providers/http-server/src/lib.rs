//! HTTP ingress: one listener, routes by host and path, hardened hyper.
