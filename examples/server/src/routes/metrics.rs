//! `GET /metrics`, in Prometheus' text format.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::Router;
use serde_json::Value;

use crate::app::App;
use crate::metrics::Page;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let mut page = Page::default();
    app.metrics.write(&mut page);
    let name = "fluid_time_to_first_token_seconds";
    page.head(name, "histogram", "From the start of a model's work to its first words.");
    page.histogram(name, &[], app.engine.first_token());
    if let Ok(info) = app.engine.info() {
        models(&mut page, &info);
    }
    if let Some(bytes) = resident() {
        page.gauge("process_resident_memory_bytes", "Memory of the process.", bytes);
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.0).into_response()
}

fn models(page: &mut Page, info: &Value) {
    let models = info["models"].as_array().map_or(&[][..], Vec::as_slice);
    let loaded = models.iter().filter(|model| model["state"] == "loaded").count();
    page.gauge("fluid_models_loaded", "Models whose weights are in memory.", loaded);
    let bytes = info["memory_bytes"].as_u64().unwrap_or_default();
    page.gauge("fluid_models_memory_bytes", "What they take, as estimated.", bytes);
    page.head("fluid_model_jobs", "gauge", "Requests that a model works on or that wait for it.");
    // Models of different kinds may have one name, and a line may be there but once.
    let mut jobs = BTreeMap::<&str, u64>::new();
    for model in models {
        *jobs.entry(model["model"].as_str().unwrap_or_default()).or_default() +=
            model["jobs"].as_u64().unwrap_or_default();
    }
    for (name, jobs) in jobs {
        page.line("fluid_model_jobs", &[("model", name)], jobs);
    }
}

/// Bytes of memory that the process has, where the system has a file that tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}
