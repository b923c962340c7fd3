//! What a worker does with its model: it serves jobs, and does without the native state meanwhile.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use crossbeam_channel::Receiver;
use parking_lot::Mutex;

use super::drafter::Drafter;
use super::embedder::{Batcher, EmbedTask};
use super::event::Ending;
use super::intake::Work;
use super::line::Line;
use super::residence::{Reason, Residence};
use super::scheduler::{Kit, Scheduler};
use super::signal::Signal;
use super::speech::{self, SpeechTask};
use super::task::Task;
use super::tokens::Words;
use crate::backend::{EmbeddingLimits, Loaded, LoadedEmbedding, LoadedSpeech, LoadedText};
use crate::error::{Error, ErrorKind, Result};

/// Why a service leaves off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// The model or its engine was freed.
    ShutDown,
    /// The native state should go.
    Rest(Reason),
}

/// One kind of model at work. Its worker thread alone calls it.
pub(super) trait Service {
    /// Serves jobs until there is a reason to leave off. Has its native state.
    fn run(&mut self, woken: &Receiver<()>) -> Leave;

    /// Drops the native state; jobs that wait go on waiting.
    fn rest(&mut self);

    /// Ends jobs that should stop, while there is no native state. Whether another one could go on
    /// if there were.
    fn is_wanted(&mut self) -> bool;

    /// Takes over the native state of `loaded`, which is the same model, loaded again.
    fn revive(&mut self, loaded: Loaded) -> Result<()>;

    /// Ends all jobs that wait: by `error`, or as cancelled.
    fn clear(&mut self, error: Option<&Error>);
}

/// Takes over what callers have sent, and drops what has ended.
fn hold<T: Work>(held: &mut VecDeque<T>, tasks: &Receiver<T>) {
    held.extend(tasks.try_iter());
    held.retain(|task| !task.job().is_ended());
}

/// Ends the jobs of `tasks` by `error`; a task that is dropped ends its job as cancelled.
fn end<T: Work>(tasks: impl Iterator<Item = T>, error: Option<&Error>) {
    for task in tasks {
        if let Some(error) = error {
            task.job().finish(Ending::Failed(error.clone()), None);
        }
    }
}

/// What came back is another model than what left.
fn changed() -> Error {
    let message = "the model's files changed since it was loaded; free it and load it again";
    Error::new(ErrorKind::InvalidModel, message)
}

/// A model that continues texts.
pub(super) struct TextService {
    scheduler: Option<Scheduler>,
    line: Line,
    kit: Kit,
    tasks: Receiver<Task>,
    fingerprint: String,
    words: Words,
}

impl TextService {
    pub(super) fn new(
        native: (Box<dyn crate::backend::Backend>, Option<Drafter>),
        kit: Kit,
        tasks: Receiver<Task>,
        fingerprint: String,
        words: Words,
    ) -> Self {
        let scheduler = Some(Scheduler::new(native, kit.clone(), Line::default()));
        Self { scheduler, line: Line::default(), kit, tasks, fingerprint, words }
    }

    /// The same but for what bounds memory outside the native state.
    fn is_same(&self, loaded: &LoadedText) -> bool {
        let mut limits = loaded.limits;
        limits.kept_bytes = self.kit.limits.kept_bytes;
        loaded.fingerprint == self.fingerprint
            && limits == self.kit.limits
            && loaded.vocab.len() == self.kit.vocab.len()
    }
}

impl Service for TextService {
    fn run(&mut self, woken: &Receiver<()>) -> Leave {
        match &mut self.scheduler {
            Some(scheduler) => scheduler.run(&self.tasks, woken),
            None => Leave::ShutDown,
        }
    }

    fn rest(&mut self) {
        if let Some(scheduler) = self.scheduler.take() {
            self.line = scheduler.into_line();
        }
    }

    fn is_wanted(&mut self) -> bool {
        self.tasks.try_iter().for_each(|task| self.line.join(task));
        self.line.retire_stopped();
        self.line.is_wanted() || !self.kit.arrivals.is_empty()
    }

    fn revive(&mut self, loaded: Loaded) -> Result<()> {
        let Loaded::Text(loaded) = loaded else { return Err(changed()) };
        if !self.is_same(&loaded) {
            return Err(changed());
        }
        let LoadedText { backend, draft, tokenizer, .. } = *loaded;
        self.words.renew(tokenizer);
        let native = (backend, draft.map(Drafter::new));
        let line = std::mem::take(&mut self.line);
        self.scheduler = Some(Scheduler::new(native, self.kit.clone(), line));
        Ok(())
    }

