//! The data plane: configuration in, traffic through
