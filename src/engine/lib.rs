//! Incremental tables: a result is recomputed only if something it read changed.
