//! How much memory the models of an engine take together, and who gives way to whom.
//!
//! Bytes are claimed before a load and given back after the native state is gone. Those who want more
//! than is left stand in one line: whoever is first has others give way, the least recently used one
//! first, and nobody overtakes.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::residence::{Reason, Residence, Tenancy};
use crate::error::{Error, ErrorKind, Result};

/// How often somebody in the line looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(20);

const MEBIBYTE: u64 = 1 << 20;

/// Whether a claim waits for models that are busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// A new model: it gets what idle ones have, or fails.
    None,
    /// A model that jobs wait for: busy ones end what they began and give way.
    Waits,
}

/// The memory of an engine's models.
pub(super) struct Budget {
    limit: Option<u64>,
    book: Mutex<Book>,
    changed: Condvar,
}

#[derive(Default)]
struct Book {
    taken: u64,
    tenants: Vec<Weak<Residence>>,
    line: VecDeque<u64>,
    tickets: u64,
}

/// A place in the line; left when dropped, also by a panic of whoever stands there.
struct Ticket<'a>(&'a Budget, u64);

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.0.book.lock().line.retain(|&other| other != self.1);
        self.0.changed.notify_all();
    }
}

/// Bytes that a model has; given back when dropped.
pub(super) struct Claim {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Claim {
    /// `tenant` turned out to take so many bytes.
    pub(super) fn correct(&mut self, tenant: &Residence, bytes: u64) {
        let mut book = self.budget.book.lock();
        book.taken = book.taken - self.bytes + bytes;
        self.bytes = bytes;
        drop(book);
        tenant.takes(bytes);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.budget.book.lock().taken -= self.bytes;
        self.budget.changed.notify_all();
    }
}

impl Budget {
    /// `limit` in bytes; without one everything is granted.
    pub(super) fn new(limit: Option<u64>) -> Arc<Self> {
        Arc::new(Self { limit, book: Mutex::default(), changed: Condvar::new() })
    }

    pub(super) fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// Bytes that `tenant` could have at most, were all others gone that are not pinned.
    pub(super) fn most(&self, tenant: &Residence) -> Option<u64> {
        let pinned = self.others(&self.book.lock(), tenant).sum(|_, other| other.is_pinned());
        Some(self.limit?.saturating_sub(pinned))
    }

    /// Bytes that a new model could have at most: were all gone that are not pinned, and beside all
    /// that are there. `None` without a limit.
    pub(super) fn room(&self) -> Option<(u64, u64)> {
        let limit = self.limit?;
        let tenants = self.tenants();
        let pinned = tenants.iter().filter(|model| model.is_pinned());
        let pinned: u64 = pinned.map(|model| model.tenancy().bytes).sum();
        Some((limit.saturating_sub(pinned), limit.saturating_sub(self.taken())))
    }

    /// Bytes that are claimed.
    pub(super) fn taken(&self) -> u64 {
        self.book.lock().taken
    }

    /// Counts `tenant` among those who may have to give way.
    pub(super) fn join(&self, tenant: &Arc<Residence>) {
        let mut book = self.book.lock();
        book.tenants.retain(|tenant| tenant.strong_count() > 0);
        book.tenants.push(Arc::downgrade(tenant));
    }

    /// All models that are there, in the order they came.
    pub(super) fn tenants(&self) -> Vec<Arc<Residence>> {
        self.book.lock().tenants.iter().filter_map(Weak::upgrade).collect()
    }

    /// `bytes` for `tenant`, when there is room; `None` once they are not `wanted` any more, which is
    /// asked every 20 ms. An error tells the sums: the others that stay in any case leave too
    /// little, or without patience, those that are busy.
    pub(super) fn claim(
        self: &Arc<Self>,
        tenant: &Residence,
        bytes: u64,
        patience: Patience,
        wanted: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Claim>> {
        // Dropped after the lock.
        let ticket = self.stand_in_line();
        let mut book = self.book.lock();
        let granted = loop {
            if self.limit.is_none() || book.line.front() == Some(&ticket.1) {
                match self.settle(&book, tenant, bytes, patience) {
                    Ok(false) => {}
                    done => break done,
                }
            }
            self.changed.wait_for(&mut book, LOOK);
            if !MutexGuard::unlocked(&mut book, &mut *wanted) {
                break Ok(false);
            }
        };
        if !granted? {
            return Ok(None);
        }
        book.taken += bytes;
        drop(book);
        tenant.takes(bytes);
        Ok(Some(Claim { budget: Arc::clone(self), bytes }))
    }

    fn stand_in_line(&self) -> Ticket<'_> {
        let mut book = self.book.lock();
        book.tickets += 1;
        let number = book.tickets;
        book.line.push_back(number);
        Ticket(self, number)
    }

