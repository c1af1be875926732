//! A host: configuration, control loop, egress, heartbeats, offline start.
