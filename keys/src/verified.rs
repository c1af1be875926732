//! The proof that something was verified, as a type.
//!
//! A function that needs verified claims takes `Verified<Claims>`, and there is no way to have
//! one but through this crate's verification: the field is private and the one constructor is
//! visible to this crate only. It gives shared access alone, so what was verified cannot be
//! changed afterwards.

use std::ops::Deref;

/// A value whose signature, signer and validity were checked by this crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// Called at the end of a verification, and nowhere else.
    pub(crate) fn new(value: T) -> Self {
        Self(value)
    }

    /// Gives up the proof and returns the plain value.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
