//! A chat template's source, checked and adapted before the Jinja engine sees it.
//!
//! Templates come out of model files that nobody vouches for. The engine's own limits (fuel at
//! run time, 150 levels of nesting when parsing) leave three ways to overflow the stack, which
//! would abort the process: long chains such as `a+a+a+...` or `elif` after `elif`, which become
//! deep trees; and `namespace` objects that hold themselves, or each other, or ever deeper lists.
//! So chains are bounded here, and every value put into a namespace goes through a filter that
//! copies plain data and refuses depth (`plain` in `functions`).
//!
//! The scan follows the lexer of minijinja 3 (`compiler/lexer.rs`) token by token, because a
//! difference would be a way around it.
#![forbid(unsafe_code)]

use super::operands;
use crate::error::{Error, ErrorKind, Result};

/// Bytes of a template; the largest in use have about 30,000.
const MAX_SOURCE: usize = 128 * 1024;
/// Tokens in one tag; the longest in use have a few hundred.
const MAX_TOKENS: usize = 1024;
/// `elif` tags in a template.
const MAX_ELIF: usize = 500;
/// Tokens in all tags; the largest templates in use have about 8,000.
const MAX_TOTAL: usize = 32_000;
/// Opening square brackets: slices of slices of slices take time by the square of their number.
const MAX_BRACKETS: usize = 2000;
/// The filter for values that go into a namespace; templates cannot redefine filters.
pub(super) const PLAIN_FILTER: &str = "__plain";

/// Checks `source` against the limits above; returns it with `{% generation %}` blocks (a tag of
/// Hugging Face's trainer, which changes no output) made `{% if true %}` and with namespace
/// assignments guarded.
pub(super) fn prepare(source: &str) -> Result<String> {
    if source.len() > MAX_SOURCE {
        return Err(invalid("is longer than 131072 bytes"));
    }
    let mut out = String::with_capacity(source.len() + 64);
    let (mut at, mut counts) = (0, Counts::default());
    while let Some(start) = next_tag(source, at) {
        out.push_str(&source[at..start]);
        let (text, end) = tag(source, start, &mut counts)?;
        out.push_str(&text);
        at = end;
    }
    out.push_str(&source[at..]);
    Ok(out)
}

/// What is limited over the whole template.
#[derive(Default)]
struct Counts {
    tokens: usize,
    brackets: usize,
    elifs: usize,
}

impl Counts {
    fn add(&mut self, tag: &str, tokens: &[(usize, usize)]) -> Result<()> {
        let words = tokens.iter().map(|&(start, end)| &tag[start..end]);
        self.tokens += tokens.len();
        self.brackets += words.clone().filter(|&word| word == "[").count();
        self.elifs += words.take(1).filter(|&word| word == "elif").count();
        match self {
            Self { tokens, .. } if *tokens > MAX_TOTAL => {
                Err(invalid("has more than 32000 tokens"))
            }
            Self { brackets, .. } if *brackets > MAX_BRACKETS => {
                Err(invalid("has more than 2000 square brackets"))
            }
            Self { elifs, .. } if *elifs > MAX_ELIF => Err(invalid("has more than 500 elif tags")),
            _ => Ok(()),
        }
    }
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::InvalidModel, format!("the model's chat template {what}"))
}

/// The position of the next `{{`, `{%` or `{#`.
fn next_tag(source: &str, from: usize) -> Option<usize> {
    let pairs = source.as_bytes()[from..].windows(2);
    let is_tag = |pair: &[u8]| pair[0] == b'{' && matches!(pair[1], b'{' | b'%' | b'#');
    pairs.into_iter().position(is_tag).map(|i| from + i)
}

