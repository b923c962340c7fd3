//! Names that are called nearly as one that nobody has, for messages.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::short_names::SHORT_NAMES;
use super::{Kind, Store};

/// Names in one message.
const MOST: usize = 3;
/// Letters that are compared; the rest counts as the same.
const LETTERS: usize = 64;

impl Store {
    /// The names of models that are here, and the short names, that are nearest to `name`, the
    /// nearest first. Where nothing is near, those that are here.
    pub(super) fn near(&self, name: &str, kind: Option<Kind>) -> Vec<String> {
        let is_kind = |it: Kind| kind.is_none_or(|kind| kind == it);
        let kinds = Kind::ALL.into_iter().filter(|it| is_kind(*it));
        let here: BTreeSet<String> =
            kinds.flat_map(|kind| self.named(kind)).map(|(name, _)| name).collect();
        let short = SHORT_NAMES.iter().filter(|short| is_kind(short.kind));
        let short = short.map(|short| short.name.to_owned());
        let all: BTreeSet<String> = here.iter().cloned().chain(short).collect();
        let mut near: Vec<(usize, String)> =
            all.into_iter().filter_map(|other| Some((distance(name, &other)?, other))).collect();
        near.sort();
        if near.is_empty() {
            return here.into_iter().take(MOST).collect();
        }
        near.into_iter().take(MOST).map(|(_, name)| name).collect()
    }
}

/// How far two names are from each other, whatever their case: 0 where one contains the other, else
/// the letters to change, add or leave out. None where that is more than a third of them.
fn distance(a: &str, b: &str) -> Option<usize> {
    let letters = |text: &str| -> Vec<char> { text.to_lowercase().chars().take(LETTERS).collect() };
    let (lower_a, lower_b) = (a.to_lowercase(), b.to_lowercase());
    if lower_a.contains(&lower_b) || lower_b.contains(&lower_a) {
        return Some(0);
    }
    let (a, b) = (letters(a), letters(b));
    // Levenshtein's distance, row by row.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.iter().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let changed = corner + usize::from(letter != other);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    let distance = row[b.len()];
    (distance * 3 <= a.len().max(b.len())).then_some(distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_differ_are_counted() {
        assert_eq!(distance("kitten", "mitten"), Some(1));
        assert_eq!(distance("qwen3-8b-int8", "Qwen3-8b-int4"), Some(1));
        assert_eq!(distance("gemma", "gemma-3-4b"), Some(0));
        assert_eq!(distance("abc", "xyz"), None);
        assert_eq!(distance("", "xyz"), Some(0));
    }
}
