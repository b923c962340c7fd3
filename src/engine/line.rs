//! The jobs of a model that wait for a slot, and the order they go in.
#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::event::Ending;
use super::slot::Slot;
use super::task::Task;
use crate::error::Error;

/// Where a job stands: higher priority goes first, then who came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    priority: Reverse<i32>,
    arrival: u64,
    /// Which of the job's answers.
    choice: usize,
}

impl Turn {
    /// Where answer number `choice` of the same job stands.
    pub(super) fn of_choice(self, choice: usize) -> Self {
        Self { choice, ..self }
    }

    /// What its priority alone says: less goes first.
    pub(super) fn rank(&self) -> Reverse<i32> {
        self.priority
    }

    /// Whether it goes before `other` by its priority alone.
    pub(super) fn outranks(&self, other: &Self) -> bool {
        self.priority < other.priority
    }
}

/// Who waits.
pub(super) enum Waiting {
    /// A task as it came.
    New(Box<Task>),
    /// A job whose tokens are known: it waits for room, or gave its slot to another.
    Ready(Box<Slot>),
}

/// Those who wait, in order.
#[derive(Default)]
pub(super) struct Line {
    waiting: BTreeMap<Turn, Waiting>,
    arrivals: u64,
}

impl Line {
    /// Puts `task` behind those of its priority.
    pub(super) fn join(&mut self, task: Task) {
        self.arrivals += 1;
        let turn = Turn { priority: Reverse(task.priority), arrival: self.arrivals, choice: 0 };
        self.waiting.insert(turn, Waiting::New(Box::new(task)));
    }

    /// Puts a job back where it stood.
    pub(super) fn rejoin(&mut self, turn: Turn, slot: Slot) {
        self.waiting.insert(turn, Waiting::Ready(Box::new(slot)));
    }

    /// The first that can go on. Passed over are jobs whose readers are slow, until there is
    /// room, and those that `waits` says.
    pub(super) fn first(&self, waits: impl Fn(Turn, &Slot) -> bool) -> Option<Turn> {
        let can_go_on = |turn: Turn, waiting: &Waiting| match waiting {
            Waiting::New(_) => true,
            Waiting::Ready(slot) => slot.job().has_ample_room() && !waits(turn, slot),
        };
        self.waiting.iter().find(|(&turn, waiting)| can_go_on(turn, waiting)).map(|(&turn, _)| turn)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn get(&self, turn: Turn) -> Option<&Waiting> {
        self.waiting.get(&turn)
    }

    pub(super) fn take(&mut self, turn: Turn) -> Option<Waiting> {
        self.waiting.remove(&turn)
    }

    /// Drops tasks that ended while they waited, and hands out the jobs that should stop.
    fn take_stopped(&mut self) -> Vec<Slot> {
        let is_stopped = |waiting: &Waiting| match waiting {
            Waiting::New(task) => task.job.is_ended(),
            Waiting::Ready(slot) => slot.job().wanted_end().is_some(),
        };
        let stopped = self.waiting.iter().filter(|(_, waiting)| is_stopped(waiting));
        let turns: Vec<Turn> = stopped.map(|(&turn, _)| turn).collect();
        let taken = turns.iter().filter_map(|turn| self.waiting.remove(turn));
        let slots = taken.filter_map(|waiting| match waiting {
            Waiting::New(_) => None,
            Waiting::Ready(slot) => Some(*slot),
        });
        slots.collect()
    }

    /// Whether somebody could go on at once, had it a slot.
    pub(super) fn is_wanted(&self) -> bool {
        self.first(|_, _| false).is_some()
    }

    /// Ends all jobs by `error`.
    pub(super) fn fail(&mut self, error: &Error) {
        for waiting in std::mem::take(&mut self.waiting).into_values() {
            let ending = Ending::Failed(error.clone());
            match waiting {
                Waiting::New(task) => drop(task.job.finish(ending, None)),
                Waiting::Ready(slot) => slot.finish(ending),
            }
        }
    }

    /// Ends the jobs that should stop.
    pub(super) fn retire_stopped(&mut self) {
        for slot in self.take_stopped() {
            let ending = slot.job().wanted_end();
            slot.finish(ending.unwrap_or(Ending::Cancelled));
        }
    }

    /// Hands out all jobs that had begun; new tasks are dropped, which ends them.
    pub(super) fn clear(&mut self) -> Vec<Slot> {
        let waiting = std::mem::take(&mut self.waiting).into_values();
        let slots = waiting.filter_map(|waiting| match waiting {
            Waiting::New(_) => None,
            Waiting::Ready(slot) => Some(*slot),
        });
        slots.collect()
    }
}
