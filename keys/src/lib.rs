//! Identities (nkeys), signed claims inside components, and strict verification.
