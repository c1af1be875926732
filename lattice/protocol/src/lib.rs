//! What hosts, controllers and tools say to each other: names, manifest, host spec, links, frames, errors.
