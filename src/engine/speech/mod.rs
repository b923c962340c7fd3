//! Transcribing: the speech side of a loaded model, and the threads that carry its jobs out.
#![forbid(unsafe_code)]

mod ahead;
mod halt;
mod options;
mod texts;
mod transcript;
mod transcription;
mod watch;

use std::collections::VecDeque;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, OnceLock};

use crossbeam_channel::{select, Receiver};
use parking_lot::Mutex;
use serde_json::{json, Map, Value};

pub(super) use self::transcript::Transcript;
use self::transcription::Transcription;
use super::event::Ending;
use super::intake::{Intake, Work};
use super::job::{Job, Outcome};
use super::model::Setup;
use super::residence::Residence;
use super::service::Leave;
use super::signal::Signal;
use crate::audio;
use crate::backend::{LoadedSpeech, SpeechSession};
use crate::error::{Error, ErrorKind, Result};
use crate::log::log;
use crate::own_thread::OwnThread;
use crate::request::{SpeechTask as Task, TranscribeRequest};
use crate::speech::{prompt, Vocabulary};

/// Bytes of a prompt: some 200 tokens are used, and tokenising takes its time.
const LONGEST_PROMPT: usize = 64 * 1024;

/// A transcription on its way. Dropped unfinished, it ends its job: no job is left without an end.
pub(super) struct SpeechTask {
    job: Arc<Job>,
    /// Until it is carried out.
    audio: Option<audio::Input>,
    request: TranscribeRequest,
}

impl Drop for SpeechTask {
    fn drop(&mut self) {
        self.job.abandon();
    }
}

impl Work for SpeechTask {
    fn job(&self) -> &Arc<Job> {
        &self.job
    }
}

/// What a speech model needs to know of itself, and the way to its threads.
pub(super) struct Transcriber {
    vocabulary: Arc<Vocabulary>,
    has_vad: bool,
    n_parallel: usize,
    intake: Intake<SpeechTask>,
}

impl Transcriber {
    /// A transcriber, and where its threads receive tasks.
    pub(super) fn new(loaded: &LoadedSpeech, setup: Setup) -> (Self, Receiver<SpeechTask>) {
        let (intake, tasks) = Intake::new(setup);
        let transcriber = Self {
            vocabulary: Arc::clone(&loaded.vocabulary),
            has_vad: loaded.has_vad,
            n_parallel: loaded.n_parallel,
            intake,
        };
        (transcriber, tasks)
    }

    /// What model information says beside what all models say.
    pub(super) fn describe(&self, info: &mut Map<String, Value>) {
        let languages = self.vocabulary.languages();
        let codes: Vec<&str> = languages.iter().map(|language| &*language.code).collect();
        info.insert("multilingual".into(), json!(self.vocabulary.is_multilingual()));
        info.insert("languages".into(), json!(codes));
        info.insert("n_parallel".into(), json!(self.n_parallel));
    }

    /// Starts a transcription.
    pub(super) fn transcribe(
        &self,
        audio: audio::Input,
        request: TranscribeRequest,
    ) -> Result<Arc<Job>> {
        self.check(&request)?;
        let transcript = Transcript::new(&request);
        let job = self.intake.job(Outcome::Transcript(Box::new(transcript)))?;
        let deadline = request.deadline;
        self.intake.send(SpeechTask { job, audio: Some(audio), request }, deadline)
    }

    /// Refuses what this model cannot do.
    fn check(&self, request: &TranscribeRequest) -> Result<()> {
        if let Some(language) = &request.language {
            let language = self.vocabulary.language(language)?;
            if !self.vocabulary.is_multilingual() && language.code != "en" {
                let message = "this model knows English only; use a multilingual one";
                return Err(Error::invalid_request("language", message));
            }
        }
        prompt::start(&self.vocabulary, None, spoken_task(request.task))?;
        for (name, text) in [("prompt", &request.prompt), ("hotwords", &request.hotwords)] {
            let length = text.as_ref().map_or(0, String::len);
            if length > LONGEST_PROMPT {
                let message = format!("has {length} bytes; at most {LONGEST_PROMPT} can matter");
                return Err(Error::invalid_request(name, message));
            }
        }
        if request.vad_filter == Some(true) && !self.has_vad {
            let message = "needs Silero's silero_vad_openvino_16k.onnx in the model's folder, or the load option vad_model";
            return Err(Error::invalid_request("vad_filter", message));
        }
        Ok(())
    }
}

