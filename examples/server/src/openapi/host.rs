//! How the server does.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::errors::Refusals;

#[derive(Serialize, ToSchema)]
struct About {
    message: String,
    version: String,
    /// Paths by what they are for
    endpoints: Value,
}

/// The page, or what is here
#[utoipa::path(get, path = "/", tag = "Host", security(()), responses(
    (status = 200, description = "For who accepts `text/html` a page, else the main routes", content(
        (About = "application/json"), (String = "text/html")))))]
pub(super) fn index() {}

/// This description for reading
#[utoipa::path(get, path = "/docs", tag = "Host", security(()),
    responses((status = 200, description = "A page", body = String, content_type = "text/html")))]
pub(super) fn docs() {}

/// This description
#[utoipa::path(get, path = "/openapi.json", tag = "Host", security(()),
    responses((status = 200, description = "An OpenAPI 3.1 document", body = Value)))]
pub(super) fn document() {}

#[derive(Serialize, ToSchema)]
struct Health {
    /// "warming_up" or "ready"
    status: String,
    /// By type, whether one is loaded
    models_loaded: Value,
    /// The device in use
    device: String,
    available_devices: Vec<String>,
    memory_usage_gb: Value,
    warmup_status: Option<WarmUp>,
    version: String,
}

#[derive(Serialize, ToSchema)]
struct WarmUp {
    in_progress: bool,
    /// How far the speech model is
    whisper: String,
    /// How far the language model is
    llm: String,
    current_task: String,
    elapsed_seconds: Option<f64>,
}

/// Whether the server is ready
#[utoipa::path(get, path = "/health", tag = "Host", security(()),
    responses((status = 200, description = "It answers", body = Health)))]
pub(super) fn health() {}

/// Figures for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "Host",
    responses((status = 200, description = "Prometheus' text format", body = String, content_type = "text/plain"), Refusals))]
pub(super) fn metrics() {}
