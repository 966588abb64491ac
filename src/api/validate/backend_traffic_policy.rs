//! XBackendTrafficPolicy.

use super::{Check, http_route, name};
use crate::{BackendTrafficPolicySpec, RetryConstraint};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

pub fn policy(check: &mut Check, spec: &BackendTrafficPolicySpec) {
    check.field("spec", |check| {
        check.each("targetRefs", &spec.target_refs, 1..=16, |check, target| {
            check.text("group", &target.group, &name::GROUP);
            check.text("kind", &target.kind, &name::KIND);
            check.text("name", &target.name, &name::OBJECT_NAME);
        });
        check.unique("targetRefs", &spec.target_refs, "targets", Clone::clone);
        if let Some(constraint) = &spec.retry_constraint {
            check.field("retryConstraint", |check| retry_constraint(check, constraint));
        }
        if let Some(session) = &spec.session_persistence {
            http_route::session(check, session);
        }
    });
}

fn retry_constraint(check: &mut Check, RetryConstraint { budget, min_retry_rate }: &RetryConstraint) {
    check.field("budget", |check| {
        let percent = budget.percent;
        check.field("percent", |check| check.hold(percent <= 100, format!("wanted 0 to 100, saw {percent}")));
        let known = (Duration::from_secs(1)..=HOUR).contains(&budget.interval.0);
        check.field("interval", |check| {
            check.hold(known, format!("wanted one second to one hour, saw {}", budget.interval));
        });
    });
    check.field("minRetryRate", |check| {
        let count = min_retry_rate.count;
        let known = (1..=1_000_000).contains(&count);
        check.field("count", |check| check.hold(known, format!("wanted 1 to 1000000, saw {count}")));
        let interval = min_retry_rate.interval;
        let known = !interval.0.is_zero() && interval.0 <= HOUR;
        check.field("interval", |check| {
            check.hold(known, format!("wanted more than nothing and at most one hour, saw {interval}"));
        });
    });
}
