//! Records by application, as somebody else keeps them: borrowed one by one, or the whole of a map.
//! The second costs nothing, however many there are.

use lattice_protocol::AppName;
use std::collections::BTreeMap;

/// A keeper of records, by application.
pub trait Records<T> {
    /// One record, with its key.
    fn record(&self, app: &AppName) -> Option<(&AppName, &T)>;
    /// Every record, by application.
    fn records(&self) -> Box<dyn Iterator<Item = (&AppName, &T)> + '_>;
}

impl<T, V: AsRef<T>> Records<T> for BTreeMap<AppName, V> {
    fn record(&self, app: &AppName) -> Option<(&AppName, &T)> {
        self.get_key_value(app).map(|(app, value)| (app, value.as_ref()))
    }
    fn records(&self) -> Box<dyn Iterator<Item = (&AppName, &T)> + '_> {
        Box::new(self.iter().map(|(app, value)| (app, value.as_ref())))
    }
}

/// Records, borrowed.
pub struct Table<'a, T>(Kept<'a, T>);

enum Kept<'a, T> {
    Here(BTreeMap<&'a AppName, &'a T>),
    There(&'a dyn Records<T>),
}

impl<T> Clone for Table<'_, T> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Kept::Here(records) => Kept::Here(records.clone()),
            Kept::There(records) => Kept::There(*records),
        })
    }
}

impl<T> std::fmt::Debug for Table<'_, T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.keys()).finish()
    }
}

impl<'a, T> FromIterator<(&'a AppName, &'a T)> for Table<'a, T> {
    fn from_iter<I: IntoIterator<Item = (&'a AppName, &'a T)>>(records: I) -> Self {
        Self(Kept::Here(records.into_iter().collect()))
    }
}

impl<'a, T> Table<'a, T> {
    /// All that somebody keeps.
    #[must_use]
    pub fn of(records: &'a dyn Records<T>) -> Self {
        Self(Kept::There(records))
    }

    /// The record of an application.
    #[must_use]
    pub fn get(&self, app: &AppName) -> Option<&'a T> {
        self.entry(app).map(|(_, record)| record)
    }

    /// The same, with its key.
    #[must_use]
    pub fn entry(&self, app: &AppName) -> Option<(&'a AppName, &'a T)> {
        match &self.0 {
            Kept::Here(records) => records.get_key_value(app).map(|(app, record)| (*app, *record)),
            Kept::There(records) => records.record(app),
        }
    }

    /// Is there a record of this application?
    #[must_use]
    pub fn contains_key(&self, app: &AppName) -> bool {
        self.entry(app).is_some()
    }

    /// Every record, by application.
    pub fn iter(&self) -> Box<dyn Iterator<Item = (&'a AppName, &'a T)> + '_> {
        match &self.0 {
            Kept::Here(records) => Box::new(records.iter().map(|(app, record)| (*app, *record))),
            Kept::There(records) => records.records(),
        }
    }

    /// Every application.
    pub fn keys(&self) -> impl Iterator<Item = &'a AppName> {
        self.iter().map(|(app, _)| app)
    }

    /// Every record.
    pub fn values(&self) -> impl Iterator<Item = &'a T> {
        self.iter().map(|(_, record)| record)
    }
}
