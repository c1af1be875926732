//! What may be in an actor's state: types whose JSON is the same on every host and in every run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::marker::PhantomData;
use std::time::Duration;

use serde_json::Value;

/// A type that is written in one way only. `HashMap` and `HashSet` are not: each instance has an order of its own, and
/// hosts compare states byte by byte.
///
/// `#[trellis_guest::state]` implements it for a type of one's own, and checks its fields. For a field of a foreign
/// type, say `#[state(ordered)]` on it: then the author vouches.
///
/// ```compile_fail,E0277
/// #[trellis_guest::state]
/// struct Devices { levels: Vec<std::collections::HashMap<String, f64>> }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` may not be in an actor's state: it is not known to be written in one way only",
    label = "not in a state",
    note = "instead of `HashMap` and `HashSet`, whose order differs from run to run, use `BTreeMap` and `BTreeSet`",
    note = "on a type of your own, put `#[trellis_guest::state]`; for a foreign one that you vouch for, `#[state(ordered)]` on the field"
)]
pub trait Ordered {}

/// The form in which a state is saved. `#[trellis_guest::state(version = 2, upcast = function)]` implements it.
pub trait Form: Ordered {
    /// Which version of the form.
    const VERSION: u32;

    /// Makes of an older version's JSON the JSON of today.
    ///
    /// # Errors
    /// The version is not read any more: the host folds from the events instead.
    fn upcast(version: u32, old: Value) -> Result<Value, String>;
}

macro_rules! ordered {
    ($($type:ty),* $(,)?) => { $(impl Ordered for $type {})* };
}

ordered!(
    (),
    bool,
    char,
    String,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    f32,
    f64,
    Duration,
    Value
);

macro_rules! ordered_with {
    ($($type:ident),* $(,)?) => { $(impl<T: Ordered> Ordered for $type<T> {})* };
}

ordered_with!(Option, Vec, VecDeque, Box, BTreeSet);

impl<T: ?Sized> Ordered for PhantomData<T> {}
impl<T: Ordered, const N: usize> Ordered for [T; N] {}
impl<K: Ordered, V: Ordered> Ordered for BTreeMap<K, V> {}
impl<A: Ordered> Ordered for (A,) {}
impl<A: Ordered, B: Ordered> Ordered for (A, B) {}
impl<A: Ordered, B: Ordered, C: Ordered> Ordered for (A, B, C) {}
impl<A: Ordered, B: Ordered, C: Ordered, D: Ordered> Ordered for (A, B, C, D) {}
