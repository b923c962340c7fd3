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
use super::signal::Signal;
use super::slot::Slot;
use super::states::{Arrival, States};
use super::task::Task;
use crate::backend::{Backend, BatchToken, Limits, Vocab};

/// How long a job whose reader is slow may keep others from its slot and its cells.
const GRACE: Duration = Duration::from_secs(1);

/// How long a worker without work waits before it looks around unasked.
const IDLE: Duration = Duration::from_secs(3_600);

pub(super) struct Scheduler {
    backend: Box<dyn Backend>,
    drafter: Option<Drafter>,
    limits: Limits,
    vocab: Arc<Vocab>,
    signal: Signal,
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
    pub(super) fn new(
        (backend, drafter): (Box<dyn Backend>, Option<Drafter>),
        limits: Limits,
        vocab: Arc<Vocab>,
        signal: Signal,
        (states, arrivals): (Arc<States>, Receiver<Arrival>),
    ) -> Self {
        Self {
            backend,
            drafter,
            limits,
            vocab,
            signal,
            states,
            arrivals,
            kv: KvCache::new(limits),
            pace: Pace::default(),
            line: Line::default(),
            running: BTreeMap::new(),
            rounds: Rounds::default(),
            batch: Vec::new(),
            shortest_first: false,
            interrupted: false,
            shifted: false,
        }
    }

    /// Works until the signal says to shut down; jobs that are left end as cancelled.
    pub(super) fn run(&mut self, tasks: &Receiver<Task>, woken: &Receiver<()>) {
        self.work(tasks, woken);
        let running = std::mem::take(&mut self.running).into_values();
        for slot in running.chain(self.line.clear()) {
            slot.finish(Ending::Cancelled);
        }
    }

    fn work(&mut self, tasks: &Receiver<Task>, woken: &Receiver<()>) {
        loop {
            // Cleared before the jobs are looked at: a stop that comes later raises it again.
            self.signal.interrupt_flag().clear();
            if self.signal.is_shut_down() || !self.collect(tasks) {
                return;
            }
            self.retire_stopped();
            let admitted = self.admit();
            self.close_gap();
            let computed = self.take_turn();
            let handed_over = self.hand_over();
            if !admitted && !computed && !handed_over && !self.wait(tasks, woken) {
                return;
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

    fn wait(&mut self, tasks: &Receiver<Task>, woken: &Receiver<()>) -> bool {
        select! {
            recv(tasks) -> task => match task {
                Ok(task) => self.line.join(task),
                Err(_) => return false,
            },
            recv(woken) -> _ => {}
            default(if self.line.is_empty() { IDLE } else { GRACE }) => {}
        }
        true
    }

    fn retire_stopped(&mut self) {
        for slot in self.line.take_stopped() {
            let ending = slot.job().wanted_end();
            slot.finish(ending.unwrap_or(Ending::Cancelled));
        }
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
