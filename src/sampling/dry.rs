//! The penalty on tokens that would go on with a repeated sequence.
#![forbid(unsafe_code)]

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::candidates::Candidates;
use super::params::Dry;

/// Bytes of a breaker that count, and tokens of its tail, as in llama.cpp.
const LONGEST_TEXT: usize = 40;
const LONGEST_TAIL: usize = 20;

/// `ln(f32::MAX)`: a larger power of the base would overflow.
const MAX_LOG: f32 = 88.722_84;

/// The token sequences that may write a breaker's text, by their first token.
///
/// A text can begin inside a token and end in others; the tails are those others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Breakers(Arc<Heads>);

type Heads = HashMap<u32, Vec<Vec<u32>>>;

impl Breakers {
    /// All sequences for `texts` over a vocabulary of `pieces`; `tokenize` gives the tokens of the
    /// rest of a text. As llama.cpp's `get_overlapping_token_sequences`, except that a text is not
    /// cut inside a character.
    pub fn new<'a, E>(
        texts: &[String],
        pieces: impl Fn(u32) -> &'a [u8],
        count: u32,
        mut tokenize: impl FnMut(&str) -> Result<Vec<u32>, E>,
    ) -> Result<Self, E> {
        let mut all = Heads::new();
        for text in texts.iter().map(|text| start_of(text)).filter(|text| !text.is_empty()) {
            let mut tails: Vec<Option<Vec<u32>>> = vec![None; text.len()];
            for token in 0..count {
                let piece = pieces(token);
                if contains(piece, text.as_bytes()) {
                    add(&mut all, token, Vec::new());
                    continue;
                }
                for cut in overlaps(piece, text) {
                    if tails[cut].is_none() {
                        let mut tail = tokenize(&text[cut..])?;
                        tail.truncate(LONGEST_TAIL);
                        tails[cut] = Some(tail);
                    }
                    add(&mut all, token, tails[cut].clone().unwrap_or_default());
                }
            }
        }
        Ok(Self(Arc::new(all)))
    }

    /// Whether `token` alone is a breaker.
    fn is_single(&self, token: u32) -> bool {
        self.0.get(&token).is_some_and(|tails| tails.iter().any(Vec::is_empty))
    }
}

fn add(heads: &mut Heads, head: u32, tail: Vec<u32>) {
    let tails = heads.entry(head).or_default();
    if !tails.contains(&tail) {
        tails.push(tail);
    }
}

/// As much of `text` as counts.
fn start_of(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn contains(piece: &[u8], text: &[u8]) -> bool {
    piece.windows(text.len()).any(|window| window == text)
}

/// The lengths of beginnings of `text` that `piece` ends with.
fn overlaps<'a>(piece: &'a [u8], text: &'a str) -> impl Iterator<Item = usize> + 'a {
    let cuts = (1..text.len()).filter(|&cut| text.is_char_boundary(cut));
    cuts.filter(|&cut| piece.ends_with(&text.as_bytes()[..cut]))
}

/// The last tokens, and the buffers to search them.
#[derive(Debug, Clone, Default)]
pub(super) struct Repeats {
    /// The latest token first.
    latest: VecDeque<u32>,
    /// For each place, how many tokens from there on are those at the end.
    lengths: Vec<usize>,
    /// Tokens that would go on with a repeat, and the length of the longest such one.
    longest: HashMap<u32, usize>,
}

impl Repeats {
    pub(super) fn push(&mut self, token: u32, dry: &Dry) {
        if dry.is_on() {
            self.latest.truncate(dry.last_n - 1);
            self.latest.push_front(token);
        }
    }

    /// Lowers the logits of tokens that go on with a repeat, as llama.cpp's
    /// `llama_sampler_dry_apply`.
    pub(super) fn penalise(&mut self, logits: &mut [f32], dry: &Dry) {
        self.search(dry);
        for (&token, &length) in &self.longest {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit -= penalty(length, dry);
            }
        }
    }

    /// [`penalise`](Self::penalise) for what is left in the running.
    pub(super) fn penalise_set(&mut self, set: &mut Candidates, dry: &Dry) {
        self.search(dry);
        for candidate in &mut set.items {
            if let Some(&length) = self.longest.get(&candidate.id) {
                candidate.logit -= penalty(length, dry);
            }
        }
    }

    /// Fills `longest`.
    fn search(&mut self, dry: &Dry) {
        self.longest.clear();
        let limit = self.limit(&dry.breakers);
        if self.latest.len() <= dry.allowed_length || limit < dry.allowed_length {
            return;
        }
        self.measure();
        for (place, &length) in self.lengths.iter().enumerate().skip(1) {
            let length = length.min(limit);
            let next = self.latest[place - 1];
            if length >= dry.allowed_length && !dry.breakers.is_single(next) {
                let longest = self.longest.entry(next).or_insert(length);
                *longest = (*longest).max(length);
            }
        }
    }

    /// How many tokens there are behind the last breaker.
    fn limit(&self, breakers: &Breakers) -> usize {
        for (place, token) in self.latest.iter().enumerate() {
            let Some(tails) = breakers.0.get(token) else { continue };
            let is_here = |tail: &&Vec<u32>| {
                let mut pairs = tail.iter().enumerate();
                tail.len() <= place && pairs.all(|(i, &t)| t == self.latest[place - 1 - i])
            };
            if let Some(longest) = tails.iter().filter(is_here).map(Vec::len).max() {
                return place - longest;
            }
        }
        self.latest.len()
    }

    /// Fills `lengths`, by the Z algorithm (Main and Lorentz 1984); linear.
    fn measure(&mut self) {
        let count = self.latest.len();
        self.lengths.clear();
        self.lengths.resize(count, 0);
        // The stretch `start..end` equals the beginning, and no known one ends later.
        let (mut start, mut end) = (0, 0usize);
        for place in 1..count {
            let known = self.lengths[place - start].min(end.saturating_sub(place));
            let mut length = if place < end { known } else { 0 };
            while place + length < count && self.latest[length] == self.latest[place + length] {
                length += 1;
            }
            self.lengths[place] = length;
            if place + length > end {
                (start, end) = (place, place + length);
            }
        }
    }
}

