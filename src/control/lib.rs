//! The control plane: sources, engine, serve, status
