//! XBackendTrafficPolicy: how often a Service is asked again, and whether clients come back to one endpoint (GEP-3388,
//! GEP-1619).

use crate::{Duration, ObjectMeta, SessionPersistence};
use serde::{Deserialize, Serialize};
use std::time;

/// `gateway.networking.x-k8s.io` XBackendTrafficPolicy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct XBackendTrafficPolicy {
    /// Name, labels, …
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: BackendTrafficPolicySpec,
}

/// Spec of a [`XBackendTrafficPolicy`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendTrafficPolicySpec {
    /// 1 to 16, all different.
    pub target_refs: Vec<LocalTargetReference>,
    /// How many requests may be retries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_constraint: Option<RetryConstraint>,
    /// Requests of one session go to one endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
}

/// A policy's reference to an object of its namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LocalTargetReference {
    /// API group; empty is the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
}

/// How many requests may be retries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryConstraint {
    /// Their share of all requests.
    #[serde(default)]
    pub budget: RetryBudget,
    /// What is allowed whatever their share is.
    #[serde(default)]
    pub min_retry_rate: RequestRate,
}

/// The share of requests that may be retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryBudget {
    /// 0 to 100.
    pub percent: u8,
    /// Of the requests in the last seconds; one second to one hour.
    pub interval: Duration,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { percent: 20, interval: Duration(time::Duration::from_secs(10)) }
    }
}

/// Requests in an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestRate {
    /// 1 to 1,000,000.
    pub count: u32,
    /// Above zero, at most one hour.
    pub interval: Duration,
}

impl Default for RequestRate {
    fn default() -> Self {
        Self { count: 10, interval: Duration(time::Duration::from_secs(1)) }
    }
}
