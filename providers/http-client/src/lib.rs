//! Outgoing HTTP through an allow-list, connected to the very address that was checked.
