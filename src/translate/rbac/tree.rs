//! Permissions and principals are trees of the same shape.

use model::ValueSet;
use proto::envoy::envoy::config::rbac::v3::{
    Permission, Principal,
    permission::{self, Rule},
    principal::{self, Identifier},
};

/// And, or, not.
pub(super) trait Tree: Sized {
    fn any() -> Self;
    fn all_of(parts: Vec<Self>) -> Self;
    fn any_of(parts: Vec<Self>) -> Self;
    fn not(self) -> Self;

    fn never() -> Self {
        Self::any().not()
    }

    /// All of them; of none it is true.
    fn and(mut parts: Vec<Self>) -> Self {
        match (parts.len(), parts.pop()) {
            (1, Some(only)) => only,
            (_, Some(last)) => {
                parts.push(last);
                Self::all_of(parts)
            }
            _ => Self::any(),
        }
    }

    /// Any of them; of none it is false.
    fn or(mut parts: Vec<Self>) -> Self {
        match (parts.len(), parts.pop()) {
            (1, Some(only)) => only,
            (_, Some(last)) => {
                parts.push(last);
                Self::any_of(parts)
            }
            _ => Self::never(),
        }
    }

    /// A set of values: any of `any`, unless it is empty, and none of `none`.
    fn set<T>(parts: &mut Vec<Self>, set: &ValueSet<T>, leaf: impl Fn(&T) -> Self) {
        if !set.any.is_empty() {
            parts.push(Self::or(set.any.iter().map(&leaf).collect()));
        }
        if !set.none.is_empty() {
            parts.push(Self::or(set.none.iter().map(&leaf).collect()).not());
        }
    }
}

impl Tree for Permission {
    fn any() -> Self {
        Self { rule: Some(Rule::Any(true)) }
    }

    fn all_of(rules: Vec<Self>) -> Self {
        Self { rule: Some(Rule::AndRules(permission::Set { rules })) }
    }

    fn any_of(rules: Vec<Self>) -> Self {
        Self { rule: Some(Rule::OrRules(permission::Set { rules })) }
    }

    fn not(self) -> Self {
        Self { rule: Some(Rule::NotRule(Box::new(self))) }
    }
}

impl Tree for Principal {
    fn any() -> Self {
        Self { identifier: Some(Identifier::Any(true)) }
    }

    fn all_of(ids: Vec<Self>) -> Self {
        Self { identifier: Some(Identifier::AndIds(principal::Set { ids })) }
    }

    fn any_of(ids: Vec<Self>) -> Self {
        Self { identifier: Some(Identifier::OrIds(principal::Set { ids })) }
    }

    fn not(self) -> Self {
        Self { identifier: Some(Identifier::NotId(Box::new(self))) }
    }
}
