//! Kubernetes objects to model values and verdicts; pure
