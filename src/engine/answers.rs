//! What the answers of one job share: the prompt, the result, and the job's one end.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::completion::{Choice, Completion};
use super::event::Ending;
use super::job::{Job, Outcome};
use super::logprobs::Logprob;

/// The answers of one job, which ends with the last of them. Dropped before, it ends the job: no
/// job is left without an end.
pub(super) struct Answers {
    job: Arc<Job>,
    state: Mutex<State>,
}

struct State {
    completion: Completion,
    /// Answers that have not ended.
    left: usize,
    /// How the first one ended that was not done.
    cut: Option<Ending>,
    /// The first answer's slot has computed the prompt.
    has_prompt: bool,
    /// The prompt's own log-probabilities, where they were asked for.
    scores: Arc<[Logprob]>,
    first_token: Option<Instant>,
    last_token: Option<Instant>,
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.job.abandon();
    }
}

impl Answers {
    /// The answers of `job`, whose result begins as `completion`.
    pub(super) fn new(job: Arc<Job>, completion: Completion) -> Arc<Self> {
        let state = State {
            left: completion.choices.len(),
            completion,
            cut: None,
            has_prompt: false,
            scores: Arc::default(),
            first_token: None,
            last_token: None,
        };
        Arc::new(Self { job, state: Mutex::new(state) })
    }

    /// How many there are to be.
    pub(super) fn count(&self) -> usize {
        self.state.lock().completion.choices.len()
    }

    /// The prompt has so many tokens.
    pub(super) fn note_prompt(&self, tokens: usize) {
        self.state.lock().completion.prompt_tokens = tokens;
    }

    /// The first answer has a slot, in which `cached` tokens of the prompt are there already.
    pub(super) fn note_slot(&self, queued: Duration, cached: usize) {
        let mut state = self.state.lock();
        state.completion.timings.queued = queued;
        state.completion.cached_tokens = cached;
    }

    /// The first answer's slot has computed the prompt, in `time`.
    pub(super) fn prompt_done(&self, time: Duration, scores: Vec<Logprob>) {
        let mut state = self.state.lock();
        state.completion.timings.prompt = time;
        state.scores = scores.into();
        state.has_prompt = true;
    }

    /// Whether the other answers can begin.
    pub(super) fn has_prompt(&self) -> bool {
        self.state.lock().has_prompt
    }

    /// The prompt's log-probabilities; none where nobody asked.
    pub(super) fn prompt_scores(&self) -> Arc<[Logprob]> {
        Arc::clone(&self.state.lock().scores)
    }

    /// A token was drawn, from logits computed `at`.
    pub(super) fn note_token(&self, at: Instant) {
        let mut state = self.state.lock();
        state.first_token.get_or_insert(at);
        state.last_token = Some(at);
    }

    /// So many tokens of one answer's drafts were computed, and drawn as the draft said.
    pub(super) fn note_drafts(&self, drafted: usize, accepted: usize) {
        let mut state = self.state.lock();
        state.completion.draft_tokens += drafted;
        state.completion.accepted_tokens += accepted;
    }

    /// Answer number `index` has ended with `tokens` tokens. A failure ends the job at once.
    pub(super) fn finish(&self, index: usize, mut choice: Choice, tokens: usize, ending: Ending) {
        let mut state = self.state.lock();
        choice.ended(&ending);
        state.completion.choices[index] = choice;
        state.completion.completion_tokens += tokens;
        state.left -= 1;
        let has_failed = matches!(ending, Ending::Failed(_));
        if ending != Ending::Done {
            state.cut.get_or_insert(ending);
        }
        if state.left > 0 && !has_failed {
            return;
        }
        if let (Some(first), Some(last)) = (state.first_token, state.last_token) {
            state.completion.timings.predicted = last - first;
        }
        let ending = state.cut.clone().unwrap_or(Ending::Done);
        let completion = Box::new(state.completion.clone());
        drop(state);
        self.job.finish(ending, Some(Outcome::Completion(completion)));
    }
}
