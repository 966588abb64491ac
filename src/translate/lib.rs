//! Model values to Envoy resources; pure
