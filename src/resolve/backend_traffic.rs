//! XBackendTrafficPolicies: how many requests to a Service may be retries, and whether clients come back to one endpoint.

use crate::{
    Inputs,
    route::session,
    service_policy::{Claim, Reach, Target, Targets, winner},
    status::{Fault, unless},
};
use api::{RequestRate, SessionPersistence};
use engine::{Engine, Table};
use model::{Condition, ObjectKey, ObjectRef, RetryBudget, Session, Status};
use std::{sync::Arc, time::Duration};

const KIND: &str = "XBackendTrafficPolicy";

/// The tables of policies for traffic to backends.
#[derive(Clone, Copy)]
pub(crate) struct BackendTrafficPolicies {
    read: Table<ObjectKey, ReadPolicy>,
    claims: Table<Target, Claim>,
    /// What holds for a Service.
    pub(crate) by_service: Table<ObjectKey, BackendTraffic>,
}

/// What a policy asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BackendTraffic {
    pub(crate) retry_budget: Option<RetryBudget>,
    pub(crate) session: Option<Arc<Session>>,
}

/// A policy by itself.
#[derive(Clone, Debug, PartialEq)]
struct ReadPolicy {
    targets: Targets,
    retry_budget: Option<RetryBudget>,
    session: Option<SessionPersistence>,
    fault: Option<Fault>,
}

pub(crate) fn declare(engine: &mut Engine, inputs: &Inputs) -> BackendTrafficPolicies {
    let read = engine.derive("backend traffic policies read", &inputs.backend_traffic_policies, |_, key, rows| {
        rows.iter().map(|policy| (key.clone(), read(key, policy))).collect()
    });
    let claims = engine.derive("backend traffic claims", &read, |_, _, rows| {
        rows.iter().flat_map(|policy| policy.targets.claims()).collect()
    });
    let by_service = engine.derive("backend traffic", &claims, move |view, target, _| {
        let policy = winner(view, claims, target).and_then(|policy| view.get(&read, &policy));
        let policy = policy.filter(|policy| policy.fault.is_none());
        policy.map(|policy| (target.0.clone(), policy.of(&target.0))).into_iter().collect()
    });
    BackendTrafficPolicies { read, claims, by_service }
}

fn read(key: &ObjectKey, policy: &api::XBackendTrafficPolicy) -> ReadPolicy {
    let spec = &policy.spec;
    let references = spec.target_refs.iter().map(|target| (&*target.group, &*target.kind, &*target.name, None));
    let session = spec.session_persistence.as_ref();
    let fault = session.and_then(|written| session::parse(written, String::new).err());
    ReadPolicy {
        targets: Targets::new(key, &policy.metadata, references),
        retry_budget: spec.retry_constraint.as_ref().map(retry_budget),
        session: spec.session_persistence.clone(),
        fault: fault.map(|wrong| Fault::new("Invalid", format!("spec.sessionPersistence.{}", wrong.what))),
    }
}

impl ReadPolicy {
    /// What it asks for of a Service. Sessions without a name have one of the Service: a policy may be for several, and
    /// each has its own endpoints.
    fn of(&self, service: &ObjectKey) -> BackendTraffic {
        let unnamed = || format!("session.{}.{}", service.namespace, service.name);
        let session = self.session.as_ref().and_then(|written| session::parse(written, unnamed).ok());
        BackendTraffic { retry_budget: self.retry_budget, session: session.map(Arc::new) }
    }
}

fn retry_budget(written: &api::RetryConstraint) -> RetryBudget {
    let api::RetryConstraint { budget, min_retry_rate } = written;
    RetryBudget { percent: budget.percent, interval: budget.interval.0, least: at_a_time(min_retry_rate) }
}

/// Envoy knows no rate of retries, only how many are under way: as many as the rate has in a second, so that it is kept
/// by retries that take up to a second, and at least one.
fn at_a_time(rate: &RequestRate) -> u32 {
    let second = Duration::from_secs(1).as_millis();
    let count = (u128::from(rate.count) * second).div_ceil(rate.interval.0.as_millis().max(1));
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// What is said of every budget, since Envoy does no better.
const APPROXIMATELY: &str = "spec.retryConstraint: minRetryRate and percent limit the retries that are under way at a \
                             time, not those that begin in an interval; one that isn't made is no 503 of the Gateway's: \
                             the backend's answer goes to the client";

/// Declares the statuses. Their ancestors are the Gateways whose routes lead to the Service.
pub(crate) fn statuses(
    engine: &mut Engine,
    inputs: &Inputs,
    policies: &BackendTrafficPolicies,
    reach: Reach,
) -> Table<ObjectRef, Status> {
    let BackendTrafficPolicies { read, claims, .. } = *policies;
    engine.derive("backend traffic policy statuses", &inputs.backend_traffic_policies, move |view, key, rows| {
        let Some(policy) = view.get(&read, key) else { return Vec::new() };
        let (gateways, target_fault) = reach.of(view, KIND, &policy.targets, claims);
        let accepted = match policy.fault.as_ref().or(target_fault.as_ref()) {
            None if policy.retry_budget.is_some() => Condition::yes_but("Accepted", "Accepted", APPROXIMATELY),
            fault => unless("Accepted", fault),
        };
        let status = |object: &Arc<api::XBackendTrafficPolicy>| {
            let status = reach.status(view, &object.metadata, gateways.clone(), std::slice::from_ref(&accepted))?;
            Some((ObjectRef::new(KIND, key.clone()), status))
        };
        rows.iter().filter_map(status).collect()
    })
}
