//! Tokens into words, and punctuation into the words beside it.
//!
//! Follows `split_to_word_tokens` of OpenAI's `whisper/tokenizer.py` and `merge_punctuations` of
//! its `timing.py`.
#![forbid(unsafe_code)]

use std::ops::Range;

use super::vocabulary::Vocabulary;

/// Punctuation that belongs to the word after it.
const PREPENDED: &str = "\"'“¿([{-";
/// Punctuation that belongs to the word before it.
const APPENDED: &str = "\"'.。,，!！?？:：”)]}、";

/// A word and the places of its tokens among the text tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) text: String,
    pub(super) tokens: Range<usize>,
}

/// Splits text tokens into words: at spaces and punctuation, or, for a language written
/// without spaces, at every whole character.
pub(super) fn split(vocabulary: &Vocabulary, text: &[u32], at_characters: bool) -> Vec<Part> {
    let characters = split_at_characters(vocabulary, text);
    if at_characters {
        return characters;
    }
    let mut words: Vec<Part> = Vec::with_capacity(characters.len());
    for part in characters {
        let begins = part.text.starts_with(' ') || is_ascii_punctuation(part.text.trim());
        match words.last_mut() {
            Some(word) if !begins => {
                word.text.push_str(&part.text);
                word.tokens.end = part.tokens.end;
            }
            _ => words.push(part),
        }
    }
    words
}

/// Blank text counts, too, as in Python `"" in string.punctuation`.
fn is_ascii_punctuation(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_punctuation()) && text.len() <= 1
}

/// The shortest runs of tokens that end with a whole character. Bytes that no further token
/// completes become U+FFFD.
fn split_at_characters(vocabulary: &Vocabulary, text: &[u32]) -> Vec<Part> {
    let mut parts = Vec::with_capacity(text.len());
    let mut start = 0;
    let mut bytes = Vec::new();
    for (i, token) in text.iter().enumerate() {
        bytes.extend(vocabulary.decode_bytes(&[*token]));
        let cut = std::str::from_utf8(&bytes).is_err_and(|e| e.error_len().is_none());
        // A character has at most four bytes, so a longer tail cannot be one.
        if cut && i + 1 < text.len() {
            continue;
        }
        parts.push(Part {
            text: String::from_utf8_lossy(&bytes).into_owned(),
            tokens: start..i + 1,
        });
        start = i + 1;
        bytes.clear();
    }
    parts
}

/// Joins punctuation with its neighbours: for each word that stays, the places in `words` that
/// it is made of; the first number is the place of the word itself, whose times count.
pub(super) fn join_punctuation(words: &[Part]) -> Vec<(usize, Range<usize>)> {
    let mut groups = join_to_next(words);
    groups.reverse();
    let mut joined: Vec<(usize, Range<usize>)> = Vec::with_capacity(groups.len());
    for (place, range) in groups {
        let text: String = words[range.clone()].iter().map(|word| &*word.text).collect();
        match joined.last_mut() {
            // A part of the list in one piece, as Python's `in`: "?!" is not, "!" is.
            Some((_, before)) if APPENDED.contains(&text) && !ends_with_space(words, before) => {
                before.end = range.end;
            }
            _ => joined.push((place, range)),
        }
    }
    joined
}

fn ends_with_space(words: &[Part], range: &Range<usize>) -> bool {
    words[range.clone()].last().is_some_and(|word| word.text.ends_with(' '))
}

/// Opening punctuation with the words that follow, last word first.
fn join_to_next(words: &[Part]) -> Vec<(usize, Range<usize>)> {
    let mut groups: Vec<(usize, Range<usize>)> = Vec::with_capacity(words.len());
    for (place, word) in words.iter().enumerate().rev() {
        let opens = word.text.starts_with(' ') && PREPENDED.contains(word.text.trim());
        match groups.last_mut() {
            Some((_, after)) if opens => after.start = place,
            _ => groups.push((place, place..place + 1)),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::testing;

    fn words(text: &str, at_characters: bool) -> Vec<String> {
        let vocabulary = testing::small();
        let tokens = vocabulary.encode(text).unwrap();
        let parts = split(&vocabulary, &tokens, at_characters);
        let ranges = parts.iter().flat_map(|part| part.tokens.clone());
        assert!(ranges.eq(0..tokens.len()), "every token is in one word: {parts:?}");
        parts.into_iter().map(|part| part.text).collect()
    }

    fn joined(text: &str) -> Vec<(usize, String)> {
        let vocabulary = testing::small();
        let tokens = vocabulary.encode(text).unwrap();
        let parts = split(&vocabulary, &tokens, false);
        let groups = join_punctuation(&parts).into_iter();
        let text = |range: Range<usize>| parts[range].iter().map(|part| &*part.text).collect();
        groups.map(|(place, range)| (place, text(range))).collect()
    }

    #[test]
    fn words_begin_with_spaces_and_punctuation() {
        assert_eq!(words(" hello you, é!", false), [" hello", " you", ",", " é", "!"]);
        assert_eq!(words("世界 x", true), ["世", "界", " ", "x"]);
        assert_eq!(words("", false), [""; 0]);
    }

    #[test]
    fn bytes_that_are_no_character_do_not_get_lost() {
        let vocabulary = testing::small();
        let euro = vocabulary.encode("€").unwrap();
        let parts = split(&vocabulary, &euro[..2], true);
        assert_eq!((parts.len(), &*parts[0].text, &parts[0].tokens), (1, "\u{fffd}", &(0..2)));
        let mixed = [&euro[..2], &vocabulary.encode("ab").unwrap()].concat();
        let text: String = split(&vocabulary, &mixed, true).iter().map(|p| &*p.text).collect();
        assert_eq!(text, "\u{fffd}ab");
    }

    #[test]
    fn punctuation_joins_its_word() {
        let word = |place, text: &str| (place, text.to_owned());
        assert_eq!(joined(" hello, you."), [word(0, " hello,"), word(2, " you.")]);
        assert_eq!(joined(" \"hello\" you?"), [word(1, " \"hello\""), word(3, " you?")]);
        // At the end there is nothing to open; the space in front is a token of its own here.
        assert_eq!(joined(" you ("), [word(0, " you"), word(2, " (")]);
        assert_eq!(joined(""), []);
    }
}
