//! Model values to Envoy resources; pure
mod inputs;

pub use inputs::Inputs;
