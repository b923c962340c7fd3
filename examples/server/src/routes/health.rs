//! `GET /health`: Fluid Server's fields, and what a page shows beside them.
#![forbid(unsafe_code)]

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{json, Value};

use crate::app::App;
use crate::models::{self, Key, Purpose};

const GIB: f64 = (1u64 << 30) as f64;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/health", get(health))
}

/// Asks nothing that could take time. `memory_usage_gb` is what models take as the engine counts, which
/// `--max-memory` bounds; `/metrics` has what the process takes.
async fn health(State(app): State<Arc<App>>) -> Json<Value> {
    let held = app.models.states();
    let described: Vec<Value> = held.iter().map(|(key, state)| describe(key, state)).collect();
    let loaded = |purpose: Purpose| {
        described.iter().any(|it| it["model_type"] == purpose.name() && it["state"] == "loaded")
    };
    let is_warming_up = app.warm_up.is_running();
    let engine = app.engine.info().unwrap_or_default();
    let gb = |field: &str| engine[field].as_f64().map(|bytes| bytes / GIB);
    Json(json!({
        "status": if is_warming_up { "warming_up" } else { "ready" },
        "models_loaded": {
            "llm": loaded(Purpose::Llm),
            "whisper": loaded(Purpose::Whisper),
            "embedding": loaded(Purpose::Embedding),
        },
        "device": device(&app, &described),
        "available_devices": app.devices.ids(),
        "memory_usage_gb": gb("memory_bytes"),
        "warmup_status": app.warm_up.describe(&tasks(&described)),
        "version": crate::fluid::version(),
        "memory_limit_gb": gb("max_memory_bytes").filter(|limit| *limit > 0.0),
        "uptime_seconds": app.started.elapsed().as_secs_f64(),
        "jobs": described.iter().filter_map(|model| model["jobs"].as_u64()).sum::<u64>(),
        "models": described,
        "downloads": app.downloads.all(),
    }))
}

fn describe(key: &Key, state: &models::State) -> Value {
    let mut described = json!({"id": key.1, "model_type": key.0.name()});
    for (field, value) in state.describe().as_object().into_iter().flatten() {
        described[field] = value.clone();
    }
    described
}

/// The device in use, of the language model first; where no model is loaded, the one asked for.
fn device(app: &App, described: &[Value]) -> String {
    let in_use = Purpose::ALL.into_iter().find_map(|purpose| {
        let mut of_purpose = described.iter().filter(|it| it["model_type"] == purpose.name());
        of_purpose.find_map(|model| model["device"].as_str())
    });
    in_use.unwrap_or(app.config.device.name()).to_owned()
}

/// What is being done, in words.
fn tasks(described: &[Value]) -> String {
    let of_model = |model: &Value| {
        let verb = match model["state"].as_str()? {
            "loading" => "Loading",
            "downloading" => "Downloading",
            _ => return None,
        };
        let percent = (model["progress"].as_f64().unwrap_or(0.0) * 100.0).floor();
        let (kind, id) = (model["model_type"].as_str()?, model["id"].as_str()?);
        Some(format!("{verb} {kind} model {id} ({percent} %)"))
    };
    let tasks: Vec<String> = described.iter().filter_map(of_model).collect();
    if tasks.is_empty() {
        "Starting".to_owned()
    } else {
        tasks.join(", ")
    }
}
