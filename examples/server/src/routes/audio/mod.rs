//! `POST /v1/audio/transcriptions` and `/v1/audio/translations`.
#![forbid(unsafe_code)]

mod answer;
mod events;
mod form;

use std::sync::Arc;

use axum::extract::multipart::MultipartRejection;
use axum::extract::{Multipart, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use axum::Router;
use serde_json::{json, Value};

use self::answer::Format;
use self::events::Events;
use self::form::Form;
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::models::Purpose;
use crate::routes::body::{flag, given};
use crate::routes::stream;

/// What a multipart form is refused as.
type Given = Result<Multipart, MultipartRejection>;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/audio/transcriptions", post(transcribe))
        .route("/v1/audio/translations", post(translate))
}

async fn transcribe(State(app): State<Arc<App>>, form: Given) -> ApiResult<Response> {
    answer(&app, read(form).await?).await
}

async fn translate(State(app): State<Arc<App>>, form: Given) -> ApiResult<Response> {
    let mut form = read(form).await?;
    form.fields.insert("task".into(), json!("translate"));
    answer(&app, form).await
}

async fn read(form: Given) -> ApiResult<Form> {
    match form {
        Ok(multipart) => Form::read(multipart).await,
        Err(rejection) => {
            let message =
                format!("expected a form (multipart/form-data): {}", rejection.body_text());
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            Err(ApiError::new(status, Some("unsupported_media_type"), message))
        }
    }
}

/// Has the speech written down. Every field of the form goes to the library, which says what is wrong with them.
async fn answer(app: &Arc<App>, mut form: Form) -> ApiResult<Response> {
    let audio = form.file.take().ok_or_else(|| {
        ApiError::invalid("file", "file: send a recording in a field of this name")
    })?;
    let format = Format::of(&form.fields)?;
    let streamed = flag(&form.fields, "stream", "stream")?.unwrap_or(false);
    if streamed && !format.streams() {
        let message =
            "response_format: subtitles are not streamed; take \"json\" or \"verbose_json\"";
        return Err(ApiError::invalid("response_format", message));
    }
    if let Some(asked) = format.asked(streamed) {
        form.fields.insert("response_format".into(), json!(asked));
    }
    // The server's choice, which is what it does unasked.
    if form.fields.get("chunking_strategy") == Some(&json!("auto")) {
        form.fields.remove("chunking_strategy");
    }
    let name = given(&form.fields, "model").and_then(Value::as_str);
    let (id, model) = app.models.get(&[Purpose::Whisper], name).await?;
    let progress = form.fields.remove("progress") == Some(json!(true));
    let request = Value::Object(form.fields).to_string();
    // An hour's copy takes a while.
    let job = tokio::task::block_in_place(|| model.transcribe(&audio, &request))?;
    drop(audio);
    if streamed {
        let events = Events::new(format, progress);
        return stream::respond(app, &id, vec![job], events).await.map_err(of_file);
    }
    let result = stream::awaited_text(&id, job).await.map_err(of_file)?;
    Ok(format.response(result))
}

/// What is wrong with a recording is wrong with its field.
fn of_file(mut error: ApiError) -> ApiError {
    if error.code == Some("invalid_audio") {
        error.param = Some("file".into());
    }
    error
}
