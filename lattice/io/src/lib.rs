//! Bus, key-value and blob traits, over NATS and in memory; task scope and clock.
