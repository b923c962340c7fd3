//! From texts to tokens and back.

use std::ffi::c_char;

use super::guard::guard;
use super::handle::fluid_model;
use super::model::ask;
use super::status::{fluid_status, FLUID_OK};
use super::{pointer, string};
use crate::engine::model::Model;
use crate::error::Result;
use crate::request::{DetokenizeRequest, TokenizeRequest};

/// Makes tokens of a text, or of the prompt that a generation would begin with: what a chat costs,
/// and what it looks like behind the model's template. Takes no slot and waits for no job.
///
/// `request_json` is a JSON object, borrowed for the call, either with
///
/// | field | meaning | default |
/// |---|---|---|
/// | `content` | the text | |
/// | `add_special` | add the tokens that the model wants around a text | false |
/// | `parse_special` | read special tokens that the text spells out as such | true |
/// | `with_pieces` | spell the tokens out in the result | false |
///
/// or with `messages` or `prompt` and whatever else shapes the prompt, as for `fluid_generate`, and
/// `with_pieces`.
///
/// On success `*out_json` is `{"tokens": [1, 2], "count": 2}`; with `with_pieces` each token is
/// `{"id": 1, "piece": "text"}`, where the piece is an array of bytes if it is no whole text; for a
/// text that was not given as `content`, `prompt` is that text. It is owned by the caller, free with
/// `fluid_string_free`.
///
/// A model that gave its memory back is loaded again first, which this call waits for; in the log callback it
/// is `FLUID_ERROR_BUSY` then.
///
/// Errors: `FLUID_ERROR_INVALID_JSON`, `FLUID_ERROR_INVALID_REQUEST`, `FLUID_ERROR_UNSUPPORTED` (the
/// model has no such vocabulary, or cannot chat), and those of a load.
///
/// # Safety
/// `request_json` is NUL-terminated; `out_json` can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_tokenize(
    model: *mut fluid_model,
    request_json: *const c_char,
    out_json: *mut *mut c_char,
) -> fluid_status {
    let act = |model: &Model, text: &str| model.tokenize(&TokenizeRequest::parse(text)?);
    // SAFETY: the caller's promise.
    guard(|| unsafe { answer(model, request_json, act, out_json) })
}

/// Makes a text of tokens: `request_json` is `{"tokens": [1, 2]}`, borrowed for the call; with
/// `"special": false` tokens that are no text are left out, else they are spelled out. On success
/// `*out_json` is `{"content": "..."}`; bytes that are no whole text became U+FFFD. It is owned by the
/// caller, free with `fluid_string_free`.
///
/// Errors: as of `fluid_tokenize`.
///
/// # Safety
/// `request_json` is NUL-terminated; `out_json` can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_detokenize(
    model: *mut fluid_model,
    request_json: *const c_char,
    out_json: *mut *mut c_char,
) -> fluid_status {
    let act = |model: &Model, text: &str| model.detokenize(&DetokenizeRequest::parse(text)?);
    // SAFETY: the caller's promise.
    guard(|| unsafe { answer(model, request_json, act, out_json) })
}

/// Sets `out_json` to what `act` answers.
///
/// # Safety
/// `request_json` is null or NUL-terminated; `out_json` is null or can be written to.
unsafe fn answer(
    model: *mut fluid_model,
    request_json: *const c_char,
    act: impl FnOnce(&Model, &str) -> Result<String>,
    out_json: *mut *mut c_char,
) -> Result<fluid_status> {
    // SAFETY: the caller's promise.
    let out = unsafe { pointer::output(out_json, "out_json") }?;
    // SAFETY: the caller's promise.
    let json = unsafe { ask(model, request_json, act) }?;
    out.set(string::owned(json)?);
    Ok(FLUID_OK)
}
