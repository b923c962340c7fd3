//! What is answered at which path; each file has the routes of one noun.

mod audio;
mod body;
mod chat;
mod chunks;
mod completions;
mod embeddings;
mod health;
mod metrics;
mod models;
mod page;
mod rerank;
mod responses;
mod stream;
mod tokenize;

use std::sync::Arc;

use axum::Router;

use crate::app::App;

pub(crate) fn all(app: Arc<App>) -> Router {
    Router::new()
        .merge(audio::routes())
        .merge(chat::routes())
        .merge(completions::routes())
        .merge(embeddings::routes())
        .merge(health::routes())
        .merge(metrics::routes())
        .merge(models::routes())
        .merge(page::routes())
        .merge(rerank::routes())
        .merge(responses::routes())
        .merge(tokenize::routes())
        .with_state(app)
}
