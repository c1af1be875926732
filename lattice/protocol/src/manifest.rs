//! The application manifest: what people write (YAML), and what is left of it once it is checked.
//!
//! [`parse`] takes the text and returns either a whole [`Application`] or *every* problem at once,
//! each with its line, its path and, for a misspelt field, what was probably meant. Nothing
//! downstream checks again: an `Application` that exists is one that can be planned.

mod application;

pub use application::{
    ActorManifest, Application, PlacementRule, ProviderManifest, Resources, Scale, Spread,
};
