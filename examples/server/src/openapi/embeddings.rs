//! Vectors and rankings.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::errors::{Errors, Refusals};
use super::models::Model;

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"input": ["A cat sat on the mat.", "The dog chased the ball."]}))]
struct EmbeddingRequest {
    /// An embedding model of `/v1/models`; nothing for the server's own
    model: Option<String>,
    /// A text, texts, or token ids
    input: Value,
    /// "float" or "base64"
    encoding_format: Option<String>,
    /// Keep so many numbers of each vector, for models made for that
    dimensions: Option<u32>,
}

#[derive(Serialize, ToSchema)]
struct EmbeddingList {
    /// "list"
    object: String,
    data: Vec<Embedding>,
    model: String,
    usage: Option<Value>,
}

#[derive(Serialize, ToSchema)]
struct Embedding {
    /// "embedding"
    object: String,
    index: u32,
    /// Numbers; in base64 their bytes, little-endian f32
    embedding: Value,
}

/// Texts to vectors
#[utoipa::path(post, path = "/v1/embeddings", tag = "Embeddings", request_body = EmbeddingRequest,
    responses((status = 200, description = "A vector for each text", body = EmbeddingList), Errors))]
pub(super) fn embed() {}

/// Many texts to vectors
///
/// Fluid Server's route for batches: up to 128 requests, which run side by side.
#[utoipa::path(post, path = "/v1/embeddings/batch", tag = "Embeddings",
    request_body = Vec<EmbeddingRequest>,
    responses((status = 200, description = "An answer for each request", body = Vec<EmbeddingList>), Errors))]
pub(super) fn embed_batch() {}

#[derive(Serialize, ToSchema)]
struct EmbeddingModels {
    /// "list"
    object: String,
    data: Vec<Model>,
}

/// Embedding models
#[utoipa::path(get, path = "/v1/embeddings/models", tag = "Embeddings",
    responses((status = 200, description = "Those of the model folder", body = EmbeddingModels), Refusals))]
pub(super) fn list_embedding_models() {}

/// The embedding model in use
#[utoipa::path(get, path = "/v1/embeddings/info", tag = "Embeddings",
    responses((status = 200, description = "What is known of it", body = Value), Refusals))]
pub(super) fn embedding_info() {}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"query": "how to bake bread", "documents": ["Knead the dough.", "Cats purr."], "top_n": 1}))]
struct RerankRequest {
    model: Option<String>,
    query: String,
    /// Texts
    documents: Vec<Value>,
    /// How many of the best to answer with
    top_n: Option<u32>,
    /// With their texts
    return_documents: Option<bool>,
}

#[derive(Serialize, ToSchema)]
struct Ranking {
    model: String,
    /// The best first
    results: Vec<Ranked>,
    usage: Option<Value>,
}

#[derive(Serialize, ToSchema)]
struct Ranked {
    /// Place among the documents
    index: u32,
    /// As the model gives it: to compare within one ranking
    relevance_score: f64,
    document: Option<Value>,
}

/// Rank documents
///
/// By how well they answer a query; for models made for that.
#[utoipa::path(post, path = "/v1/rerank", tag = "Embeddings", request_body = RerankRequest,
    responses((status = 200, description = "The documents' scores", body = Ranking), Errors))]
pub(super) fn rerank() {}
