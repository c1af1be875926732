//! The laws of the journal, owners who believe that they are the one, and folds that are the same everywhere.

mod fencing;
mod laws;
mod machines;
