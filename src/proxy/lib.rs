//! The data plane: configuration in, traffic through.

pub mod head;
