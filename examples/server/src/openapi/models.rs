//! Models: what is here, what is loaded, downloads.

use serde::Serialize;
use utoipa::ToSchema;

use super::errors::{Errors, Refusals};

#[derive(Serialize, ToSchema)]
struct ModelList {
    /// "list"
    object: String,
    data: Vec<Model>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Model {
    /// What requests name it by
    id: String,
    /// "model"
    object: String,
    /// Unix time in seconds
    created: u64,
    owned_by: String,
    /// "llm", "whisper" or "embedding"
    model_type: String,
    /// "available", "incomplete", "downloading", "loading", "loaded", "unloaded" (its memory was given back until
    /// it is used again) or "failed"
    state: String,
    /// Whether it is in memory
    loaded: bool,
    /// Of a load or a download, from 0 to 1
    progress: Option<f64>,
    /// Whether requests that name none get it
    is_default: Option<bool>,
    /// Whether a load can work; else `why_not` says why
    runnable: Option<bool>,
    why_not: Option<String>,
    /// Size of its files
    bytes: Option<u64>,
    quantization: Option<String>,
    architecture: Option<String>,
    /// Most tokens of a text
    context_length: Option<u64>,
}

/// All models
#[utoipa::path(get, path = "/v1/models", tag = "Models",
    responses((status = 200, description = "The models of the model folder, and those being fetched", body = ModelList), Refusals))]
pub(super) fn list_models() {}

/// One model
#[utoipa::path(get, path = "/v1/models/{id}", tag = "Models", params(("id" = String, Path, description = "Its id, which may have slashes")),
    responses((status = 200, description = "The model", body = Model), Errors))]
pub(super) fn get_model() {}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"repo_id": "ggml-org/gemma-3-1b-it-GGUF", "model_type": "llm", "stream": true}))]
struct DownloadRequest {
    /// A repository of the hub, `owner/name`, or a file of it, `owner/name/file.gguf`
    repo_id: String,
    /// "llm" (where nothing is said), "whisper" or "embedding"
    model_type: Option<String>,
    /// Its name here; the repository's where nothing is said
    local_name: Option<String>,
    /// Answer in events (SSE): progress, then the result
    stream: Option<bool>,
}

#[derive(Serialize, ToSchema)]
struct DownloadResult {
    success: bool,
    message: String,
    local_path: Option<String>,
    model_id: Option<String>,
}

/// An event while a download runs; the last one is the result.
#[derive(Serialize, ToSchema)]
struct DownloadProgress {
    /// Such as "download"; at last "done"
    phase: Option<String>,
    file: Option<String>,
    bytes: u64,
    total_bytes: Option<u64>,
    bytes_per_second: Option<f64>,
    /// From 0 to 1
    progress: f64,
}

/// Download a model
///
/// What is here whole is not fetched again, what is here in part goes on. A client that leaves stops it.
#[utoipa::path(post, path = "/v1/models/download", tag = "Models", request_body = DownloadRequest, responses(
    (status = 200, description = "It is here; with `stream` events", content(
        (DownloadResult = "application/json"), (DownloadProgress = "text/event-stream"))),
    Errors,
    (status = 502, description = "The hub cannot be reached or answers wrongly", body = super::errors::ErrorBody),
    (status = 507, description = "There is no room on the disk", body = super::errors::ErrorBody),
))]
pub(super) fn download_model() {}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"model": "whisper-tiny", "model_type": "whisper"}))]
struct LoadRequest {
    /// One of `/v1/models`
    model: String,
    /// Where models of two types have the name
    model_type: Option<String>,
    /// Of a load: answer in events (SSE) with `state` and `progress`, then the result
    stream: Option<bool>,
}

#[derive(Serialize, ToSchema)]
struct Outcome {
    success: bool,
    message: String,
}

/// Load a model
#[utoipa::path(post, path = "/v1/models/load", tag = "Models", request_body = LoadRequest,
    responses((status = 200, description = "It is loaded", body = Outcome), Errors))]
pub(super) fn load_model() {}

/// Unload a model
///
/// Requests that use it come to their end first.
#[utoipa::path(post, path = "/v1/models/unload", tag = "Models", request_body = LoadRequest,
    responses((status = 200, description = "It gives its memory back", body = Outcome), Errors))]
pub(super) fn unload_model() {}
