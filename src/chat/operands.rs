//! Where a template's source gets filters around the operands of `+`, `*` and `~`.
//!
//! The engine's fuel does not see three things that lists can do: `x + x` again and again, whose
//! copy is made at once when it is deep enough; `[x] * 100000000`, a view that any walk expands;
//! and the text of nested lists, which share their items and so can be exponentially longer than
//! they are large. Operators cannot be replaced, but `a + b` can become `a|f + b|f`: a filter
//! binds tighter than any operator. The filters are in `functions`.
#![forbid(unsafe_code)]

/// Charges for the length of a list that is about to be added to.
pub(super) const SUM_FILTER: &str = "__sum";
/// Refuses lists.
pub(super) const FACTOR_FILTER: &str = "__factor";
/// Writes containers as text, under fuel.
pub(super) const TEXT_FILTER: &str = "__text";

/// Filters that turn what they get into a string first.
const STRINGLY: [&str; 16] = [
    "upper",
    "lower",
    "title",
    "capitalize",
    "replace",
    "trim",
    "escape",
    "e",
    "safe",
    "indent",
    "split",
    "lines",
    "format",
    "int",
    "float",
    "pprint",
];

/// Words after which `+` is a sign and `*` no product.
const KEYWORDS: [&str; 14] = [
    "and", "or", "not", "in", "is", "if", "else", "elif", "for", "set", "with", "call", "do",
    "filter",
];

/// A tag's text, its tokens as ranges of bytes, and what is to be inserted where.
pub(super) struct Operands<'a> {
    tag: &'a str,
    tokens: &'a [(usize, usize)],
    inserts: Vec<(usize, &'static str)>,
}

/// The insertions (position in the tag, filter) for one tag, sorted, without duplicates.
pub(super) fn filters(tag: &str, tokens: &[(usize, usize)]) -> Vec<(usize, &'static str)> {
    let mut operands = Operands { tag, tokens, inserts: Vec::new() };
    for i in 0..tokens.len() {
        operands.token(i);
    }
    operands.inserts.sort_unstable();
    operands.inserts.dedup();
    operands.inserts
}

impl Operands<'_> {
    fn word(&self, i: usize) -> &str {
        self.tokens.get(i).map_or("", |&(start, end)| &self.tag[start..end])
    }

    fn token(&mut self, i: usize) {
        let filter = match self.word(i) {
            "|" if STRINGLY.contains(&self.word(i + 1)) => {
                return self.inserts.push((self.tokens[i].0, TEXT_FILTER));
            }
            "+" => SUM_FILTER,
            "*" => FACTOR_FILTER,
            "~" => TEXT_FILTER,
            _ => return,
        };
        if i == 0 || !self.ends_operand(i - 1) {
            return;
        }
        self.inserts.push((self.tokens[i - 1].1, filter));
        if let Some(last) = self.operand_after(i) {
            self.inserts.push((self.tokens[last].1, filter));
        }
    }

    /// Whether an operand ends with token `i`, so that an operator after it takes two.
    fn ends_operand(&self, i: usize) -> bool {
        let word = self.word(i);
        let first = word.chars().next().unwrap_or('+');
        let number_with_exponent = first.is_ascii_digit() && word.ends_with(['e', 'E']);
        let closes = matches!(first, ')' | ']' | '}' | '\'' | '"' | '_') || first.is_alphanumeric();
        closes && !number_with_exponent && !KEYWORDS.contains(&word)
    }

    /// The last token of the operand after operator `i`: a name, literal or bracket, with the
    /// attributes, calls, subscripts and filters that follow it.
    fn operand_after(&self, i: usize) -> Option<usize> {
        let mut at = i + 1;
        // The second half of `**`, and signs.
        while matches!(self.word(at), "*" | "+" | "-") {
            at += 1;
        }
        at = self.closing(at)?;
        loop {
            at = match self.word(at + 1) {
                "." | "|" => at + 2,
                "(" | "[" => self.closing(at + 1)?,
                _ => return Some(at),
            };
        }
    }

    /// The bracket that closes the one at token `at`, or `at` itself for other tokens.
    fn closing(&self, at: usize) -> Option<usize> {
        let mut depth = 0;
        for i in at..self.tokens.len() {
            match self.word(i) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                _ => {}
            }
            if depth <= 0 {
                return Some(i);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use crate::chat::source::prepare;

    #[test]
    fn both_operands_get_a_filter() {
        let cases = [
            ("{{ a + b }}", "{{ a|__sum + b|__sum }}"),
            ("{{ a + b + c }}", "{{ a|__sum + b|__sum + c|__sum }}"),
            ("{{ a.b(1)[2] ~ -c.d|f(x) }}", "{{ a.b(1)[2]|__text ~ -c.d|f(x)|__text }}"),
            ("{{ (a + b) * 2 }}", "{{ (a|__sum + b|__sum)|__factor * 2|__factor }}"),
            ("{{ f(*a, b=+c) }}", "{{ f(*a, b=+c) }}"),
            ("{{ 1e+5 }}", "{{ 1e+5 }}"),
            ("{{ '+' | upper }}", "{{ '+' |__text| upper }}"),
            ("{% if a and +b %}", "{% if a and +b %}"),
        ];
        for (source, expected) in cases {
            assert_eq!(prepare(source).as_deref(), Ok(expected));
        }
    }
}
