//! What may not be drawn: ends that come too early, and tokens that would complete a banned text.
//!
//! A banned text can lie across any tokens. After each one, every beginning of a banned text that
//! the answer ends with is known; masked is whatever would complete one: the tokens that begin
//! with the rest of it, and always those that have a banned text within. Each way to complete
//! one is of these two kinds, so no banned text ever appears, and what is drawn can be shown at once.
#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::backend::Vocab;
use crate::chat::Matcher;
use crate::request::BanFields;

/// The bans of one answer.
#[derive(Clone)]
pub(super) struct Bans {
    vocab: Arc<Vocab>,
    texts: Vec<Matcher>,
    /// Tokens with a banned text within.
    whole: Arc<[u32]>,
    /// Tokens that end an answer.
    ends: Arc<[u32]>,
    /// How many tokens must come before one of these.
    ends_after: usize,
    drawn: usize,
}

impl Bans {
    /// What `fields` says of a vocabulary; this looks at each token for each text.
    pub(super) fn new(fields: &BanFields, vocab: &Arc<Vocab>) -> Self {
        let bans_ends = fields.ignore_eos || fields.min_tokens > 0;
        let ends = vocab.ends_of_generation().filter(|_| bans_ends);
        let contains = |piece: &[u8], text: &str| {
            piece.windows(text.len()).any(|window| window == text.as_bytes())
        };
        let holds_one =
            |&token: &u32| fields.strings.iter().any(|text| contains(vocab.piece(token), text));
        // Sorts the vocabulary, if nobody has yet, while no other job waits for it.
        let tokens = if fields.strings.is_empty() { 0 } else { vocab.starting_with(b"").len() };
        Self {
            texts: fields.strings.iter().map(|text| Matcher::new(text)).collect(),
            whole: (0..tokens as u32).filter(holds_one).collect(),
            ends: ends.collect(),
            ends_after: if fields.ignore_eos { usize::MAX } else { fields.min_tokens },
            drawn: 0,
            vocab: Arc::clone(vocab),
        }
    }

    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.ends.is_empty()
    }

    /// Takes what may not come next out of `logits`.
    pub(super) fn mask(&self, logits: &mut [f32]) {
        let mut mask = |tokens: &[u32]| {
            for &token in tokens {
                if let Some(logit) = logits.get_mut(token as usize) {
                    *logit = f32::NEG_INFINITY;
                }
            }
        };
        if self.drawn < self.ends_after {
            mask(&self.ends);
        }
        mask(&self.whole);
        for rest in self.texts.iter().flat_map(Matcher::rests) {
            mask(self.vocab.starting_with(rest));
        }
    }

    /// Takes note of a token that was drawn.
    pub(super) fn accept(&mut self, token: u32) {
        self.drawn += 1;
        for text in &mut self.texts {
            for &byte in self.vocab.piece(token) {
                text.step(byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::Rng;

    /// Every text of one to three letters of "ab", as tokens, and one that ends.
    fn vocab() -> Arc<Vocab> {
        let mut vocab = Vocab::default();
        for length in 1..4usize {
            for bits in 0..1 << length {
                let letter = |at: usize| if bits >> at & 1 == 0 { b'a' } else { b'b' };
                vocab.push(&(0..length).map(letter).collect::<Vec<u8>>(), false);
            }
        }
        vocab.push(b"", true);
        Arc::new(vocab)
    }

    /// Draws evenly from what is left, as long as there is something.
    fn random_text(bans: &mut Bans, vocab: &Vocab, rng: &mut Rng) -> String {
        let mut text = Vec::new();
        for _ in 0..30 {
            let mut logits = vec![0.0; vocab.len()];
            bans.mask(&mut logits);
            let left: Vec<u32> =
                (0..vocab.len() as u32).filter(|&t| logits[t as usize] == 0.0).collect();
            let Some(&token) = left.get(rng.next_u64() as usize % left.len().max(1)) else {
                break;
            };
            if vocab.is_end_of_generation(token) {
                break;
            }
            bans.accept(token);
            text.extend_from_slice(vocab.piece(token));
        }
        String::from_utf8(text).expect("letters")
    }

    // Nothing banned appears; and nothing is masked that would have been harmless.
    #[test]
    fn masks_what_would_complete_a_text_and_nothing_else() {
        let vocab = vocab();
        let mut rng = Rng::new(5);
        for round in 0..2_000 {
            let banned = |rng: &mut Rng| -> String {
                let length = 1 + rng.next_u64() % 5;
                (0..length).map(|_| if rng.next_u64() % 2 == 0 { 'a' } else { 'b' }).collect()
            };
            let count = 1 + round % 3;
            let strings: Vec<String> = (0..count).map(|_| banned(&mut rng)).collect();
            let fields = BanFields { strings: strings.clone(), ..BanFields::default() };
            let mut bans = Bans::new(&fields, &vocab);
            let text = random_text(&mut bans, &vocab, &mut rng);
            let holds_one = |text: &str| strings.iter().any(|banned| text.contains(banned));
            assert!(!holds_one(&text), "{text:?} holds one of {strings:?}");
            let mut logits = vec![0.0; vocab.len()];
            bans.mask(&mut logits);
            for token in 0..vocab.len() as u32 {
                let piece = std::str::from_utf8(vocab.piece(token)).expect("letters");
                let is_masked = logits[token as usize] != 0.0;
                assert_eq!(is_masked, holds_one(&format!("{text}{piece}")), "{text:?}, {piece:?}");
            }
        }
    }

    #[test]
    fn ends_come_after_enough_tokens_or_never() {
        let vocab = vocab();
        let end = vocab.ends_of_generation().next().expect("one");
        let ends_after = |fields: &BanFields, count: usize| {
            let mut bans = Bans::new(fields, &vocab);
            (0..count).for_each(|_| bans.accept(0));
            let mut logits = vec![0.0; vocab.len()];
            bans.mask(&mut logits);
            logits[end as usize] == 0.0
        };
        let least = BanFields { min_tokens: 3, ..BanFields::default() };
        assert!(!ends_after(&least, 2) && ends_after(&least, 3));
        let never = BanFields { ignore_eos: true, ..least };
        assert!(!ends_after(&never, 3) && !ends_after(&never, 300));
        assert!(Bans::new(&BanFields::default(), &vocab).is_empty());
    }
}
