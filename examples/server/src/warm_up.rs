//! The models that are loaded before anybody asks for them.
//!
//! Language model and Whisper are loaded side by side: of one the disk is read while the other is compiled, and
//! what has to be fetched first does not hold up what is here.
#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{json, Value};

use crate::log;
use crate::models::{Models, Purpose};

/// What is loaded at first.
const FIRST: [Purpose; 2] = [Purpose::Whisper, Purpose::Llm];

/// How far the warm-up is; nothing where there is none.
pub(crate) struct WarmUp(Mutex<Option<Course>>);

struct Course {
    begun: Instant,
    took: Option<Duration>,
    stages: [(Purpose, Stage); 2],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Loading,
    Ready,
    Failed,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}

impl WarmUp {
    pub(crate) fn new(is_wanted: bool) -> Self {
        let stages = FIRST.map(|purpose| (purpose, Stage::Loading));
        let course = is_wanted.then(|| Course { begun: Instant::now(), took: None, stages });
        Self(Mutex::new(course))
    }

    fn course(&self) -> MutexGuard<'_, Option<Course>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads the default models, and returns when all are loaded or have failed.
    pub(crate) async fn run(&self, models: &Arc<Models>) {
        if !self.is_running() {
            return;
        }
        let [whisper, llm] = FIRST.map(|purpose| self.load(models, purpose));
        tokio::join!(whisper, llm);
        if let Some(course) = self.course().as_mut() {
            let took = course.begun.elapsed();
            course.took = Some(took);
            log::info!("warm-up: {} in {:.1} s", course.told(), took.as_secs_f64());
        }
    }

    async fn load(&self, models: &Arc<Models>, purpose: Purpose) {
        let loaded = models.load_default(purpose).await;
        if let Err(error) = &loaded {
            log::warning!("warm-up: {}", error.message);
        }
        let stage = if loaded.is_ok() { Stage::Ready } else { Stage::Failed };
        if let Some(course) = self.course().as_mut() {
            course.stages.iter_mut().filter(|of| of.0 == purpose).for_each(|of| of.1 = stage);
        }
    }

    /// Whether models are still being loaded.
    pub(crate) fn is_running(&self) -> bool {
        self.course().as_ref().is_some_and(|course| course.took.is_none())
    }

    /// Fluid Server's `warmup_status`; null where there is no warm-up. `current_task` has what `tasks` say of the
    /// models that are being loaded.
    pub(crate) fn describe(&self, tasks: &str) -> Value {
        let course = self.course();
        let Some(course) = course.as_ref() else { return Value::Null };
        let is_running = course.took.is_none();
        let mut described = json!({
            "in_progress": is_running,
            "whisper": "",
            "llm": "",
            "current_task": if is_running { tasks } else { "" },
            "elapsed_seconds": course.took.unwrap_or_else(|| course.begun.elapsed()).as_secs(),
        });
        for (purpose, stage) in course.stages {
            described[purpose.name()] = json!(stage.name());
        }
        described
    }
}

impl Course {
    fn told(&self) -> String {
        let told =
            self.stages.map(|(purpose, stage)| format!("{} {}", purpose.name(), stage.name()));
        told.join(", ")
    }
}
