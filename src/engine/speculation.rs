//! Speculative decoding (Leviathan et al. 2023) of one job: what may come next, checked in one batch.
//!
//! A draft goes along with the job's last token, and each of its tokens gives logits. The job's own
//! picker draws from them one after the other, as without a draft; as long as it draws what the draft says, the
//! next logits are there already. So a draft changes how long an answer takes and nothing else.
#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use crate::request::{DraftKind, SpeculativeFields};

/// Tokens alike at the end of a text and earlier in it, from which on what followed may follow.
const LEAST_MATCH: usize = 3;

/// How much the newest token of a draft counts in the share that comes true, and what that is at
/// first.
const WEIGHT: f32 = 0.1;
const FIRST_TRUST: f32 = 0.7;

/// Turns after which a draft model is asked again although its drafts did not pay, and for how
/// many tokens.
const REST: usize = 32;
const AFTER_REST: usize = 3;

/// Tokens of a draft, unless a request says another number.
const USUAL: u32 = 16;

/// The probability at which llama-server's drafts end.
const USUAL_PROBABILITY: f32 = 0.75;

/// Where a job's drafts come from, and how long they are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Drafting {
    pub(super) kind: DraftKind,
    pub(super) n_max: usize,
    pub(super) n_min: usize,
    pub(super) p_min: f32,
    pub(super) adaptive: bool,
}

impl Drafting {
    /// What `fields` ask for; `None` for no drafts. The usual kind is a draft model's where there
    /// is one.
    pub(super) fn new(fields: SpeculativeFields, has_draft_model: bool) -> Option<Self> {
        let usual = if has_draft_model { DraftKind::Model } else { DraftKind::PromptLookup };
        let kind = fields.kind.unwrap_or(usual);
        let usual = if kind == DraftKind::Model { USUAL } else { u32::MAX };
        let n_max = fields.n_max.unwrap_or(usual) as usize;
        (kind != DraftKind::None && n_max > 0).then_some(Self {
            kind,
            n_max,
            n_min: fields.n_min.unwrap_or(0) as usize,
            p_min: fields.p_min.unwrap_or(USUAL_PROBABILITY),
            adaptive: fields.adaptive.unwrap_or(true),
        })
    }
}

/// What drafts a model can have, and has unasked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drafts {
    /// Of the load options.
    pub(super) usual: Option<SpeculativeFields>,
    pub(super) has_model: bool,
    /// Whether sequences can be cut back to where a draft went wrong.
    pub(super) possible: bool,
}

impl Drafts {
    /// What the reader of a job or a load is told where drafts are asked for and not possible.
    pub(super) const NOTICE: &str =
        "speculative decoding is off: this model's state, recurrent or \
         with a sliding window, cannot be cut back to where a draft went wrong";

    /// What a request with these fields gets.
    pub(super) fn choose(&self, request: Option<SpeculativeFields>) -> Result<Option<Drafting>> {
        let Some(said) = request.or(self.usual) else { return Ok(None) };
        let fields = said.or(self.usual.unwrap_or_default());
        let drafting = Drafting::new(fields, self.has_model);
        match drafting {
            Some(Drafting { kind: DraftKind::Model, .. }) if !self.has_model => {
                let message = "\"draft\" needs a draft model; load the model with draft_model, or use \"prompt_lookup\"";
                Err(Error::invalid_request("speculative.type", message))
            }
            drafting => Ok(drafting),
        }
    }
}

/// One job's drafts.
#[derive(Debug)]
pub(super) struct Speculation {
    drafting: Drafting,
    /// What may follow the job's tokens; only `sent` of them are in the batch.
    guess: Vec<u32>,
    sent: usize,
    /// How many of `guess` came true in this turn.
    came_true: usize,
    /// The share of guessed tokens that come true where those before did, as a running mean.
    trust: f32,
    /// Turns since the last draft.
    rested: usize,
    /// Tokens that were in batches, and those of them that came true.
    pub(super) drafted: usize,
    pub(super) accepted: usize,
}

impl Speculation {
    pub(super) fn new(drafting: Drafting) -> Self {
        Self {
            drafting,
            guess: Vec::new(),
            sent: 0,
            came_true: 0,
            trust: FIRST_TRUST,
            rested: 0,
            drafted: 0,
            accepted: 0,
        }
    }

    pub(super) fn drafting(&self) -> &Drafting {
        &self.drafting
    }

