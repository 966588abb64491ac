//! Handles: how declared tables are named. A handle is two words and belongs to the engine that gave it.

use std::{marker::PhantomData, ops::Deref};

/// A table, to read from.
pub struct Table<K, V> {
    pub(crate) index: u32,
    types: PhantomData<fn() -> (K, V)>,
}

/// A table that is written from outside, by a batch.
pub struct Input<K, V>(Table<K, V>);

/// A table whose changes `commit` returns.
pub struct Output<K, V>(Table<K, V>);

/// Anything that names a table: `Table`, `Input` and `Output`.
pub trait AsTable<K, V> {
    /// The table.
    fn as_table(&self) -> Table<K, V>;
}

impl<K, V> Table<K, V> {
    pub(crate) fn new(index: usize) -> Self {
        // Tables are declared by hand; there are some dozens.
        Self { index: index as u32, types: PhantomData }
    }
}

impl<K, V> Input<K, V> {
    pub(crate) fn new(table: Table<K, V>) -> Self {
        Self(table)
    }
}

impl<K, V> Output<K, V> {
    pub(crate) fn new(table: Table<K, V>) -> Self {
        Self(table)
    }
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Table<K, V> {}

impl<K, V> AsTable<K, V> for Table<K, V> {
    fn as_table(&self) -> Table<K, V> {
        *self
    }
}

macro_rules! wraps_a_table {
    ($name:ident) => {
        impl<K, V> Clone for $name<K, V> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<K, V> Copy for $name<K, V> {}

        impl<K, V> Deref for $name<K, V> {
            type Target = Table<K, V>;

            fn deref(&self) -> &Table<K, V> {
                &self.0
            }
        }

        impl<K, V> AsTable<K, V> for $name<K, V> {
            fn as_table(&self) -> Table<K, V> {
                self.0
            }
        }

        impl<K, V> From<$name<K, V>> for Table<K, V> {
            fn from(handle: $name<K, V>) -> Self {
                handle.0
            }
        }
    };
}

wraps_a_table!(Input);
wraps_a_table!(Output);
