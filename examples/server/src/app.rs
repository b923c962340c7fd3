//! What all requests share.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{json, Value};

use crate::cli::Config;
use crate::fluid::{Engine, Result};
use crate::kept::Kept;
use crate::metrics::Metrics;
use crate::models::Models;

pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) engine: Engine,
    pub(crate) models: Arc<Models>,
    pub(crate) metrics: Metrics,
    pub(crate) kept: Kept,
    pub(crate) started: Instant,
}

impl App {
    pub(crate) fn new(config: Config) -> Result<Arc<Self>> {
        let engine = Engine::new(&options(&config))?;
        let models = Arc::new(Models::new(engine.clone(), config.clone()));
        let (metrics, started) = (Metrics::new(), Instant::now());
        Ok(Arc::new(Self { config, engine, models, kept: Kept::default(), metrics, started }))
    }
}

/// The engine's options.
fn options(config: &Config) -> Value {
    let mut options = json!({
        "model_dir": config.model_path,
        "max_memory": config.max_memory,
        "idle_timeout": config.idle_timeout * 60.0,
        "idle_check_interval": config.idle_check_interval,
        "offline": config.offline,
    });
    if let Some(folder) = &config.cache_dir {
        options["cache_dir"] = json!(folder);
    }
    options
}
