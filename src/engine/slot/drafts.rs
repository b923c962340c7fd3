//! What a generation does with drafts; without speculative decoding it has none.
#![forbid(unsafe_code)]

use super::Slot;
use crate::backend::Limits;
use crate::request::DraftKind;

impl Slot {
    /// What is in the batch behind its last token.
    pub(in crate::engine) fn draft(&self) -> &[u32] {
        self.speculation.as_ref().map_or(&[], |speculation| speculation.sent())
    }

    /// Forgets what may come next.
    pub(in crate::engine) fn drop_draft(&mut self) {
        self.set_draft(Vec::new());
    }

    /// Takes `draft` into the next batch.
    pub(in crate::engine) fn set_draft(&mut self, draft: Vec<u32>) {
        if let Some(speculation) = &mut self.speculation {
            let count = draft.len();
            speculation.set_guess(draft);
            speculation.send(count);
        }
    }

    /// Whether a draft model drafts for it.
    pub(in crate::engine) fn asks_draft_model(&self) -> bool {
        let drafting = self.speculation.as_ref().map(|speculation| speculation.drafting());
        drafting.is_some_and(|drafting| drafting.kind == DraftKind::Model)
    }

    /// A draft model's draft for it ends at a token less likely than this.
    pub(in crate::engine) fn least_probability(&self) -> f32 {
        self.speculation.as_ref().map_or(0.0, |speculation| speculation.drafting().p_min)
    }

    /// How many tokens of a draft it wants, at most `most`; `cost` as in `best_length`. What is looked up
    /// is in the next batch then.
    pub(in crate::engine) fn plan_draft(
        &mut self,
        most: usize,
        limits: Limits,
        cost: impl Fn(usize) -> f32,
    ) -> usize {
        let most = most.min(self.room_for_draft(limits));
        let asks_model = self.asks_draft_model();
        let Some(speculation) = &mut self.speculation else { return 0 };
        if asks_model {
            return speculation.best_length(most, cost);
        }
        speculation.look_up(&self.tokens, limits.n_drafted() as usize);
        let length = speculation.best_length(most.min(speculation.guessed()), cost);
        speculation.send(length);
        speculation.sent().len()
    }

    /// Tokens that a draft may have: one more is drawn behind it, and all have to find room in the
    /// context, in the answer and with the reader.
    fn room_for_draft(&self, limits: Limits) -> usize {
        let context = limits.n_ctx as usize - self.tokens.len();
        let answer = self.task.max_tokens - self.drawn;
        context.min(answer).min(self.task.job.room()).saturating_sub(1)
    }

    /// Whether the token drawn last is the next one of the draft, so that the logits behind it are
    /// there already. It is in the KV cache then.
    pub(in crate::engine) fn follows_draft(&mut self) -> bool {
        let Some(speculation) = &mut self.speculation else { return false };
        let follows = self.tokens.last().is_some_and(|&token| speculation.follow(token));
        self.n_past += usize::from(follows);
        follows
    }
}
