//! A map that remembers which of its entries were touched.
//!
//! The fold changes a handful of entries among hundreds of thousands, and the store wants to write only those. Asking
//! for an entry to change it is what marks it: no caller can forget. As text a table is a list of pairs in the order
//! of its keys, so that keys may be structs and equal tables have equal bytes.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};

/// A sorted map whose touched entries can be taken as a delta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table<K, V> {
    entries: BTreeMap<K, V>,
    touched: BTreeSet<K>,
}

/// Changed entries of a table; `None` for a removed one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDelta<K, V>(BTreeMap<K, Option<V>>);

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), touched: BTreeSet::new() }
    }
}

impl<K, V> Default for TableDelta<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone, V: Clone> Table<K, V> {
    /// The entry at `key`, to read.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    /// The entry at `key`, to change: it is marked.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let entry = self.entries.get_mut(key)?;
        if !self.touched.contains(key) {
            self.touched.insert(key.clone());
        }
        Some(entry)
    }

    /// The entry at `key`, made by `make` when there is none, to change: it is marked.
    pub fn get_or_insert_with(&mut self, key: &K, make: impl FnOnce() -> V) -> &mut V {
        if !self.touched.contains(key) {
            self.touched.insert(key.clone());
        }
        self.entries.entry(key.clone()).or_insert_with(make)
    }

    /// Puts an entry in place of whatever was there.
    pub fn insert(&mut self, key: K, value: V) {
        self.touched.insert(key.clone());
        self.entries.insert(key, value);
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let removed = self.entries.remove(key)?;
        self.touched.insert(key.clone());
        Some(removed)
    }

    /// All entries, ascending by key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter()
    }

    /// The entries from `from` up to, but without, `to`.
    pub fn range<R: std::ops::RangeBounds<K>>(&self, range: R) -> impl Iterator<Item = (&K, &V)> {
        self.entries.range(range)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What was touched since the last call.
    pub fn take_delta(&mut self) -> TableDelta<K, V> {
        let touched = std::mem::take(&mut self.touched);
        TableDelta(
            touched
                .into_iter()
                .map(|key| {
                    let value = self.entries.get(&key).cloned();
                    (key, value)
                })
                .collect(),
        )
    }

    /// Brings the table to where the one was that the delta was taken from. Marks nothing.
    pub fn apply(&mut self, delta: TableDelta<K, V>) {
        for (key, value) in delta.0 {
            match value {
                Some(value) => self.entries.insert(key, value),
                None => self.entries.remove(&key),
            };
        }
    }
}

impl<K: Ord, V> TableDelta<K, V> {
    /// Changed entries, ascending by key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, Option<&V>)> {
        self.0.iter().map(|(key, value)| (key, value.as_ref()))
    }

    /// Takes over a later delta.
    pub fn merge(&mut self, later: Self) {
        self.0.extend(later.0);
    }
}

impl<K: Serialize, V: Serialize> Serialize for Table<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.entries)
    }
}

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Deserialize<'de> for Table<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect();
        Ok(Self { entries, touched: BTreeSet::new() })
    }
}

impl<K: Serialize, V: Serialize> Serialize for TableDelta<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Deserialize<'de> for TableDelta<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Vec::<(K, Option<V>)>::deserialize(deserializer)?.into_iter().collect()))
    }
}
