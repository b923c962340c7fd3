//! Looks for markup at the beginning of text that is still growing.
#![forbid(unsafe_code)]

/// What a text says about a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// It begins with the pattern, this many bytes long.
    Yes(usize),
    /// It is too short to tell.
    Perhaps,
    /// It does not.
    No,
}

/// Whether `text` begins with `pattern`, white space before it aside. Where the pattern has white
/// space, any amount of it will do, also none; at its ends there is none to wait for.
pub(super) fn expect(text: &str, pattern: &str) -> Found {
    let mut rest = text;
    for word in pattern.split_whitespace() {
        rest = rest.trim_start();
        match rest.strip_prefix(word) {
            Some(after) => rest = after,
            None if word.starts_with(rest) => return Found::Perhaps,
            None => return Found::No,
        }
    }
    Found::Yes(text.len() - rest.len())
}

/// The first of `patterns` that `text` begins with; see [`expect`].
pub(super) fn expect_any(text: &str, patterns: &[&str]) -> (usize, Found) {
    let mut undecided = false;
    for (index, pattern) in patterns.iter().enumerate() {
        match expect(text, pattern) {
            Found::Yes(length) => return (index, Found::Yes(length)),
            Found::Perhaps => undecided = true,
            Found::No => {}
        }
    }
    (0, if undecided { Found::Perhaps } else { Found::No })
}

/// Where `marker` begins in `text`, or else where a beginning of it ends the text; with the white
/// space before it, where `trim` says so.
pub(super) fn find(text: &str, marker: &str, trim: bool) -> (usize, bool) {
    let (at, is_whole) = match text.find(marker) {
        Some(at) => (at, true),
        None => (text.len() - grown(text, marker), false),
    };
    match trim {
        true => (text[..at].trim_end().len(), is_whole),
        false => (at, is_whole),
    }
}

/// Bytes at the end of `text` that are a beginning of `marker`, but not all of it.
fn grown(text: &str, marker: &str) -> usize {
    let mut ends = marker.char_indices().map(|(at, _)| at).rev();
    ends.find(|&length| text.ends_with(&marker[..length])).unwrap_or(0)
}
