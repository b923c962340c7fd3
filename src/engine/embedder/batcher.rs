//! The worker's side of embedding: texts of several jobs in one computation.
//!
//! Jobs take turns at being first in a batch; each fills its share, and what is left goes to those
//! who came first. A text is computed whole or not at all.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{select, Receiver, TryRecvError};

use super::active::Active;
use super::task::{EmbedTask, Reader};
use crate::backend::{EmbeddingLimits, EmbeddingModel, LoadedEmbedding, Output, Tokenizer};
use crate::engine::event::Ending;
use crate::engine::pace::Pace;
use crate::engine::residence::Residence;
use crate::engine::service::Leave;
use crate::engine::signal::Signal;
use crate::error::{Error, ErrorKind, Result};

/// Jobs whose texts are computed together; further ones wait.
pub(super) const MOST_JOBS: usize = 64;

/// Tokens of a batch of several texts. More are computed no faster, for attention looks at all
/// pairs of them, whosever they are; and a job that comes waits for them.
const BATCH_TOKENS: usize = 128;

/// The same behind a batch that was interrupted: what is lost with the next one should be little.
const CAREFUL_TOKENS: usize = 64;

/// Bytes of text that one turn tokenises before a batch is computed.
const TOKENISED: usize = 64 * 1024;

/// A batch that is likely done in this time is not interrupted by a stop, nor is one in the second
/// time when the batch before was: others would have to compute theirs again and again.
const SHORT: Duration = Duration::from_millis(25);
const SHORT_AGAIN: Duration = Duration::from_millis(60);

/// The jobs of one model.
pub(in crate::engine) struct Batcher {
    model: Box<dyn EmbeddingModel>,
    limits: EmbeddingLimits,
    output: Output,
    tokenizer: Arc<dyn Tokenizer>,
    signal: Signal,
    residence: Arc<Residence>,
    /// Tasks that came while there was no native state.
    held: VecDeque<EmbedTask>,
    /// In the order they came, but the first has been first for the longest time.
    active: VecDeque<Active>,
    pace: Pace,
    /// The batch before was interrupted.
    interrupted: bool,
}

/// A job's part of a batch: its next `count` texts.
struct Share {
    job: usize,
    count: usize,
}

impl Batcher {
    /// Begins with the tasks in `held`.
    pub(in crate::engine) fn new(
        loaded: LoadedEmbedding,
        signal: Signal,
        residence: Arc<Residence>,
        held: VecDeque<EmbedTask>,
    ) -> Result<Self> {
        let LoadedEmbedding { model, limits, output, tokenizer, .. } = loaded;
        let tokenizer = tokenizer.upgrade().ok_or_else(|| {
            Error::new(ErrorKind::Internal, "a model came without its vocabulary")
        })?;
        Ok(Self {
            tokenizer,
            model,
            limits,
            output,
            signal,
            residence,
            held,
            active: VecDeque::new(),
            pace: Pace::default(),
            interrupted: false,
        })
    }

    /// Works until the signal says to shut down, and then ends what is left as cancelled; or until
    /// the native state should go, and then has no running jobs.
    pub(in crate::engine) fn run(
        &mut self,
        tasks: &Receiver<EmbedTask>,
        woken: &Receiver<()>,
    ) -> Leave {
        let leave = self.work(tasks, woken);
        for active in self.active.drain(..) {
            active.finish(Ending::Cancelled);
        }
        leave
    }

    /// The tasks it has not begun with.
    pub(in crate::engine) fn into_held(self) -> VecDeque<EmbedTask> {
        self.held
    }

    fn work(&mut self, tasks: &Receiver<EmbedTask>, woken: &Receiver<()>) -> Leave {
        loop {
            // Cleared before the jobs are looked at: a stop that comes later raises it again.
            self.signal.interrupt_flag().clear();
            let leaves = self.residence.due();
            if self.signal.is_shut_down() || (leaves.is_none() && !self.collect(tasks)) {
                return Leave::ShutDown;
            }
            self.retire(|active| active.stop_cause());
            self.tokenise();
            self.compute();
            if !self.active.is_empty() {
                continue;
            }
            if let Some(reason) = leaves {
                return Leave::Rest(reason);
            }
            if !self.wait(tasks, woken) {
                return Leave::ShutDown;
            }
        }
    }

