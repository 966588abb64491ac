//! Incremental tables: a result is recomputed only if something it read changed.
//!
//! An [`Input`] is written by [`Engine::commit`]; a derived [`Table`] is a pure function of one key of the table that it
//! is *over*, and of whatever else it reads through [`View`]. One key may emit any number of keyed rows, and a key may
//! get rows from many producers: that is how groups, indexes and counts are tables too.
//!
//! The law: after any sequence of batches, with any number of threads, every table is what a fresh engine computes
//! from the final inputs. A key is recomputed if and only if its own rows or something that it read changed; a result
//! equal to the one before stops the change. What is deleted leaves nothing behind: keys that have neither rows nor
//! readers are forgotten at the end of the commit.
//!
//! ```
//! use engine::{Batch, Engine, Rows, View};
//!
//! let mut engine = Engine::new();
//! let words = engine.input::<u32, String>("words");
//! let lengths = engine.derive("by length", &words, |_: &View, id: &u32, rows: &Rows<String>| {
//!     rows.iter().map(|word| (word.len(), *id)).collect()
//! });
//! let counts = engine.derive("counts", &lengths, |_: &View, length: &usize, ids: &Rows<u32>| vec![(*length, ids.len())]);
//! let out = engine.output(&counts);
//! let mut batch = Batch::new();
//! batch.set(&words, 1, "one".to_owned());
//! batch.set(&words, 2, "two".to_owned());
//! let changes = engine.commit(batch);
//! assert_eq!(changes.of(&out).map(|(length, rows)| (*length, *rows[0])).collect::<Vec<_>>(), [(3, 2)]);
//! ```

mod batch;
mod changes;
mod commit;
mod derived;
mod edges;
mod few;
mod handle;
mod rows;
mod source;
mod store;
mod union;
mod view;

pub use batch::Batch;
pub use changes::Changes;
pub use commit::{Counts, Engine};
pub use handle::{AsTable, Input, Output, Table};
pub use rows::Rows;
pub use view::View;

use std::{fmt::Debug, hash::Hash};

/// What a table may have as keys.
pub trait Key: Ord + Hash + Clone + Debug + Send + Sync + 'static {}

impl<T: Ord + Hash + Clone + Debug + Send + Sync + 'static> Key for T {}

/// What a table may have as values. Equality decides whether a change goes on.
pub trait Value: PartialEq + Send + Sync + 'static {}

impl<T: PartialEq + Send + Sync + 'static> Value for T {}
