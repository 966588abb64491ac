//! Kubernetes kinds as Rust types, and the door through which YAML becomes them