/// The adapted text of the tag at `start`, comment and raw block included, and where it ends.
fn tag(source: &str, start: usize, counts: &mut Counts) -> Result<(String, usize)> {
    let rest = &source[start..];
    if let Some(body) = rest.strip_prefix("{#") {
        let end = body.find("#}").map_or(rest.len(), |i| i + 4);
        return Ok((rest[..end].to_owned(), start + end));
    }
    if let Some(end) = raw_block(rest) {
        return Ok((rest[..end].to_owned(), start + end));
    }
    let closing = if rest.starts_with("{%") { "%}" } else { "}}" };
    let open = 2 + usize::from(matches!(rest.as_bytes().get(2), Some(b'-' | b'+')));
    let (tokens, end) = tokens(rest, open, closing)?;
    counts.add(rest, &tokens)?;
    let mut edits: Edits = operands::filters(rest, &tokens)
        .into_iter()
        .map(|(at, filter)| (at, at, format!("|{filter}")))
        .collect();
    if closing == "%}" {
        edits.extend(statement(rest, &tokens)?);
    }
    let text = edited(&rest[..end], edits);
    Ok((text, start + end))
}

/// The length of a whole `{% raw %}...{% endraw %}` at the start of `rest`.
fn raw_block(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix("{%")?;
    let mut at = 2 + basic_tag(body.strip_prefix(['-', '+']).unwrap_or(body), "raw")?;
    at += usize::from(body.starts_with(['-', '+']));
    while let Some(i) = rest[at..].find("{%") {
        at += i + 2;
        let tail = &rest[at..];
        let skipped = usize::from(tail.starts_with(['-', '+']));
        if let Some(len) = basic_tag(&tail[skipped..], "endraw") {
            return Some(at + skipped + len);
        }
    }
    Some(rest.len())
}

/// The length of ` name %}` at the start of `text`.
fn basic_tag(text: &str, name: &str) -> Option<usize> {
    let space = |c: char| c.is_ascii_whitespace();
    let tail = text.trim_start_matches(space).strip_prefix(name)?;
    let tail = tail.trim_start_matches(space);
    let tail = tail.strip_prefix(['-', '+']).unwrap_or(tail);
    Some(text.len() - tail.strip_prefix("%}")?.len())
}

/// The tokens of a tag from `at` on, as ranges of bytes, and where the tag ends.
fn tokens(rest: &str, mut at: usize, closing: &str) -> Result<(Vec<(usize, usize)>, usize)> {
    let mut tokens = Vec::new();
    let mut depth = 0usize;
    loop {
        at = rest.len() - rest[at..].trim_start_matches(|c: char| c.is_ascii_whitespace()).len();
        let tail = &rest[at..];
        let Some(byte) = tail.bytes().next() else {
            return Err(invalid("has a tag that does not end"));
        };
        let sign = usize::from(matches!(byte, b'-' | b'+'));
        if depth == 0 && tail[sign..].starts_with(closing) {
            return Ok((tokens, at + sign + 2));
        }
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            // A stray bracket could close the parentheses that `statement` adds.
            b')' | b']' | b'}' => {
                depth = depth.checked_sub(1).ok_or_else(|| invalid("has a stray bracket"))?;
            }
            _ => {}
        }
        let len = token_len(tail, byte)?;
        tokens.push((at, at + len));
        if tokens.len() > MAX_TOKENS {
            return Err(invalid("has a tag of more than 1024 tokens"));
        }
        at += len;
    }
}

/// The length of the token that begins with `byte` at the start of `tail`.
fn token_len(tail: &str, byte: u8) -> Result<usize> {
    if matches!(byte, b'\'' | b'"') {
        return string_len(tail.as_bytes(), byte).ok_or_else(|| invalid("has an open string"));
    }
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let len = tail.len() - tail.trim_start_matches(word).len();
    // What is no word is an operator; operators of two characters may count twice.
    Ok(len.max(tail.chars().next().map_or(1, char::len_utf8)))
}

/// The length of the string literal at the start of `bytes`, quotes included.
fn string_len(bytes: &[u8], quote: u8) -> Option<usize> {
    let mut escaped = false;
    for (i, &byte) in bytes.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if byte == quote => return Some(i + 1),
            _ => {}
        }
    }
    None
}

