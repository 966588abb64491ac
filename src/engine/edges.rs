//! Who read what: small integers only.

use crate::few::Few;
use std::collections::BTreeSet;

/// A key of a table (as something read), or a producer of a derived table (as a reader).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Node {
    pub(crate) table: u32,
    pub(crate) id: u32,
}

/// The readers of one key. Most keys have a handful; a key that 10,000 producers read must not cost 10,000 steps each
/// time one of them comes or goes.
pub(crate) enum Readers {
    Few(Few<Node>),
    #[expect(clippy::box_collection, reason = "there are readers in every slot, and few are many")]
    Many(Box<BTreeSet<Node>>),
}

/// Beyond this many, a vector's shifting costs more than a tree.
const FEW: usize = 32;

impl Readers {
    pub(crate) const NONE: Self = Self::Few(Few::None);

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Few(nodes) => nodes.as_slice().len(),
            Self::Many(nodes) => nodes.len(),
        }
    }

    pub(crate) fn insert(&mut self, reader: Node) {
        match self {
            Self::Few(nodes) => {
                nodes.insert(reader);
                if nodes.as_slice().len() > FEW {
                    *self = Self::Many(Box::new(nodes.as_slice().iter().copied().collect()));
                }
            }
            Self::Many(nodes) => {
                nodes.insert(reader);
            }
        }
    }

    pub(crate) fn remove(&mut self, reader: Node) {
        match self {
            Self::Few(nodes) => nodes.remove(reader),
            Self::Many(nodes) => {
                nodes.remove(&reader);
                if nodes.len() <= FEW / 2 {
                    *self = Self::Few(Few::new(nodes.iter().copied()));
                }
            }
        }
    }

    pub(crate) fn for_each(&self, mut f: impl FnMut(Node)) {
        match self {
            Self::Few(nodes) => nodes.as_slice().iter().copied().for_each(&mut f),
            Self::Many(nodes) => nodes.iter().copied().for_each(&mut f),
        }
    }
}

/// Calls `gone` for what is only in `old` and `new` for what is only in `new`. Both are sorted without duplicates.
pub(crate) fn difference<T: Ord + Copy>(old: &[T], new: &[T], mut gone: impl FnMut(T), mut come: impl FnMut(T)) {
    let (mut old, mut new) = (old.iter().copied().peekable(), new.iter().copied().peekable());
    loop {
        match (old.peek(), new.peek()) {
            (Some(a), Some(b)) if a == b => {
                old.next();
                new.next();
            }
            (Some(a), Some(b)) if a < b => old.next().into_iter().for_each(&mut gone),
            (Some(_), None) => old.next().into_iter().for_each(&mut gone),
            (_, Some(_)) => new.next().into_iter().for_each(&mut come),
            (None, None) => return,
        }
    }
}
