//! `GET /health`.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{json, Value};

use crate::app::App;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/health", get(health))
}

async fn health(State(_app): State<Arc<App>>) -> Json<Value> {
    Json(json!({"status": "ready", "version": crate::fluid::version()}))
}
