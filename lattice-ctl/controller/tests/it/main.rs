//! The controllers' API on a lattice in memory, with a controller that really runs and hosts that only
//! speak: every operation over HTTP and over NATS' subjects, held against the OpenAPI document; who may
//! do what; what bad requests are told; the stream.

mod bad_requests;
mod document;
mod lab;
mod people;
mod schema;
mod streams;
