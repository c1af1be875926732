//! Provider traits, and serving a provider in process or over the lattice.