    /// Whether there is room for `bytes` now. If not, others were asked to give way.
    fn settle(
        &self,
        book: &Book,
        tenant: &Residence,
        bytes: u64,
        patience: Patience,
    ) -> Result<bool> {
        let Some(limit) = self.limit else { return Ok(true) };
        let free = limit.saturating_sub(book.taken);
        if bytes <= free {
            return Ok(true);
        }
        let mut others = self.others(book, tenant);
        let coming = others.sum(|them, _| them.leaving);
        let idle = others.sum(|them, _| them.movable && !them.leaving && !them.busy);
        let pinned = others.sum(|_, other| other.is_pinned());
        let busy = match patience {
            Patience::None => free + coming + idle < bytes,
            Patience::Waits => false,
        };
        if busy || pinned.saturating_add(bytes) > limit {
            return Err(others.shortage(tenant.name(), bytes, limit));
        }
        others.ask(bytes.saturating_sub(free + coming));
        Ok(false)
    }

    fn others(&self, book: &Book, tenant: &Residence) -> Others {
        let others = book.tenants.iter().filter_map(Weak::upgrade);
        let others = others.filter(|other| !std::ptr::eq(&raw const **other, tenant));
        Others(others.map(|other| (other.tenancy(), other)).collect())
    }
}

/// The models beside the one that wants memory.
struct Others(Vec<(Tenancy, Arc<Residence>)>);

impl Others {
    fn sum(&self, counts: impl Fn(&Tenancy, &Residence) -> bool) -> u64 {
        self.0.iter().filter(|(them, other)| counts(them, other)).map(|(them, _)| them.bytes).sum()
    }

    /// Asks for `bytes`: those without work first, and of them the least recently used one.
    fn ask(&mut self, bytes: u64) {
        self.0.sort_by_key(|(them, _)| (them.busy, them.last_used));
        let mut missing = bytes;
        for (them, other) in self.0.iter().filter(|(them, _)| them.movable && !them.leaving) {
            if missing == 0 {
                return;
            }
            if other.ask(Reason::Memory) {
                missing = missing.saturating_sub(them.bytes);
            }
        }
    }

    fn shortage(&self, name: &str, bytes: u64, limit: u64) -> Error {
        let mib = |bytes: u64| bytes.div_ceil(MEBIBYTE);
        let list = self.0.iter().filter(|(them, _)| them.bytes > 0).map(|(them, other)| {
            let why = match (other.is_pinned(), them.busy) {
                (true, _) => "pinned",
                (false, true) => "busy",
                (false, false) => "idle",
            };
            format!("{} MiB by {} ({why})", mib(them.bytes), other.name())
        });
        let list: Vec<String> = list.collect();
        let taken = if list.is_empty() { "nothing".to_owned() } else { list.join(", ") };
        let message = format!(
            "{name} needs {} MiB; of max_memory, {} MiB, are taken: {taken}; free a model, ask for less context, or raise max_memory",
            mib(bytes),
            limit / MEBIBYTE
        );
        Error::new(ErrorKind::OutOfMemory, message)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{catch_unwind, AssertUnwindSafe};

    use super::*;

    #[test]
    fn a_place_in_the_line_is_left_also_by_a_panic() {
        let budget = Budget::new(Some(10));
        let first = budget.stand_in_line();
        let gone = catch_unwind(AssertUnwindSafe(|| {
            let _second = budget.stand_in_line();
            panic!("on purpose");
        }));
        assert!(gone.is_err());
        let third = budget.stand_in_line();
        assert_eq!(budget.book.lock().line, [first.1, third.1]);
        drop(first);
        assert_eq!(budget.book.lock().line, [third.1]);
    }
}
