//! Messaging on NATS core and JetStream.
