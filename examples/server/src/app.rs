//! What all requests share.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{json, Value};

use crate::cli::Config;
use crate::devices::Devices;
use crate::downloads::Downloads;
use crate::fluid::{Engine, Result};
use crate::kept::Kept;
use crate::metrics::Metrics;
use crate::models::Models;
use crate::warm_up::WarmUp;

pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) engine: Engine,
    pub(crate) models: Arc<Models>,
    pub(crate) devices: Devices,
    pub(crate) downloads: Arc<Downloads>,
    pub(crate) warm_up: WarmUp,
    pub(crate) metrics: Metrics,
    pub(crate) kept: Kept,
    pub(crate) started: Instant,
}

impl App {
    pub(crate) fn new(config: Config) -> Result<Arc<Self>> {
        let engine = Engine::new(&options(&config))?;
        let models = Arc::new(Models::new(engine.clone(), config.clone()));
        Ok(Arc::new(Self {
            engine,
            models,
            devices: Devices::default(),
            downloads: Arc::default(),
            warm_up: WarmUp::new(!config.no_warm_up),
            metrics: Metrics::new(),
            kept: Kept::default(),
            started: Instant::now(),
            config,
        }))
    }

    /// What is done in the background once the server listens: models are loaded, then devices are asked for,
    /// which would get in the way of that.
    pub(crate) fn begin(self: &Arc<Self>) {
        let app = Arc::clone(self);
        tokio::spawn(async move {
            app.warm_up.run(&app.models).await;
            app.devices.ask(&app.engine).await;
        });
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