    fn clear(&mut self, error: Option<&Error>) {
        end(self.tasks.try_iter(), error);
        match error {
            Some(error) => {
                self.line.fail(error);
                self.kit.arrivals.try_iter().for_each(|arrival| arrival.fail(error));
            }
            // What they said before is kept.
            None if std::thread::panicking() => {}
            None => {
                self.line.clear().into_iter().for_each(|slot| slot.finish(Ending::Cancelled));
            }
        }
    }
}

/// A model that turns texts into vectors or scores.
pub(super) struct EmbeddingService {
    batcher: Option<Batcher>,
    held: VecDeque<EmbedTask>,
    tasks: Receiver<EmbedTask>,
    limits: EmbeddingLimits,
    signal: Signal,
    residence: Arc<Residence>,
    words: Words,
}

impl EmbeddingService {
    pub(super) fn new(
        loaded: LoadedEmbedding,
        tasks: Receiver<EmbedTask>,
        signal: Signal,
        residence: Arc<Residence>,
        words: Words,
    ) -> Result<Self> {
        let limits = loaded.limits;
        let own = Arc::clone(&residence);
        let batcher = Batcher::new(loaded, signal.clone(), own, VecDeque::new())?;
        let batcher = Some(batcher);
        Ok(Self { batcher, held: VecDeque::new(), tasks, limits, signal, residence, words })
    }
}

impl Service for EmbeddingService {
    fn run(&mut self, woken: &Receiver<()>) -> Leave {
        match &mut self.batcher {
            Some(batcher) => batcher.run(&self.tasks, woken),
            None => Leave::ShutDown,
        }
    }

    fn rest(&mut self) {
        if let Some(batcher) = self.batcher.take() {
            self.held = batcher.into_held();
        }
    }

    fn is_wanted(&mut self) -> bool {
        hold(&mut self.held, &self.tasks);
        !self.held.is_empty()
    }

    fn revive(&mut self, loaded: Loaded) -> Result<()> {
        let Loaded::Embedding(loaded) = loaded else { return Err(changed()) };
        if loaded.limits != self.limits {
            return Err(changed());
        }
        self.words.renew(loaded.tokenizer.clone());
        let (signal, residence) = (self.signal.clone(), Arc::clone(&self.residence));
        let held = std::mem::take(&mut self.held);
        self.batcher = Some(Batcher::new(*loaded, signal, residence, held)?);
        Ok(())
    }

    fn clear(&mut self, error: Option<&Error>) {
        end(self.held.drain(..).chain(self.tasks.try_iter()), error);
    }
}

/// A model that writes down speech.
pub(super) struct SpeechService {
    loaded: Option<Box<LoadedSpeech>>,
    held: Mutex<VecDeque<SpeechTask>>,
    tasks: Receiver<SpeechTask>,
    signal: Signal,
    residence: Arc<Residence>,
}

impl SpeechService {
    pub(super) fn new(
        loaded: Box<LoadedSpeech>,
        tasks: Receiver<SpeechTask>,
        signal: Signal,
        residence: Arc<Residence>,
    ) -> Self {
        Self { loaded: Some(loaded), held: Mutex::default(), tasks, signal, residence }
    }
}

impl Service for SpeechService {
    fn run(&mut self, woken: &Receiver<()>) -> Leave {
        let Some(loaded) = &self.loaded else { return Leave::ShutDown };
        let inbox = speech::Inbox {
            held: &self.held,
            tasks: &self.tasks,
            woken,
            left: OnceLock::new(),
            residence: &self.residence,
        };
        speech::run(loaded, &inbox, &self.signal)
    }

    fn rest(&mut self) {
        self.loaded = None;
    }

    fn is_wanted(&mut self) -> bool {
        let held = self.held.get_mut();
        hold(held, &self.tasks);
        !held.is_empty()
    }

    fn revive(&mut self, loaded: Loaded) -> Result<()> {
        let Loaded::Speech(loaded) = loaded else { return Err(changed()) };
        self.loaded = Some(loaded);
        Ok(())
    }

    fn clear(&mut self, error: Option<&Error>) {
        end(self.held.get_mut().drain(..).chain(self.tasks.try_iter()), error);
    }
}
