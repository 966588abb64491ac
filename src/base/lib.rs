//! What every process needs: logs, metrics, readiness, drain, named tasks.
