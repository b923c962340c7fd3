//! The description of all routes, `/openapi.json`.
//!
//! Bodies go through the host as they came, so no handler has these types: they stand here for the description
//! alone, with the main fields. What else a request may have is in the library's header.
#![forbid(unsafe_code)]
#![allow(dead_code, reason = "the derives read these types and functions, nobody else does")]

mod audio;
mod chat;
mod embeddings;
mod errors;
mod host;
mod models;
mod response;

use std::sync::LazyLock;

use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    // Names and texts alone: they always are JSON.
    Document::openapi().to_json().expect("a description of our own")
});

/// An OpenAPI 3.1 document in JSON.
pub(crate) fn document() -> &'static str {
    &DOCUMENT
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Fluid Server",
        description = "OpenAI's protocol over local models. Requests may have more fields than are listed here: those of \
            OpenAI's API that have a meaning here, and those of libfluid. A field that would change the answer in a way \
            that is not supported is refused by its name. Some routes have their llama-server names too, such as \
            `/tokenize` and `/models`.",
    ),
    paths(
        chat::chat, chat::complete, chat::tokenize, chat::detokenize,
        response::create_response, response::get_response, response::delete_response, response::list_input_items,
        response::count_input_tokens, response::cancel_response,
        embeddings::embed, embeddings::embed_batch, embeddings::list_embedding_models, embeddings::embedding_info, embeddings::rerank,
        audio::transcribe, audio::translate,
        models::list_models, models::get_model, models::download_model, models::load_model, models::unload_model,
        host::index, host::docs, host::document, host::health, host::metrics,
    ),
    tags(
        (name = "Text", description = "Chats and completions, streamed or whole"),
        (name = "Responses", description = "OpenAI's newer form of chats"),
        (name = "Embeddings", description = "Vectors of texts, and documents ranked by a query"),
        (name = "Speech", description = "Transcripts and translations of audio files"),
        (name = "Models", description = "What is here, what is loaded, and downloads"),
        (name = "Host", description = "How the server does, and this description"),
    ),
    modifiers(&Key),
    security((), ("key" = [])),
)]
struct Document;

/// The key, which a server that was started with `--api-key` wants.
struct Key;

impl Modify for Key {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("key", scheme);
    }
}
