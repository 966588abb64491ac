//! Regular expressions: only what RE2 and Rust's `regex` both understand.
//!
//! Envoy refuses a whole RouteConfiguration for one bad expression, so nothing may pass here that RE2 doesn't take.

use crate::status::quoted;
use regex_syntax::ast::{self, Ast, Visitor, parse::ParserBuilder};

/// Why an expression can't be used.
pub(crate) fn check(pattern: &str) -> Result<(), String> {
    if pattern.is_empty() {
        return Err("wanted a regular expression, saw none".into());
    }
    let shown = quoted(pattern);
    let ast = ParserBuilder::new()
        .nest_limit(100)
        .build()
        .parse(pattern)
        .map_err(|why| format!("{shown} is no regular expression: {}", why.kind()))?;
    let foreign = ast::visit(&ast, Foreign { budgets: vec![MOST_REPETITIONS] }).err();
    if let Some(foreign) = foreign {
        return Err(format!("{shown} is no regular expression in RE2 syntax: {foreign}"));
    }
    // Compiles it too: bounds its size, and finds unknown Unicode classes.
    regex::RegexBuilder::new(pattern).size_limit(1 << 20).build().map(drop).map_err(|why| match why {
        regex::Error::CompiledTooBig(_) => format!("{shown} is too large a regular expression"),
        _ => format!("{shown} is no regular expression"),
    })
}

/// RE2 takes no more repetitions than this, those within others multiplied.
const MOST_REPETITIONS: u32 = 1000;

/// Finds syntax that RE2 doesn't have, or takes otherwise.
struct Foreign {
    /// How many repetitions are left, for each repetition that we are in.
    budgets: Vec<u32>,
}

impl Visitor for Foreign {
    type Output = ();
    type Err = &'static str;

    fn finish(self) -> Result<(), Self::Err> {
        Ok(())
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), Self::Err> {
        match ast {
            Ast::Flags(flags) => known_flags(&flags.flags),
            Ast::Group(group) => match &group.kind {
                ast::GroupKind::NonCapturing(flags) => known_flags(flags),
                _ => Ok(()),
            },
            Ast::Literal(literal) => known_literal(literal),
            Ast::Assertion(assertion) => match assertion.kind {
                ast::AssertionKind::WordBoundary
                | ast::AssertionKind::NotWordBoundary
                | ast::AssertionKind::StartLine
                | ast::AssertionKind::EndLine
                | ast::AssertionKind::StartText
                | ast::AssertionKind::EndText => Ok(()),
                _ => Err("word boundaries other than \\b and \\B"),
            },
            Ast::Repetition(repetition) if matches!(*repetition.ast, Ast::Repetition(_)) => {
                Err("a repetition of a repetition")
            }
            Ast::Repetition(repetition) => {
                let left = self.budgets.last().copied().unwrap_or_default();
                let left = match &repetition.op.kind {
                    ast::RepetitionKind::Range(range) => left / most(range).max(1),
                    _ => left,
                };
                self.budgets.push(left);
                if left == 0 { Err("more than 1000 repetitions") } else { Ok(()) }
            }
            Ast::ClassUnicode(class) => known_class(class),
            _ => Ok(()),
        }
    }

    fn visit_post(&mut self, ast: &Ast) -> Result<(), Self::Err> {
        if matches!(ast, Ast::Repetition(_)) {
            self.budgets.pop();
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ast::ClassSetItem) -> Result<(), Self::Err> {
        match item {
            ast::ClassSetItem::Bracketed(_) => Err("a class within a class"),
            ast::ClassSetItem::Literal(literal) => known_literal(literal),
            ast::ClassSetItem::Unicode(class) => known_class(class),
            ast::ClassSetItem::Range(range) => known_literal(&range.start).and_then(|()| known_literal(&range.end)),
            _ => Ok(()),
        }
    }

    fn visit_class_set_binary_op_pre(&mut self, _: &ast::ClassSetBinaryOp) -> Result<(), Self::Err> {
        Err("set operations in a class")
    }
}

fn most(range: &ast::RepetitionRange) -> u32 {
    match *range {
        ast::RepetitionRange::Exactly(count) | ast::RepetitionRange::AtLeast(count) => count,
        ast::RepetitionRange::Bounded(_, count) => count,
    }
}

fn known_flags(flags: &ast::Flags) -> Result<(), &'static str> {
    use ast::Flag::{CaseInsensitive, DotMatchesNewLine, MultiLine, SwapGreed};
    let known = flags.items.iter().all(|item| match &item.kind {
        ast::FlagsItemKind::Negation => true,
        ast::FlagsItemKind::Flag(flag) => matches!(flag, CaseInsensitive | DotMatchesNewLine | MultiLine | SwapGreed),
    });
    if known { Ok(()) } else { Err("flags other than i, m, s and U") }
}

/// Categories such as `\pL` and `\p{Lu}`; of scripts and properties the two know different ones.
fn known_class(class: &ast::ClassUnicode) -> Result<(), &'static str> {
    match &class.kind {
        ast::ClassUnicodeKind::OneLetter(_) => Ok(()),
        ast::ClassUnicodeKind::Named(name) if name.len() <= 2 => Ok(()),
        _ => Err("Unicode classes other than categories"),
    }
}

fn known_literal(literal: &ast::Literal) -> Result<(), &'static str> {
    use ast::{HexLiteralKind, LiteralKind};
    match &literal.kind {
        LiteralKind::HexFixed(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong)
        | LiteralKind::HexBrace(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong) => {
            Err("\\u and \\U; write \\x{…}")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn only_what_both_understand_passes() {
        for good in [
            "/a/[0-9]+",
            "(?i)abc|d",
            "^/x$",
            r"[0-9]{1,1000}",
            r"a\.b\/c",
            r"(?P<n>a)",
            r"\bx\B",
            r"[\w.-]+",
            "(a{30}b{30}){30}",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let bad = [
            "(",
            "[a",
            "a**",
            r"(?x)a",
            "[a&&b]",
            "[[a]b]",
            r"\u0041",
            "a{1001}",
            r"\b{start}a",
            r"(?=a)",
            r"(a)\1",
            r"\p{Alphabetic}",
        ];
        for bad in bad {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(check(&format!("{}a{}", "(".repeat(2000), ")".repeat(2000))).is_err());
        assert!(check("((((a{1000}){1000}){1000}){1000})").is_err());
    }
}
