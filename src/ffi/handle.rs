//! Handles: keys with a generation, looked up and never dereferenced.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::error::{Error, ErrorKind, Result};

/// Owns models and jobs. Make one with `fluid_engine_new`, free it with `fluid_engine_free`.
pub struct fluid_engine {
    _opaque: (),
}

/// A loaded model. Free it with `fluid_model_free`.
pub struct fluid_model {
    _opaque: (),
}

/// A long act, its events and its result. Free it with `fluid_job_free`.
pub struct fluid_job {
    _opaque: (),
}

/// The events of many jobs, for one reader. Free it with `fluid_queue_free`.
pub struct fluid_queue {
    _opaque: (),
}

#[cfg(not(target_pointer_width = "64"))]
compile_error!("handles need pointers of 64 bits");

/// A key: kind in the top 16 bits, then 24 bits of generation, then 24 bits of index. No pointer
/// of a program has those top bits, so a foreign pointer is never taken for a handle.
const INDEX_BITS: u32 = 24;
const MASK: u64 = (1 << INDEX_BITS) - 1;

struct Entry<T> {
    generation: u64,
    value: Option<Arc<T>>,
}

impl<T> Entry<T> {
    /// Makes the handles to this place stale, and gives the place to `free`.
    fn retire(&mut self, index: usize, free: &mut Vec<usize>) {
        self.generation += 1;
        // A place whose generations are used up is never used again.
        if self.generation <= MASK {
            free.push(index);
        }
    }
}

struct Entries<T> {
    all: Vec<Entry<T>>,
    free: Vec<usize>,
}

/// The live handles of one kind.
pub(super) struct Table<T> {
    tag: u64,
    noun: &'static str,
    entries: RwLock<Entries<T>>,
}

impl<T> Table<T> {
    /// A table of handles called `noun`; each table has a `tag` of its own.
    pub(super) const fn new(tag: u16, noun: &'static str) -> Self {
        Self {
            tag: tag as u64,
            noun,
            entries: RwLock::new(Entries { all: Vec::new(), free: Vec::new() }),
        }
    }

    /// A handle for `value`.
    pub(super) fn insert(&self, value: Arc<T>) -> Result<u64> {
        let mut entries = self.entries.write();
        let index = match entries.free.pop() {
            Some(index) => index,
            None => {
                let index = entries.all.len();
                if index as u64 > MASK {
                    let message =
                        format!("there are {} {} handles already; free some", index, self.noun);
                    return Err(Error::new(ErrorKind::OutOfMemory, message));
                }
                entries.all.push(Entry { generation: 1, value: None });
                index
            }
        };
        let entry = &mut entries.all[index];
        entry.value = Some(value);
        Ok(self.tag << 48 | entry.generation << INDEX_BITS | index as u64)
    }

    /// What `key` stands for.
    pub(super) fn get(&self, key: u64) -> Result<Arc<T>> {
        let entries = self.entries.read();
        let entry = entries.all.get((key & MASK) as usize);
        entry
            .filter(|entry| self.matches(entry, key))
            .and_then(|entry| entry.value.clone())
            .ok_or_else(|| self.invalid(key))
    }

    /// Takes `key` out of the table: from here on it is stale.
    pub(super) fn remove(&self, key: u64) -> Result<Arc<T>> {
        let index = (key & MASK) as usize;
        let mut entries = self.entries.write();
        let Entries { all, free } = &mut *entries;
        let entry = all.get_mut(index).filter(|entry| self.matches(entry, key));
        let Some(entry) = entry else {
            return Err(self.invalid(key));
        };
        let value = entry.value.take();
        entry.retire(index, free);
        value.ok_or_else(|| self.invalid(key))
    }

    /// Takes out what `chosen` picks: those handles are stale from here on.
    pub(super) fn remove_all(&self, chosen: impl Fn(&T) -> bool) -> Vec<Arc<T>> {
        let mut entries = self.entries.write();
        let Entries { all, free } = &mut *entries;
        let mut taken = Vec::new();
        for (index, entry) in all.iter_mut().enumerate() {
            if let Some(value) = entry.value.take_if(|value| chosen(value)) {
                entry.retire(index, free);
                taken.push(value);
            }
        }
        taken
    }

    fn matches(&self, entry: &Entry<T>, key: u64) -> bool {
        key >> 48 == self.tag && key >> INDEX_BITS & MASK == entry.generation
    }

    fn invalid(&self, key: u64) -> Error {
        let noun = self.noun;
        let cause = match key >> 48 {
            tag if tag == self.tag => "was freed, by itself or with its engine",
            0 if key == 0 => "is NULL",
            _ => "is no handle of this kind",
        };
        Error::new(ErrorKind::InvalidHandle, format!("{noun}: the handle {cause}"))
    }
}
