//! What is answered at which path; each file has the routes of one noun.

mod chat;
mod health;

use std::sync::Arc;

use axum::Router;

use crate::app::App;

pub(crate) fn all(app: Arc<App>) -> Router {
    Router::new().merge(chat::routes()).merge(health::routes()).with_state(app)
}
