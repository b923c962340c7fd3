//! What models' files were seen to say, so that a list need not read each header again.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::local::Local;
use crate::backend::{self, Facts};
use crate::error::Result;

/// Models that are remembered; behind these all are forgotten.
const MOST: usize = 4_096;

/// Facts by path, for as long as the files look the same. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen(Arc<Mutex<HashMap<PathBuf, Look>>>);

#[derive(Debug)]
struct Look {
    stamp: Stamp,
    facts: Facts,
}

/// How files look from outside: their bytes, their number, and when the last one was changed.
type Stamp = (u64, usize, SystemTime);

impl Seen {
    /// What the files of `model` say, see [`backend::look`]; errors are not remembered.
    pub(super) fn look(&self, model: &Local) -> Result<Facts> {
        let Some(modified) = model.modified else {
            return backend::look(&model.path);
        };
        let stamp = (model.bytes, model.files, modified);
        if let Some(look) = self.0.lock().get(&model.path).filter(|look| look.stamp == stamp) {
            return Ok(look.facts.clone());
        }
        let facts = backend::look(&model.path)?;
        let mut seen = self.0.lock();
        if seen.len() >= MOST {
            seen.clear();
        }
        seen.insert(model.path.clone(), Look { stamp, facts: facts.clone() });
        Ok(facts)
    }
}