    /// Looks for what may follow `tokens` in themselves, at most `most` tokens.
    pub(super) fn look_up(&mut self, tokens: &[u32], most: usize) {
        self.set_guess(look_up(tokens, most.min(self.drafting.n_max)));
    }

    /// `guess` may follow the job's tokens; none of it is in a batch yet.
    pub(super) fn set_guess(&mut self, guess: Vec<u32>) {
        self.guess = guess;
        self.sent = 0;
        self.came_true = 0;
    }

    /// Tokens of the guess.
    pub(super) fn guessed(&self) -> usize {
        self.guess.len()
    }

    /// How long a draft promises most, at most `most` tokens; 0 where none pays. `cost` is how long a turn with a
    /// draft of so many tokens takes, that of one without being 1.
    pub(super) fn best_length(&mut self, most: usize, cost: impl Fn(usize) -> f32) -> usize {
        let most = most.min(self.drafting.n_max);
        if !self.drafting.adaptive {
            return most;
        }
        let gain = |count: usize| expected(self.trust, count) / cost(count);
        // Sizes at which batches with the job's token are powers of two: pace is known by these.
        let lengths = (1..usize::BITS).map(|power| (1 << power) - 1);
        let lengths = lengths.take_while(|&length| length < most).chain([most]);
        let best = lengths.map(|length| (gain(length), length)).max_by(|a, b| a.0.total_cmp(&b.0));
        let length = best.filter(|&(gain, _)| gain > 1.0).map_or(0, |(_, length)| length);
        self.rested = if length == 0 { self.rested + 1 } else { 0 };
        // What is looked up is checked also where it is not sent; a draft model has to be asked.
        match self.rested > REST && self.drafting.kind == DraftKind::Model {
            true => {
                self.rested = 0;
                most.min(AFTER_REST)
            }
            false => length,
        }
    }

    /// Takes `count` tokens of the guess into the batch; less than the least is none.
    pub(super) fn send(&mut self, count: usize) {
        let count = count.min(self.guess.len());
        self.sent = if count < self.drafting.n_min.max(1) { 0 } else { count };
    }

    /// What is in the batch behind the job's own token.
    pub(super) fn sent(&self) -> &[u32] {
        &self.guess[..self.sent]
    }

    /// The batch was computed.
    pub(super) fn computed(&mut self) {
        self.drafted += self.sent;
    }

    /// `token` was drawn. True: it is the next token of the draft, behind which logits are there.
    pub(super) fn follow(&mut self, token: u32) -> bool {
        let Some(&guessed) = self.guess.get(self.came_true) else { return false };
        let is_true = guessed == token;
        self.trust += WEIGHT * (f32::from(u8::from(is_true)) - self.trust);
        if !is_true {
            // What was guessed behind it is about another text.
            self.guess.truncate(self.came_true);
            return false;
        }
        self.came_true += 1;
        let is_there = self.came_true <= self.sent;
        self.accepted += usize::from(is_there);
        is_there
    }
}

/// Tokens that a turn with a draft of `count` tokens gives, each of which comes true with the
/// probability `trust` if those before did.
fn expected(trust: f32, count: usize) -> f32 {
    (0..=count as i32).map(|power| trust.powi(power)).sum()
}

/// What followed where `tokens` were last as they are at their end: prompt lookup decoding
/// (Saxena 2023). It is as long as the two places are alike, for the longer they are the further they
/// will be; at most `most` tokens.
fn look_up(tokens: &[u32], most: usize) -> Vec<u32> {
    let Some((last, before)) = tokens.split_last() else { return Vec::new() };
    let (mut longest, mut place) = (LEAST_MATCH - 1, None);
    for end in (1..=before.len()).rev().filter(|&end| before[end - 1] == *last) {
        let alike = before[..end].iter().rev().zip(tokens.iter().rev());
        let alike = alike.take(most.max(LEAST_MATCH)).take_while(|(a, b)| a == b).count();
        if alike > longest {
            (longest, place) = (alike, Some(end));
        }
        if longest >= most {
            break;
        }
    }
    let Some(place) = place else { return Vec::new() };
    let mut guess: Vec<u32> = Vec::new();
    while guess.len() < longest.min(most) {
        // Beyond the end of the tokens it goes on in itself, as what repeats does.
        let at = place + guess.len();
        guess.push(tokens.get(at).copied().unwrap_or_else(|| guess[at - tokens.len()]));
    }
    guess
}

#[cfg(test)]
#[path = "speculation_tests.rs"]
mod tests;
