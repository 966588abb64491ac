//! The control plane: sources, engine, serve, status

pub mod source;
