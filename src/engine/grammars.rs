//! Compiles the grammars of jobs on threads of their own, before the jobs stand in line: no other
//! job waits for it, and a stop ends a job that waits for its grammar at once.
#![forbid(unsafe_code)]

use std::sync::atomic::AtomicUsize;
use std::sync::Arc;

use once_cell::sync::OnceCell;
use parking_lot::Mutex;

use super::errands::Errands;
use super::event::{Body, Ending, Event};
use super::intake::Intake;
use super::job::{Job, Place};
use super::signal::Signal;
use super::task::Task;
use crate::backend::Vocab;
use crate::error::{Error, ErrorKind, Result};
use crate::grammar::{Compiled, Compiler, Grammar, Tokens};
use crate::log::log;

/// Address space for the stack of a thread that compiles: deep grammars recurse.
const STACK: usize = 64 << 20;

/// Jobs whose grammars wait to be compiled, at most: each has a thread.
const MOST_WAITING: usize = 64;

/// A model's grammars.
pub(super) struct Grammars {
    vocab: Arc<Vocab>,
    /// Made for the first grammar: it takes memory, and some time.
    compiler: OnceCell<Compiler>,
    /// Held by the one that compiles: grammars of many jobs take one core, not all.
    compiling: Mutex<()>,
    /// Jobs on threads of their own, the one that compiles among them.
    waiting: Arc<AtomicUsize>,
    signal: Signal,
    errands: Arc<Errands>,
}

impl Grammars {
    pub(super) fn new(vocab: Arc<Vocab>, signal: Signal, errands: Arc<Errands>) -> Arc<Self> {
        let (compiler, compiling) = (OnceCell::new(), Mutex::new(()));
        let waiting = Arc::default();
        Arc::new(Self { vocab, compiler, compiling, waiting, signal, errands })
    }

    /// Sends `task` on its way once `grammar` is compiled, which for one that was used just now it
    /// is already. An error of the grammar ends the job.
    pub(super) fn send(
        self: &Arc<Self>,
        mut task: Task,
        grammar: Grammar,
        intake: &Arc<Intake<Task>>,
    ) -> Result<()> {
        if let Some(compiled) = self.compiler.get().and_then(|compiler| compiler.find(&grammar)) {
            equip(&mut task, &grammar, &compiled);
            return intake.send(task, None).map(drop);
        }
        let place = Place::take(&self.waiting, MOST_WAITING).ok_or_else(|| {
            let message =
                format!("{MOST_WAITING} grammars wait to be compiled; try again when some are");
            Error::new(ErrorKind::QueueFull, message)
        })?;
        let (grammars, intake) = (Arc::clone(self), Arc::clone(intake));
        self.errands.run_with_stack(STACK, move || {
            // Cancelled jobs keep their threads until it is their turn.
            let _place = place;
            let job = Arc::clone(&task.job);
            match grammars.compile(&job, &grammar) {
                Ok(None) => {}
                Ok(Some(compiled)) => {
                    equip(&mut task, &grammar, &compiled);
                    // Where there is no room, the task is dropped, which ends its job.
                    let _ = intake.send(task, None);
                }
                // Before the task is dropped, which would end the job as cancelled.
                Err(error) => {
                    job.finish(Ending::Failed(error), None);
                }
            }
        })
    }

    /// `None` where the job ended, or the model was freed, while it waited for its turn.
    fn compile(&self, job: &Job, grammar: &Grammar) -> Result<Option<Arc<Compiled>>> {
        let _turn = self.compiling.lock();
        if job.is_ended() || self.signal.is_shut_down() {
            return Ok(None);
        }
        let compiler =
            self.compiler.get_or_try_init(|| Compiler::new(Tokens::new(&self.vocab)?))?;
        log!(Debug, "request: {} is being compiled", grammar.field);
        let compiled = compiler.compile(grammar);
        log!(Debug, "request: {} is compiled", grammar.field);
        compiled.map(Some)
    }
}

/// Gives `task` its own constraint, and tells its reader what that does not hold.
fn equip(task: &mut Task, grammar: &Grammar, compiled: &Compiled) {
    let notices: Vec<&str> =
        grammar.notices.iter().chain(&compiled.notices).map(String::as_str).collect();
    if !notices.is_empty() {
        let text = notices.join("; ");
        log!(Warn, "request: {text}");
        task.job.push(Event::now(Body::Notice(text)));
    }
    task.grammar = Some(compiled.constraint(&grammar.field));
}