fn penalty(length: usize, dry: &Dry) -> f32 {
    let most = if dry.base > 1.000_001 { MAX_LOG / dry.base.ln() } else { f32::MAX };
    let exponent = ((length - dry.allowed_length) as f32).min(most.floor());
    dry.multiplier * dry.base.powf(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeats(tokens: &[u32], dry: &Dry) -> Repeats {
        let mut repeats = Repeats::default();
        tokens.iter().for_each(|&token| repeats.push(token, dry));
        repeats
    }

    fn dry(last_n: usize) -> Dry {
        Dry { multiplier: 1.0, base: 2.0, last_n, ..Dry::default() }
    }

    // a b c c b c y a b c: after "a b c" came "c", after "b c" also "y".
    #[test]
    fn the_longest_repeat_counts() {
        let dry = dry(64);
        let mut found = repeats(&[0, 1, 2, 2, 1, 2, 9, 0, 1, 2], &dry);
        let mut logits = [0.0; 10];
        found.penalise(&mut logits, &dry);
        let mut expected = [0.0; 10];
        (expected[2], expected[9]) = (-2.0, -1.0);
        assert_eq!(logits, expected);
    }

    #[test]
    fn breakers_and_the_window_cut_repeats_short() {
        let tokens = [0, 1, 2, 3, 0, 1, 2];
        let cost = |dry: &Dry| {
            let mut logits = [0.0; 5];
            repeats(&tokens, dry).penalise(&mut logits, dry);
            logits[3]
        };
        assert_eq!(cost(&dry(64)), -2.0);
        assert_eq!(cost(&dry(6)), -1.0);
        let mut broken = dry(64);
        let mut heads = Heads::new();
        add(&mut heads, 0, vec![]);
        broken.breakers = Breakers(Arc::new(heads.clone()));
        assert_eq!(cost(&broken), -1.0);
        add(&mut heads, 1, vec![2]);
        broken.breakers = Breakers(Arc::new(heads));
        assert_eq!(cost(&broken), 0.0);
        let mut single = dry(64);
        single.breakers = Breakers(Arc::new(Heads::from([(3, vec![vec![]])])));
        assert_eq!(cost(&single), 0.0);
    }

    #[test]
    fn breakers_begin_inside_tokens() {
        let pieces: [&[u8]; 5] = [b"a\n", b"x<", b"/b", b"<|/", b"y"];
        let texts = ["\n".to_owned(), "</b".to_owned()];
        let asked = |text: &str| match text {
            "/b" => Ok(vec![2]),
            other => Err(other.to_owned()),
        };
        let all = Breakers::new(&texts, |token| pieces[token as usize], 5, asked).expect("asked");
        let expected = HashMap::from([(0, vec![vec![]]), (1, vec![vec![2]])]);
        assert_eq!(*all.0, expected);
    }

    #[test]
    fn lengths_agree_with_plain_comparison() {
        let mut rng = crate::sampling::Rng::new(3);
        for _ in 0..500 {
            let count = 1 + rng.next_u64() as usize % 40;
            let tokens: Vec<u32> = (0..count).map(|_| (rng.next_u64() % 3) as u32).collect();
            let mut found = repeats(&tokens, &dry(64));
            found.measure();
            let latest: Vec<u32> = tokens.iter().rev().copied().collect();
            for place in 1..count {
                let pairs = latest.iter().zip(&latest[place..]);
                let length = pairs.take_while(|(a, b)| a == b).count();
                assert_eq!(found.lengths[place], length, "{latest:?} at {place}");
            }
        }
    }
}