fn spoken_task(task: Task) -> prompt::Task {
    match task {
        Task::Transcribe => prompt::Task::Transcribe,
        Task::Translate => prompt::Task::Translate,
    }
}

/// Where a model's threads find their tasks.
pub(super) struct Inbox<'a> {
    /// Those that came while there was no native state.
    pub(super) held: &'a Mutex<VecDeque<SpeechTask>>,
    pub(super) tasks: &'a Receiver<SpeechTask>,
    pub(super) woken: &'a Receiver<()>,
    /// Why one of them left off; all do then.
    pub(super) left: OnceLock<Leave>,
    pub(super) residence: &'a Residence,
}

impl Inbox<'_> {
    /// Whether others wait for a thread that a job holds, or for the model's memory.
    fn is_needed(&self) -> bool {
        let is_waited_for = !self.tasks.is_empty() || !self.held.lock().is_empty();
        is_waited_for || self.left.get().is_some() || self.residence.is_asked()
    }
}

/// Carries out tasks on this thread and as many more as run side by side, until the signal says to
/// shut down, or the native state should go.
pub(super) fn run(loaded: &LoadedSpeech, inbox: &Inbox<'_>, signal: &Signal) -> Leave {
    std::thread::scope(|scope| {
        for _ in 1..loaded.n_parallel {
            let thread = std::thread::Builder::new().name("fluid-speech".into());
            let work = || {
                OwnThread::default().enter();
                work(loaded, inbox, signal);
            };
            if let Err(error) = thread.spawn_scoped(scope, work) {
                log!(Warn, "fewer transcriptions side by side: cannot start a thread: {error}");
                break;
            }
        }
        work(loaded, inbox, signal);
    });
    inbox.left.get().copied().unwrap_or(Leave::ShutDown)
}

fn work(loaded: &LoadedSpeech, inbox: &Inbox<'_>, signal: &Signal) {
    // Made for the first task; a thread that never has one needs no memory.
    let mut session = None;
    while inbox.left.get().is_none() {
        if signal.is_shut_down() {
            inbox.left.get_or_init(|| Leave::ShutDown);
            break;
        }
        if let Some(reason) = inbox.residence.due() {
            inbox.left.get_or_init(|| Leave::Rest(reason));
            break;
        }
        let held = inbox.held.lock().pop_front();
        if let Some(task) = held {
            carry_out(loaded, task, &mut session, inbox, signal);
            continue;
        }
        select! {
            recv(inbox.tasks) -> task => match task {
                Ok(task) => carry_out(loaded, task, &mut session, inbox, signal),
                Err(_) => break,
            },
            recv(inbox.woken) -> _ => {}
            default(inbox.residence.until_look()) => {}
        }
    }
    // One wake-up reaches one thread; this one hands it on.
    signal.wake();
}

/// Carries out one task. A panic is its own end, not the model's.
fn carry_out(
    loaded: &LoadedSpeech,
    mut task: SpeechTask,
    session: &mut Option<Box<dyn SpeechSession>>,
    inbox: &Inbox<'_>,
    signal: &Signal,
) {
    let job = Arc::clone(&task.job);
    if job.is_ended() {
        return;
    }
    let mut own = session.take();
    let result = catch_unwind(AssertUnwindSafe(|| {
        // Before the job is admitted, so that a stop ends it on the spot: a model may be compiled.
        if task.request.words {
            loaded.model.prepare_alignment()?;
        }
        if !job.admit() {
            return Ok(true);
        }
        if own.is_none() {
            own = Some(loaded.model.session()?);
        }
        if let Some(own) = &mut own {
            let made = Transcription::new(loaded, &mut task, &mut **own, inbox, signal)?;
            return Ok(made.run());
        }
        Ok::<_, Error>(false)
    }));
    match result {
        // Kept for the next task, but not after a failure.
        Ok(Ok(true)) => *session = own,
        Ok(Ok(false)) => {}
        Ok(Err(error)) => {
            job.finish(Ending::Failed(error), None);
        }
        Err(_) => {
            let message = "a transcription panicked; please report this";
            log!(Error, "{message}");
            job.finish(Ending::Failed(Error::new(ErrorKind::Internal, message)), None);
        }
    }
}
