//! What a condition means to somebody who reads it.

use model::Condition;

/// How things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Good,
    Waits,
    Bad,
}

/// Conditions that say something good when they are true, and those of conflicts, which are the other way round.
pub fn judge(condition: &Condition) -> State {
    let negative = is_negative(condition.kind);
    match condition.verdict.holds {
        Some(holds) if holds != negative => State::Good,
        None => State::Waits,
        Some(_) if condition.verdict.reason == "Pending" => State::Waits,
        Some(_) => State::Bad,
    }
}

/// Whether the condition is good news when it does not hold.
pub fn is_negative(kind: &str) -> bool {
    matches!(kind, "Conflicted" | "OverlappingTLSConfig" | "PartiallyInvalid")
}