/// Replacements in a tag: from, to, and the new text.
type Edits = Vec<(usize, usize, String)>;

fn edited(tag: &str, mut edits: Edits) -> String {
    // Stable, so that what a statement needs follows what its operands need.
    edits.sort_by_key(|&(from, _, _)| from);
    let (mut out, mut at) = (String::with_capacity(tag.len()), 0);
    for (from, to, text) in edits {
        out.push_str(&tag[at..from]);
        out.push_str(&text);
        at = to;
    }
    out.push_str(&tag[at..]);
    out
}

/// What a `{% ... %}` tag needs.
fn statement(tag: &str, tokens: &[(usize, usize)]) -> Result<Edits> {
    let Some(&(start, end)) = tokens.first() else {
        return Ok(Vec::new());
    };
    Ok(match &tag[start..end] {
        "generation" => vec![(start, end, "if true".into())],
        "endgeneration" => vec![(start, end, "endif".into())],
        "set" => return guarded_set(tag, &tokens[1..]),
        _ => Vec::new(),
    })
}

/// `{% set ns.name = value %}` with the value going through the plain filter. `tokens` are
/// those after `set`.
fn guarded_set(tag: &str, tokens: &[(usize, usize)]) -> Result<Edits> {
    let is = |token: &(usize, usize), text: &str| &tag[token.0..token.1] == text;
    let equals = tokens.iter().position(|t| is(t, "="));
    let target = &tokens[..equals.unwrap_or(tokens.len())];
    if !target.iter().any(|t| is(t, ".")) {
        return Ok(Vec::new());
    }
    // Unpacking into a namespace, or a block with a filter, would slip past the guard.
    let odd = |t| [",", "(", "|"].iter().any(|text| is(t, text));
    if target.iter().any(odd) {
        return Err(invalid("sets a namespace in a way that is not supported"));
    }
    Ok(match (equals.map(|i| tokens[i].1), tokens.last()) {
        (Some(value), Some(&(_, end))) if value < end => {
            vec![(value, value, " (".into()), (end, end, format!(")|{PLAIN_FILTER}"))]
        }
        _ => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespace_assignments_are_guarded() {
        let cases = [
            ("{% set ns.x = y + 1 %}", "{% set ns.x = ( y|__sum + 1|__sum)|__plain %}"),
            ("{%- set ns.x=')%}' -%}", "{%- set ns.x= (')%}')|__plain -%}"),
            ("{% set x = ns.y %}", "{% set x = ns.y %}"),
            ("{% raw %}{% set ns.x = 1 %}{% endraw %}", "{% raw %}{% set ns.x = 1 %}{% endraw %}"),
            ("{# {% set ns.x = 1 %} #}", "{# {% set ns.x = 1 %} #}"),
            ("{% set ns.x %}a{% endset %}", "{% set ns.x %}a{% endset %}"),
            ("{{ {'a':{}} }}{% set a.b = 1 %}", "{{ {'a':{}} }}{% set a.b = ( 1)|__plain %}"),
        ];
        for (source, expected) in cases {
            assert_eq!(prepare(source).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn ways_around_the_guard_are_refused() {
        for source in [
            "{% set ns.x, y = ns, 1 %}",
            "{% set (ns.x) = ns %}",
            "{% set ns.x | default(ns, true) %}{% endset %}",
            "{% set ns.x = 1)) or ((ns %}",
            "{{ 'open }}",
        ] {
            assert!(prepare(source).is_err(), "{source}");
        }
    }

    #[test]
    fn generation_tags_keep_their_whitespace_control() {
        let source = "{%- generation -%}x{% endgeneration +%}";
        assert_eq!(prepare(source).as_deref(), Ok("{%- if true -%}x{% endif +%}"));
    }
}
