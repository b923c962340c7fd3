//! The downloads that run, for those who look at the server.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{json, Value};

use crate::models::Purpose;

/// All that run.
#[derive(Default)]
pub(crate) struct Downloads(Mutex<Running>);

#[derive(Default)]
struct Running {
    next: u64,
    of: BTreeMap<u64, Value>,
}

/// One of them; dropped when it has ended.
pub(crate) struct Ticket {
    downloads: Arc<Downloads>,
    number: u64,
}

impl Downloads {
    fn running(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that `name` is being fetched.
    pub(crate) fn add(self: &Arc<Self>, purpose: Purpose, name: &str) -> Ticket {
        let mut running = self.running();
        running.next += 1;
        let number = running.next;
        let begun = json!({"id": name, "model_type": purpose.name(), "progress": 0.0});
        running.of.insert(number, begun);
        Ticket { downloads: Arc::clone(self), number }
    }

    /// `{id, model_type, progress}` of each, and what the library says of it.
    pub(crate) fn all(&self) -> Vec<Value> {
        self.running().of.values().cloned().collect()
    }
}

impl Ticket {
    /// Notes how far it is; `told` has what the library says.
    pub(crate) fn note(&self, told: &Value) {
        let mut running = self.downloads.running();
        if let (Some(own), Some(told)) = (running.of.get_mut(&self.number), told.as_object()) {
            for (field, value) in told {
                own[field] = value.clone();
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.downloads.running().of.remove(&self.number);
    }
}
