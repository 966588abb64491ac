//! Which resource a refusal is about, and whether it may pass by itself.

use std::{collections::BTreeSet, sync::Arc};

/// The names that an error text mentions, each as a whole word; a single resource is guilty without being named.
pub(super) fn guilty<'a>(sent: impl ExactSizeIterator<Item = &'a Arc<str>>, error: &str) -> BTreeSet<Arc<str>> {
    if sent.len() == 1 {
        return sent.cloned().collect();
    }
    sent.filter(|name| mentions(error, name)).cloned().collect()
}

/// What the system says when an address can't be listened on: the resource is good, the machine isn't.
const PASSING: [&str; 4] = [
    "Address already in use",
    "Cannot assign requested address",
    "Can't assign requested address",
    "Permission denied",
];

/// Whether a refused resource may be taken later as it is, by what the error says of it.
pub(super) fn may_pass(name: &str, error: &str) -> bool {
    let passes = |line: &str| PASSING.iter().any(|text| line.contains(text));
    let mut about = error.lines().filter(|line| mentions(line, name)).peekable();
    match about.peek() {
        Some(_) => about.all(passes),
        None => error.lines().any(passes),
    }
}

fn mentions(text: &str, name: &str) -> bool {
    !name.is_empty()
        && text.match_indices(name).any(|(at, _)| {
            let (before, after) = (&text[..at], &text[at + name.len()..]);
            !before.ends_with(is_name) && !starts_inside_name(after)
        })
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || "_-./|*~".contains(c)
}

/// A full stop ends a sentence as often as it goes on with a name.
fn starts_inside_name(after: &str) -> bool {
    let mut chars = after.chars();
    match chars.next() {
        Some('.') => chars.next().is_some_and(is_name),
        Some(c) => is_name(c),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_as_whole_words() {
        let names: Vec<Arc<str>> = ["0.0.0.0_80", "0.0.0.0_8080", "outbound|80||a.b"].map(Arc::from).to_vec();
        for (error, expected) in [
            ("Error adding/updating listener(s) 0.0.0.0_8080: no filter chains", &names[1..2]),
            ("bad: outbound|80||a.b.", &names[2..3]),
            ("bad: outbound|80||a.b.c", &[]),
            ("0.0.0.0_80: x\n0.0.0.0_8080: y", &names[..2]),
            ("something else", &[]),
            ("", &[]),
        ] {
            assert!(guilty(names.iter(), error).iter().eq(expected), "{error}");
        }
        assert!(guilty(names[..1].iter(), "whatever").iter().eq(&names[..1]));
    }

    #[test]
    fn the_faults_of_a_machine_may_pass() {
        for (error, expected) in [
            ("Error adding/updating listener(s) l: cannot bind '127.0.0.1:80': Address already in use", true),
            ("l: can't listen on [::1]:80: Permission denied (os error 13)", true),
            ("cannot bind '127.0.0.1:80': Cannot assign requested address", true),
            ("m: cannot bind '127.0.0.1:80': Address already in use\nl: no filter chains", false),
            ("l: no filter chains", false),
            ("", false),
        ] {
            assert_eq!(may_pass("l", error), expected, "{error}");
        }
    }
}
