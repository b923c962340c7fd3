//! Generating text.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::callback::{self, Callback};
use super::event::fluid_event_fn;
use super::guard::guard;
use super::handle::{fluid_job, fluid_model};
use super::job;
use super::model::ask;
use super::status::fluid_status;
use crate::engine::job::Job;
use crate::error::Result;
use crate::request::GenerateRequest;

/// Generates an answer and waits for its end.
///
/// `request_json` is a JSON object in the field names of OpenAI's chat completions, borrowed for
/// the call: `messages`, or `prompt` (a text, or an array of token ids) for a raw completion;
/// `max_tokens` or `max_completion_tokens`, `stop`, `temperature`, `top_p`, `seed`, `logit_bias`,
/// `presence_penalty`, `frequency_penalty`; of our own: `top_k`, `min_p`, `repeat_penalty`,
/// `repeat_last_n`, `chat_template_kwargs`, `deadline_ms`, and the fields below. What the request leaves out is as the
/// model file recommends, else as in llama.cpp: temperature 0.8, top_k 40, top_p 0.95, min_p
/// 0.05, no penalties, a random seed; and no `max_tokens` means until the model stops or the context
/// is full. `model`, `user`, `stream` and the like are accepted and change nothing. A field that
/// OpenAI defines and that would change the answer in a way this build lacks is refused; a field that
/// nobody defines is ignored, which only the log tells.
///
/// | field | meaning | default |
/// |---|---|---|
/// | `priority` | -1000 to 1000: higher goes first, and takes a slot from a lower one, which goes on later | 0 |
/// | `cache_prompt` | take over what an earlier job computed for the same beginning, and keep this one's for later ones | true |
/// | `context_shift` | in a full context, drop the oldest tokens and go on; else the answer ends with "length" | false |
/// | `n_keep`, `n_discard` | tokens that stay in front then, -1 for the prompt; tokens to drop, 0 for half of the rest | -1, 0 |
/// | `n` | answers to the one prompt, 1 to 128, with the seeds `seed`, `seed` + 1, ...; those that find no slot wait for one. `best_of` must be the same | 1 |
/// | `logprobs`, `top_logprobs` | of a chat: true, and 0 to 20 of the likeliest tokens beside each. Natural logarithms of the softmax of the raw logits, before any sampler | false, 0 |
/// | `logprobs` | of a completion: 0 to 5 of the likeliest tokens, in OpenAI's older shape; `text_offset` counts characters | none |
/// | `echo` | of a completion: the prompt comes first, with `logprobs` also its tokens' | false |
/// | `suffix` | of a completion: the text behind the one asked for; for models with tokens for that, others have `FLUID_ERROR_UNSUPPORTED` | none |
/// | `logit_bias` | -100 to 100 by token id or by text, each of whose tokens is meant; also llama-server's `[[id or text, bias], ...]`, where `false` is never | none |
/// | `ignore_eos` | nothing that ends an answer is drawn; a form that is complete ends it all the same | false |
/// | `min_tokens` | before so many tokens nothing ends the answer but a form that is complete; stop strings count only in the text behind them | 0 |
/// | `banned_strings`, `bad_words` | texts that never appear in the answer, exactly as written: a token that would complete one is not drawn | none |
/// | `typical_p`, `top_n_sigma`, `min_keep` | llama-server's, as are the following | 1, -1, 0 |
/// | `xtc_probability`, `xtc_threshold` | | 0, 0.1 |
/// | `dry_multiplier`, `dry_base`, `dry_allowed_length`, `dry_penalty_last_n` | -1 looks back over 65,536 tokens | 0, 1.75, 2, 64 |
/// | `dry_sequence_breakers` | | newline, colon, quote, asterisk |
/// | `dynatemp_range`, `dynatemp_exponent` | | 0, 1 |
/// | `mirostat`, `mirostat_tau`, `mirostat_eta` | 1 or 2: in place of all other samplers but temperature and bias | 0, 5, 0.1 |
/// | `samplers` | the order: of penalties, dry, top_n_sigma, top_k, typ_p, top_p, min_p, xtc, temperature, adaptive_p; what is missing is not applied | these, without the last |
/// | `adaptive_target`, `adaptive_decay` | for adaptive_p | -1, 0.9 |
/// | `lora` | LoRA adapters of the model: `[{"id": 0, "scale": 0.5}]`, or `"name"` in place of `"id"`; `[]` for none, and a scale of 0 is none; without a scale it is 1, and adapters that are not named are not used | those of the load options |
/// | `speculative` | drafts: `{"type": "prompt_lookup"}`, `"draft"` by the draft model, `"none"`; see below | that of the load options |
///
/// Speculative decoding computes several tokens at once that a draft says come next, and keeps those that are
/// drawn all the same: the text is that without drafts, up to what rounding changes in batches of another size.
/// `speculative` has `type` (without one "draft" where there is a draft model, else "prompt_lookup"), `n_max` (tokens of a draft, 0 for none; 16 for a draft model), `n_min` (shorter ones are
/// not tried; 0), `p_min` (a draft model's draft ends at a token less likely; 0.75), `adaptive` (drafts only as long
/// as has paid so far; true). llama-server's `speculative.n_max`, `speculative.n_min` and `speculative.p_min` are
/// accepted too. Nobody drafts while a prompt is computed, or while more than four jobs of a model generate. Models
/// with recurrent layers or a sliding window cannot, and say so by a `FLUID_EVENT_NOTICE`.
///
/// What the answer has to look like, by one of these at most; it then ends with `finish_reason`
/// "stop" as soon as nothing may follow:
///
/// | field | the answer is |
/// |---|---|
/// | `response_format` | as OpenAI has it: `{"type": "text"}`, `{"type": "json_object"}` (with `schema`, as llama-server has it), or `{"type": "json_schema", "json_schema": {"name", "strict", "schema"}}` |
/// | `json_schema` | JSON for this schema, as with `strict` false |
/// | `grammar` | a text of this grammar in llama.cpp's GBNF, from its rule `root` on |
/// | `regex` | a text that this regular expression matches as a whole |
/// | `lark` | a text of this Lark grammar in the dialect of llguidance, from its rule `start` on |
///
/// Of a schema, keywords that cannot be held while tokens are drawn (`not`, `if`, `uniqueItems`,
/// `contains`, `dependentRequired`, `propertyNames`, `unevaluatedProperties` and their kin, unknown
/// formats, alternatives of a `oneOf` that may overlap) are refused where `strict` is true; else they
/// are left out, which a `FLUID_EVENT_NOTICE` tells, as it does of unknown keywords. Members come in the
/// schema's order; an object that does not say `"additionalProperties": false` may have others, with `strict` too. Grammars are compiled on a thread of their own before the job waits for its slot;
/// the last sixteen of a model stay compiled. What is wrong with a
/// schema is found at once; what is wrong with other grammars, and what is too much to compile, comes with the
/// final event, as `FLUID_ERROR_INVALID_REQUEST` with its place.
///
/// A chat may call tools and reason before it answers:
///
/// | field | meaning | default |
/// |---|---|---|
/// | `tools` | up to 128 functions with a name, a description and `parameters`, a JSON schema of an object | none |
/// | `tool_choice` | "auto", "none" (the model is not told of them), "required", `{"type": "function", "function": {"name": ...}}` for one call of that, or OpenAI's `allowed_tools` | "auto" |
/// | `parallel_tool_calls` | an answer may have several calls | true |
/// | `reasoning_effort` | "none", "minimal", "low", "medium", "high", "xhigh", for the template; "none" also is a budget of 0 | |
/// | `enable_thinking` | for the template, which knows it as `thinking` too; false also is a budget of 0 | |
/// | `reasoning_budget` | tokens of reasoning after which its end is forced: 0 for none, -1 for no limit; also as `reasoning_budget_tokens`, `thinking_budget_tokens`, `thinking_budget` | -1 |
/// | `reasoning_format` | "auto" or "deepseek" tell reasoning apart; "none" leaves it in the content, with its markup | "auto" |
///
/// Arguments are always valid for their schema, unless the answer is cut off: what a model may draw is held to it, with
/// "required" from the first token on, with "auto" from where a call begins; an object that lists its `properties` and does
/// not say more has no others. An answer that is cut off before the name of a call has its markup in the content.
/// The `index` of a call counts within its choice. Which form calls have goes by the model's chat template (`tool_format` in `fluid_model_info`;
/// docs/c-api.md has the list). `tools` and a form of the answer cannot be asked for together.
///
/// `callback` may be `NULL`; it gets `FLUID_EVENT_PROGRESS` while a long prompt is read, a
/// `FLUID_EVENT_TOKEN`, `FLUID_EVENT_REASONING` or `FLUID_EVENT_TOOL_CALL` for each token, a
/// `FLUID_EVENT_NOTICE` where something is not as asked, and the final event, on this thread, and can cancel.
/// `user_data` is handed to it. It is not called while the job waits for a slot: where that may
/// take long, set `deadline_ms`, or use `fluid_generate_start` and `fluid_job_cancel`.
///
/// `out_json` may be `NULL`. On `FLUID_OK`, `FLUID_CANCELLED` and `FLUID_DEADLINE` `*out_json` is
/// OpenAI's result object with the text so far, `usage` (`prompt_tokens_details.cached_tokens` is
/// how much of the prompt was there already; of a chat, `completion_tokens_details.reasoning_tokens` how
/// much of the answer was reasoning), `message.reasoning_content` and `message.tool_calls` where there are
/// any, `finish_reason` ("stop", "length", "tool_calls", "cancelled",
/// "deadline" or, in `fluid_job_json`, "error"), `seed` and `timings` (of which `prompt_n` counts what
/// was computed, `draft_n` tokens of drafts, `draft_n_accepted` those that came true); it is owned by the caller, free with `fluid_string_free`.
///
/// Errors: `FLUID_ERROR_INVALID_JSON`, `FLUID_ERROR_INVALID_REQUEST`, `FLUID_ERROR_UNSUPPORTED`,
/// `FLUID_ERROR_CONTEXT_OVERFLOW`, `FLUID_ERROR_QUEUE_FULL`, `FLUID_ERROR_BACKEND`,
/// `FLUID_ERROR_CALLBACK`.
///
/// # Safety
/// `request_json` is NUL-terminated; `out_json` is `NULL` or can be written to; `callback` can
/// be called with `user_data` until this returns.
#[no_mangle]
pub unsafe extern "C" fn fluid_generate(
    model: *mut fluid_model,
    request_json: *const c_char,
    callback: fluid_event_fn,
    user_data: *mut c_void,
    out_json: *mut *mut c_char,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let job = unsafe { start(model, request_json) }?;
        let callback = Callback { function: callback, user_data };
        // SAFETY: the caller's promise.
        unsafe { callback::run_for_text(&job, &callback, out_json) }
    })
}

/// Starts a generation; `request_json`, outcomes and errors as of `fluid_generate`, except that
/// what the model finds (`FLUID_ERROR_CONTEXT_OVERFLOW`, `FLUID_ERROR_BACKEND`) comes with the
/// final event. On success `*out_job` is owned by the caller, free with `fluid_job_free`.
///
/// # Safety
/// `request_json` is NUL-terminated; `out_job` can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_generate_start(
    model: *mut fluid_model,
    request_json: *const c_char,
    out_job: *mut *mut fluid_job,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let start = || unsafe { start(model, request_json) };
        // SAFETY: the caller's promise.
        unsafe { job::hand_out_to(out_job, start) }
    })
}

/// # Safety
/// `request_json` is null or NUL-terminated.
unsafe fn start(model: *mut fluid_model, request_json: *const c_char) -> Result<Arc<Job>> {
    // SAFETY: the caller's promise.
    unsafe { ask(model, request_json, |model, text| model.generate(GenerateRequest::parse(text)?)) }
}
