//! Shares one model's native state among its jobs: who computes next, and with whom.
//!
//! Continuous batching (Orca, Yu et al. 2022): each turn computes one batch with one token of every
//! generation that has room for it, and with chunks of prompts, as many tokens as the running
//! streams can wait for. New jobs join at the next turn.
#![forbid(unsafe_code)]

mod admission;
mod drafts;
mod rounds;
mod turn;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{select, Receiver, TryRecvError};

use self::rounds::Rounds;
use super::drafter::Drafter;
use super::event::Ending;
use super::kv::{KvCache, Prefix};
use super::line::{Line, Turn};
use super::pace::Pace;
use super::residence::Residence;
use super::service::Leave;
use super::signal::Signal;
use super::slot::Slot;
use super::states::{Arrival, States};
use super::task::Task;
use crate::backend::{Backend, BatchToken, Limits, Vocab};

/// How long a job whose reader is slow may keep others from its slot and its cells.
const GRACE: Duration = Duration::from_secs(1);

/// What a scheduler keeps of the model when the native state goes, and takes over with the next one.
#[derive(Clone)]
pub(super) struct Kit {
    pub(super) limits: Limits,
    pub(super) vocab: Arc<Vocab>,
    pub(super) signal: Signal,
    pub(super) residence: Arc<Residence>,
    pub(super) states: Arc<States>,
    pub(super) arrivals: Receiver<Arrival>,
}

pub(super) struct Scheduler {
    backend: Box<dyn Backend>,
    drafter: Option<Drafter>,
    limits: Limits,
    vocab: Arc<Vocab>,
    signal: Signal,
    residence: Arc<Residence>,
    states: Arc<States>,
    arrivals: Receiver<Arrival>,
    kv: KvCache,
    pace: Pace,
    line: Line,
    running: BTreeMap<Turn, Slot>,
    rounds: Rounds,
    batch: Vec<BatchToken>,
    /// The oldest prompt has every second turn, the shortest one the others.
    shortest_first: bool,
    /// The batch before was interrupted.
    interrupted: bool,
    /// The next batch must not be: it moves keys in the cache.
    shifted: bool,
}

impl Scheduler {
    /// Goes on with those who stand in `line`.
    pub(super) fn new(
        (backend, drafter): (Box<dyn Backend>, Option<Drafter>),
        kit: Kit,
        line: Line,
    ) -> Self {
        let Kit { limits, vocab, signal, residence, states, arrivals } = kit;
        Self {
            backend,
            drafter,
            limits,
            vocab,
            signal,
            residence,
            states,
            arrivals,
            kv: KvCache::new(limits),
            pace: Pace::default(),
            line,
            running: BTreeMap::new(),
            rounds: Rounds::default(),
            batch: Vec::new(),
            shortest_first: false,
            interrupted: false,
            shifted: false,
        }
    }

    /// Works until the signal says to shut down, and then ends what is left as cancelled; or until
    /// the native state should go, and then has no running jobs.
    pub(super) fn run(&mut self, tasks: &Receiver<Task>, woken: &Receiver<()>) -> Leave {
        let leave = self.work(tasks, woken);
        if leave == Leave::ShutDown {
            let running = std::mem::take(&mut self.running).into_values();
            for slot in running.chain(self.line.clear()) {
                slot.finish(Ending::Cancelled);
            }
        }
        leave
    }

    /// Those who wait, without the native state.
    pub(super) fn into_line(self) -> Line {
        self.line
    }

    fn work(&mut self, tasks: &Receiver<Task>, woken: &Receiver<()>) -> Leave {
        loop {
            // Cleared before the jobs are looked at: a stop that comes later raises it again.
            self.signal.interrupt_flag().clear();
            if self.signal.is_shut_down() || !self.collect(tasks) {
                return Leave::ShutDown;
            }
            self.retire_stopped();
            let leaves = self.residence.due();
            let admitted = match leaves {
                None => self.admit(),
                Some(reason) if self.running.is_empty() => return Leave::Rest(reason),
                Some(_) => self.park_slow(),
            };
            self.close_gap();
            let computed = self.take_turn();
            let handed_over = self.hand_over();
            let worked = admitted || computed || handed_over;
            if !worked && !self.wait(tasks, woken, leaves.is_some()) {
                return Leave::ShutDown;
            }
        }
    }

    /// Takes over what callers have sent. False: nobody can send any more.
    fn collect(&mut self, tasks: &Receiver<Task>) -> bool {
        while let Ok(arrival) = self.arrivals.try_recv() {
            arrival.arrive(|adapters, saved| {
                self.kv.bring(Prefix { tokens: &saved.tokens, adapters }, saved.state);
            });
        }
        loop {
            match tasks.try_recv() {
                Ok(task) => self.line.join(task),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Waits for something to do. False: nobody can send any more.
    fn wait(&mut self, tasks: &Receiver<Task>, woken: &Receiver<()>, leaves: bool) -> bool {
        // Those whose readers are slow are looked after, here in line or while all should go.
        let is_watched = leaves || !self.line.is_empty();
        let limit = if is_watched { GRACE } else { self.residence.until_look() };
        select! {
            recv(tasks) -> task => match task {
                Ok(task) => self.line.join(task),
                Err(_) => return false,
            },
            recv(woken) -> _ => {}
            default(limit) => {}
        }
        true
    }

    fn retire_stopped(&mut self) {
        self.line.retire_stopped();
        let stopped = self
            .running
            .iter()
            .filter_map(|(&turn, slot)| slot.job().wanted_end().map(|ending| (turn, ending)));
        for (turn, ending) in stopped.collect::<Vec<_>>() {
            self.retire(turn, ending);
        }
        self.running.values_mut().for_each(Slot::note_stall);
    }

    /// Ends the job of `turn` and frees its slot; what it computed is kept, if it is sound.
    fn retire(&mut self, turn: Turn, ending: Ending) {
        if let Some(slot) = self.running.remove(&turn) {
            let is_sound = !matches!(ending, Ending::Failed(_));
            let keep = is_sound && slot.caches_prompt();
            self.kv.close(&mut *self.backend, slot.sequence(), keep);
            slot.finish(ending);
        }
    }

    /// Sends the states that are complete on their way to their files. False: there were none,
    /// or others have to be written first.
    fn hand_over(&mut self) -> bool {
        let complete = self.running.iter().filter(|(_, slot)| slot.pending() == 0);
        let complete: Vec<Turn> = complete.map(|(&turn, _)| turn).collect();
        let mut handed_over = false;
        for turn in complete {
            if !self.states.can_write() {
                break;
            }
            let Some(slot) = self.running.remove(&turn) else { continue };
            let state = self.backend.save(slot.sequence());
            self.kv.close(&mut *self.backend, slot.sequence(), slot.caches_prompt());
            match state {
                Ok(state) => {
                    let adapters = self.states.label(slot.adapters());
                    self.states.write(slot.into_save(state, adapters));
                }
                Err(error) => slot.finish(Ending::Failed(error)),
            }
            handed_over = true;
        }
        handed_over
    }
}
