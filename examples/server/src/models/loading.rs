//! A model on its way into memory, and those who wait for it.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use fluid::ffi::FLUID_OK;
use serde_json::{json, Value};
use tokio::sync::watch;

use crate::error::{ApiError, ApiResult};
use crate::fluid::{Failure, Job, Kind, Model, Result};
use crate::log;

/// How far a model is.
#[derive(Clone)]
pub(crate) enum State {
    Loading {
        /// From 0 to 1.
        progress: f64,
        /// Of a model that is being fetched, the library's JSON about it.
        download: Option<Value>,
    },
    Ready(Arc<Model>),
    Failed(Failure),
}

/// What is known of a load, from now on.
pub(crate) type Progress = watch::Receiver<State>;

/// At the beginning of a load.
pub(super) const BEGUN: State = State::Loading { progress: 0.0, download: None };

impl State {
    /// Whether it was loaded and cannot be used any more.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self, Self::Ready(model) if model.is_broken())
    }

    pub(crate) fn is_loading(&self) -> bool {
        matches!(self, Self::Loading { .. })
    }

    /// `{state, progress, ...}`: "downloading" with what the library says of it, "loading", "loaded" and
    /// "unloaded" (it gave its memory back until it is used again) with jobs, memory and device, or "failed".
    pub(crate) fn describe(&self) -> Value {
        match self {
            Self::Loading { progress, download: None } => {
                json!({"state": "loading", "progress": progress})
            }
            Self::Loading { progress, download: Some(download) } => {
                let mut described = download.clone();
                described["state"] = json!("downloading");
                described["progress"] = json!(progress);
                described
            }
            Self::Ready(model) => {
                let mut info = model.info().unwrap_or_default();
                let mut described = info["residence"].take();
                for field in ["device", "context_length", "n_parallel", "warm_up"] {
                    described[field] = info[field].take();
                }
                described
            }
            Self::Failed(failure) => json!({"state": "failed", "message": failure.message}),
        }
    }
}

/// Tells how far the load of `name` is until it has ended; its outcome is returned, and not told. None: nobody
/// wants to know it any more, so the load was cancelled.
pub(super) async fn follow(
    name: &str,
    mut job: Job,
    teller: &watch::Sender<State>,
) -> Option<Result<Model>> {
    loop {
        let event = tokio::select! {
            event = job.next() => event,
            () = teller.closed() => return None,
        };
        let Some(event) = event else { break };
        match event.kind {
            Kind::Progress => {
                let download = serde_json::from_str(&event.json).ok();
                teller.send_replace(State::Loading { progress: event.progress, download });
            }
            Kind::Notice => log::warning!("{name}: {}", event.text),
            _ => {}
        }
    }
    let end = job.end().await;
    let (status, mut message) = (end.status, end.message);
    if let (FLUID_OK, Some(model)) = (status, end.model) {
        return Some(Ok(model));
    }
    if message.is_empty() {
        message = format!("the load of {name} was cancelled");
    }
    Some(Err(Failure { status, message }))
}

/// Waits until the model `name` is loaded, or says after `patience` what is still to be done.
pub(super) async fn wait(
    name: &str,
    mut state: Progress,
    patience: Duration,
) -> ApiResult<Arc<Model>> {
    // Where nobody tells any more, the last that was told counts.
    let _ = tokio::time::timeout(patience, state.wait_for(|state| !state.is_loading())).await;
    let now = state.borrow().clone();
    match now {
        State::Ready(model) => Ok(model),
        State::Failed(failure) => Err(failed(failure)),
        State::Loading { progress, download } => Err(loading(name, progress, download)),
    }
}

/// Why a model was not loaded.
pub(crate) fn failed(failure: Failure) -> ApiError {
    let mut error = ApiError::from(failure);
    if error.status.is_client_error() {
        error.param = Some("model".into());
    }
    error
}

fn loading(name: &str, progress: f64, download: Option<Value>) -> ApiError {
    let percent = (progress * 100.0).floor();
    let what = match download {
        None => format!("loaded, {percent} % of it is done"),
        Some(download) => {
            let mb = |field: &str| download[field].as_u64().unwrap_or(0) / 1_000_000;
            format!("downloaded, {} of {} MB are here", mb("bytes"), mb("total_bytes"))
        }
    };
    ApiError::loading(format!("model: {name} is being {what}; try again"))
}