    /// Takes over what callers have sent. False: nobody can send any more.
    fn collect(&mut self, tasks: &Receiver<EmbedTask>) -> bool {
        while self.active.len() < MOST_JOBS {
            if let Some(task) = self.held.pop_front() {
                self.admit(task);
                continue;
            }
            match tasks.try_recv() {
                Ok(task) => self.admit(task),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    fn wait(&mut self, tasks: &Receiver<EmbedTask>, woken: &Receiver<()>) -> bool {
        select! {
            recv(tasks) -> task => match task {
                Ok(task) => self.admit(task),
                Err(_) => return false,
            },
            recv(woken) -> _ => {}
            default(self.residence.until_look()) => {}
        }
        true
    }

    fn admit(&mut self, task: EmbedTask) {
        if task.job.admit() {
            self.active.push_back(Active::new(task));
        }
    }

    /// Ends the jobs that `ending` has an ending for.
    fn retire(&mut self, ending: impl Fn(&Active) -> Option<Ending>) {
        for active in std::mem::take(&mut self.active) {
            match ending(&active) {
                Some(ending) => active.finish(ending),
                None => self.active.push_back(active),
            }
        }
    }

    /// All of a job's texts are tokenised before the first is computed: what is wrong with one of
    /// them shows early.
    fn tokenise(&mut self) {
        let (tokenizer, n_ctx) = (&*self.tokenizer, self.limits.n_ctx);
        let reader = Reader { tokenizer, output: &self.output, n_ctx };
        let share = (TOKENISED / self.active.len().max(1)).max(1);
        for active in &mut self.active {
            active.tokenise(&reader, &mut share.clone());
        }
        self.retire(Active::failure);
    }

    fn compute(&mut self) {
        let shares = self.shares();
        let texts: Vec<&[u32]> = shares
            .iter()
            .flat_map(|share| self.active[share.job].next_texts(share.count))
            .collect();
        let tokens = texts.iter().map(|text| text.len()).sum();
        if tokens == 0 {
            return;
        }
        let is_short = (shares.len() > 1 || self.interrupted) && self.is_short(tokens);
        self.signal.interrupt_flag().defer(is_short);
        let begun = Instant::now();
        let computed = self.model.compute(&texts);
        self.interrupted = matches!(computed, Ok(false));
        match computed {
            Ok(true) => {
                self.pace.note(tokens, begun.elapsed());
                self.hand_out(&shares);
            }
            Ok(false) => {}
            Err(error) => {
                for share in &shares {
                    self.active[share.job].fail(error.clone());
                }
            }
        }
        self.retire(Active::end);
        self.active.rotate_left(usize::from(self.active.len() > 1));
    }

    fn is_short(&self, tokens: usize) -> bool {
        let bound = if self.interrupted { SHORT_AGAIN } else { SHORT };
        self.pace.expect(tokens).is_some_and(|time| time <= bound)
    }

    /// Who has how many texts in the next batch.
    fn shares(&self) -> Vec<Share> {
        let ready: Vec<usize> =
            (0..self.active.len()).filter(|&job| self.active[job].is_tokenised()).collect();
        let most = if self.interrupted { CAREFUL_TOKENS } else { BATCH_TOKENS };
        let most = most.min(self.limits.n_batch);
        let fair = most / ready.len().max(1);
        let mut shares: Vec<Share> = ready.iter().map(|&job| Share { job, count: 0 }).collect();
        let (mut tokens, mut texts, mut alone) = (0, 0, 0);
        // First each its own share, at least a text; then who comes first takes what is left.
        for bound in [fair, most] {
            for share in &mut shares {
                let mut own = 0;
                while texts < self.limits.n_texts {
                    let Some(length) = self.active[share.job].length(share.count) else { break };
                    if tokens == 0 && length > most {
                        // Longer than a batch: who is first has it computed now, and short texts
                        // of others go along.
                        alone = length;
                    } else if tokens - alone + length > most
                        || tokens + length > self.limits.n_batch
                        || (own > 0 && own + length > bound)
                    {
                        break;
                    }
                    (tokens, texts, own) = (tokens + length, texts + 1, own + length);
                    share.count += 1;
                }
            }
        }
        shares.retain(|share| share.count > 0);
        shares
    }

    /// Gives each job of a batch what was computed of its texts.
    fn hand_out(&mut self, shares: &[Share]) {
        let (mut row, mut index) = (0, 0);
        for share in shares {
            let active = &mut self.active[share.job];
            for _ in 0..share.count {
                row += active.take(&mut *self.model, row, index);
                index += 1;
            }
            active.tell_progress();
        }
    }
}
