//! What all requests share.
#![forbid(unsafe_code)]

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{json, Value};
use tokio::time::timeout;

use crate::cli::Config;
use crate::devices::Devices;
use crate::downloads::Downloads;
use crate::fluid::{Engine, Result};
use crate::kept::Kept;
use crate::metrics::Metrics;
use crate::models::Models;
use crate::warm_up::WarmUp;

/// How long the first models are loaded before devices are asked for.
const HEAD_START: Duration = Duration::from_secs(3);

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
    /// which would get in the way of that, but not much: a model that is fetched first takes its time.
    pub(crate) fn begin(self: &Arc<Self>) {
        let app = Arc::clone(self);
        tokio::spawn(async move {
            let mut warm_up = pin!(app.warm_up.run(&app.models));
            let has_ended = timeout(HEAD_START, warm_up.as_mut()).await.is_ok();
            let rest = async {
                if !has_ended {
                    warm_up.await;
                }
            };
            tokio::join!(rest, app.devices.ask(&app.engine));
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
