//! Chats, completions and tokens.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::errors::Errors;

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"model": "default", "messages": [{"role": "user", "content": "Name three rivers."}], "max_tokens": 64}))]
struct ChatRequest {
    /// The conversation so far
    messages: Vec<ChatMessage>,
    #[serde(flatten)]
    common: Generation,
    /// Functions that the model may call
    tools: Option<Vec<Value>>,
    /// "auto", "none", "required", or one function
    tool_choice: Option<Value>,
    parallel_tool_calls: Option<bool>,
    /// "none", "minimal", "low", "medium" or "high", for models that reason
    reasoning_effort: Option<String>,
    /// Log-probabilities of the tokens
    logprobs: Option<bool>,
    /// 0 to 20 of the likeliest tokens beside each
    top_logprobs: Option<u32>,
}

/// What chats and completions have in common.
#[derive(Serialize, ToSchema)]
struct Generation {
    /// One of `/v1/models`; "default" or nothing for the server's own
    model: Option<String>,
    /// Answer in events (SSE): one for each token, at last `[DONE]`
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    /// Most tokens of the answer; without it until the model ends or its context is full
    #[schema(minimum = 1)]
    max_tokens: Option<u32>,
    /// 0 for the likeliest token always; without it as the model's file recommends, else 0.8
    #[schema(minimum = 0.0)]
    temperature: Option<f64>,
    /// Draw from the likeliest tokens of this share
    #[schema(minimum = 0.0, maximum = 1.0)]
    top_p: Option<f64>,
    /// Draw from so many tokens
    top_k: Option<i32>,
    /// Draw from tokens at least so likely, compared with the likeliest
    min_p: Option<f64>,
    presence_penalty: Option<f64>,
    frequency_penalty: Option<f64>,
    /// Texts that end the answer
    stop: Option<Vec<String>>,
    /// The same seed draws the same answer
    seed: Option<u64>,
    /// Answers to the one prompt
    #[schema(minimum = 1, maximum = 128)]
    n: Option<u32>,
    /// `{"type": "json_object"}`, or `{"type": "json_schema", "json_schema": {"name", "strict", "schema"}}`
    response_format: Option<Value>,
    /// A grammar in GBNF that the answer has to follow
    grammar: Option<String>,
    /// A regular expression that the answer has to match
    regex: Option<String>,
    /// Milliseconds after which the answer ends as it is, those of waiting included
    deadline_ms: Option<u64>,
}

#[derive(Serialize, ToSchema)]
struct StreamOptions {
    /// A last chunk with `usage`
    include_usage: Option<bool>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ChatMessage {
    /// "system", "developer", "user", "assistant" or "tool"
    role: String,
    /// A text, or an array of parts of type "text"
    content: Option<Value>,
    /// Of an assistant: how it reasoned
    reasoning_content: Option<String>,
    /// Of an assistant: the functions it calls
    tool_calls: Option<Vec<Value>>,
    /// Of a tool: which call it answers
    tool_call_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct ChatCompletion {
    id: String,
    /// "chat.completion"
    object: String,
    /// Unix time in seconds
    created: u64,
    model: String,
    choices: Vec<ChatChoice>,
    usage: Usage,
    timings: Option<Timings>,
}

#[derive(Serialize, ToSchema)]
struct ChatChoice {
    index: u32,
    message: ChatMessage,
    /// "stop", "length", "tool_calls", "cancelled" or "deadline"
    finish_reason: Option<String>,
    logprobs: Option<Value>,
}

/// An event of a stream.
#[derive(Serialize, ToSchema)]
struct ChatChunk {
    id: String,
    /// "chat.completion.chunk"
    object: String,
    created: u64,
    model: String,
    choices: Vec<ChunkChoice>,
    usage: Option<Usage>,
    /// In the last chunk
    timings: Option<Timings>,
}

#[derive(Serialize, ToSchema)]
struct ChunkChoice {
    index: u32,
    /// What is new
    delta: ChatMessage,
    finish_reason: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    /// `cached_tokens`: how much of the prompt was computed before
    prompt_tokens_details: Option<Value>,
    /// `reasoning_tokens`
    completion_tokens_details: Option<Value>,
}

/// llama-server's figures.
#[derive(Serialize, ToSchema)]
struct Timings {
    /// Tokens of the prompt that were computed
    prompt_n: u64,
    prompt_ms: f64,
    prompt_per_second: f64,
    /// Tokens of the answer
    predicted_n: u64,
    predicted_ms: f64,
    predicted_per_second: f64,
}

/// Chat
///
/// Answers a conversation. With `stream` each token comes when it is decoded; a client that leaves ends its request.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "Text", request_body = ChatRequest, responses(
    (status = 200, description = "The answer; with `stream` events, each with a chunk", content(
        (ChatCompletion = "application/json"), (ChatChunk = "text/event-stream"))),
    Errors,
))]
pub(super) fn chat() {}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"model": "default", "prompt": "The three primary colours are", "max_tokens": 16}))]
struct CompletionRequest {
    /// A text, texts, or token ids
    prompt: Value,
    #[serde(flatten)]
    common: Generation,
    /// The text behind the one asked for, for models that know how
    suffix: Option<String>,
    /// The prompt comes first in the answer
    echo: Option<bool>,
    /// 0 to 5 of the likeliest tokens
    logprobs: Option<u32>,
}

/// The answer, and with `stream` each event.
#[derive(Serialize, ToSchema)]
struct Completion {
    id: String,
    /// "text_completion"
    object: String,
    created: u64,
    model: String,
    choices: Vec<CompletionChoice>,
    usage: Option<Usage>,
    timings: Option<Timings>,
}

#[derive(Serialize, ToSchema)]
struct CompletionChoice {
    index: u32,
    text: String,
    finish_reason: Option<String>,
    logprobs: Option<Value>,
}

/// Completion
///
/// Goes on with a text.
#[utoipa::path(post, path = "/v1/completions", tag = "Text", request_body = CompletionRequest, responses(
    (status = 200, description = "The text; with `stream` events", content(
        (Completion = "application/json"), (Completion = "text/event-stream"))),
    Errors,
))]
pub(super) fn complete() {}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"content": "How many tokens is this?", "with_pieces": true}))]
struct TokenizeRequest {
    model: Option<String>,
    /// The text; or else `messages`, of a chat as the model's template writes it
    content: Option<String>,
    messages: Option<Vec<ChatMessage>>,
    /// Add the tokens that the model wants around a text
    add_special: Option<bool>,
    /// Read special tokens that the text spells out as such
    parse_special: Option<bool>,
    /// Spell the tokens out
    with_pieces: Option<bool>,
}

#[derive(Serialize, ToSchema)]
struct Tokens {
    /// Ids; with `with_pieces` objects of `id` and `piece`
    tokens: Vec<Value>,
    count: u64,
    /// Of a chat, what the template made of it
    prompt: Option<String>,
}

/// Text to tokens
#[utoipa::path(post, path = "/v1/tokenize", tag = "Text", request_body = TokenizeRequest,
    responses((status = 200, description = "The tokens", body = Tokens), Errors))]
pub(super) fn tokenize() {}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"tokens": [504, 2365]}))]
struct DetokenizeRequest {
    model: Option<String>,
    tokens: Vec<u32>,
    /// Spell special tokens out
    special: Option<bool>,
}

#[derive(Serialize, ToSchema)]
struct Text {
    content: String,
}

/// Tokens to text
#[utoipa::path(post, path = "/v1/detokenize", tag = "Text", request_body = DetokenizeRequest,
    responses((status = 200, description = "The text", body = Text), Errors))]
pub(super) fn detokenize() {}
