//! The laws of the journal, and owners who believe that they are the one.

mod fencing;
mod laws;
