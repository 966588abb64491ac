//! The rows of one key.

use std::{fmt, iter::FusedIterator, ops::Index, sync::Arc};

/// All rows of a key, in the order of their producers' keys and, within one producer, in the order of emission.
/// A snapshot: cloning it shares the rows.
pub struct Rows<V>(pub(crate) Repr<V>);

/// Most keys have one row; they shall not pay for a vector.
pub(crate) enum Repr<V> {
    Empty,
    One(Arc<V>),
    Many(Arc<Vec<Arc<V>>>),
}

impl<V> Rows<V> {
    /// No rows: the key doesn't exist.
    pub const EMPTY: Self = Self(Repr::Empty);

    /// The rows as a slice.
    pub fn as_slice(&self) -> &[Arc<V>] {
        match &self.0 {
            Repr::Empty => &[],
            Repr::One(row) => std::slice::from_ref(row),
            Repr::Many(rows) => rows,
        }
    }

    /// The first row.
    pub fn first(&self) -> Option<&Arc<V>> {
        self.as_slice().first()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        matches!(self.0, Repr::Empty)
    }

    /// All of them, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Arc<V>> {
        self.as_slice().iter()
    }
}

impl<V> Clone for Rows<V> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Repr::Empty => Repr::Empty,
            Repr::One(row) => Repr::One(row.clone()),
            Repr::Many(rows) => Repr::Many(rows.clone()),
        })
    }
}

impl<V> Default for Rows<V> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<V> Index<usize> for Rows<V> {
    type Output = Arc<V>;

    fn index(&self, index: usize) -> &Arc<V> {
        &self.as_slice()[index]
    }
}

impl<'a, V> IntoIterator for &'a Rows<V> {
    type Item = &'a Arc<V>;
    type IntoIter = std::slice::Iter<'a, Arc<V>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<V> IntoIterator for Rows<V> {
    type Item = Arc<V>;
    type IntoIter = IntoIter<V>;

    fn into_iter(self) -> IntoIter<V> {
        IntoIter { rows: self, next: 0 }
    }
}

/// Owned iteration over the rows of a key.
pub struct IntoIter<V> {
    rows: Rows<V>,
    next: usize,
}

impl<V> Iterator for IntoIter<V> {
    type Item = Arc<V>;

    fn next(&mut self) -> Option<Arc<V>> {
        let row = self.rows.as_slice().get(self.next)?.clone();
        self.next += 1;
        Some(row)
    }
}

impl<V> FusedIterator for IntoIter<V> {}

impl<V: PartialEq> PartialEq for Rows<V> {
    fn eq(&self, other: &Self) -> bool {
        same(self.as_slice(), other.as_slice())
    }
}

impl<V: fmt::Debug> fmt::Debug for Rows<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// Whether two sequences of rows are equal; shared rows are not looked into.
pub(crate) fn same<V: PartialEq>(a: &[Arc<V>], b: &[Arc<V>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b) || a == b)
}
