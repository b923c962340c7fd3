//! Transcribing speech.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::audio::{self, fluid_audio};
use super::callback::{self, Callback};
use super::event::fluid_event_fn;
use super::guard::guard;
use super::handle::{fluid_job, fluid_model};
use super::model::MODELS;
use super::status::fluid_status;
use super::{job, pointer};
use crate::engine::job::Job;
use crate::error::Result;
use crate::request::TranscribeRequest;

/// Writes down the speech in `audio` and waits for the end.
///
/// `audio` is borrowed for the call. `request_json` is `NULL` or a JSON object, borrowed for the
/// call, in the field names of OpenAI's transcriptions and, for what they leave out, of
/// faster-whisper:
///
/// | key | meaning | default |
/// |---|---|---|
/// | `language` | the language spoken, such as `"en"` | detected |
/// | `task` | `"transcribe"`, or `"translate"` into English | `"transcribe"` |
/// | `response_format` | `"json"`, `"verbose_json"`, `"text"`, `"srt"` or `"vtt"` | `"json"` |
/// | `timestamp_granularities` | an array; with `"word"` each word gets its times | segments |
/// | `prompt` | the text before, or one in the style wanted | none |
/// | `hotwords` | words to expect, in one string | none |
/// | `temperature` | 0 to 1, or an array to try until a text passes; 0 is the default | 0, 0.2 to 1 |
/// | `best_of` | texts drawn at a temperature above 0, 1 to 16 | 5 |
/// | `compression_ratio_threshold` | a text that compresses better repeats itself; `null` is off | 2.4 |
/// | `log_prob_threshold` | a text less likely, on average, has failed; `null` is off | -1 |
/// | `no_speech_threshold` | a failed text is silence from this probability on; `null` is off | 0.6 |
/// | `condition_on_previous_text` | each window reads the text of the one before | true |
/// | `without_timestamps` | the model does not mark the times of segments | false |
/// | `max_initial_timestamp` | seconds before the first segment of a window, at most | 1 |
/// | `suppress_tokens` | ids never drawn, -1 for the model's own list | `[-1]` |
/// | `suppress_blank` | a text may not begin with nothing | true |
/// | `repetition_penalty` | divides the logits of tokens drawn before | 1, off |
/// | `no_repeat_ngram_size` | runs of so many tokens come once | 0, off |
/// | `vad_filter` | skip silence; refused without a VAD model | where one is; audio of at most 30 s is heard whole if there is any speech in it |
/// | `vad_parameters` | an object of what counts as speech, see below | 0.5, 100, 500, 400 |
/// | `chunking_strategy` | `"auto"` or an object of type `"server_vad"`: as `vad_filter` | none |
/// | `batch_size` | windows decoded together, 1 to 32 | as fits |
/// | `seed` | the same one gives the same text | random |
/// | `deadline_ms` | stop after this time | none |
///
/// `vad_parameters` holds `threshold` (0 to 1), `min_speech_duration_ms`,
/// `min_silence_duration_ms` and `speech_pad_ms`, faster-whisper's names. An array of one temperature, such as `[0]`, is
/// tried alone; so is a lone number above 0.
///
/// `model`, `user` and `stream` are accepted and change nothing. A field that OpenAI or
/// faster-whisper defines and this build lacks (`include`, `known_speaker_names`, `beam_size`
/// above 1, "diarized_json") is refused; a field that nobody defines is ignored, which only the
/// log tells.
///
/// `callback` may be `NULL`; it gets `FLUID_EVENT_LANGUAGE` where the language is detected, a
/// `FLUID_EVENT_SEGMENT` for each segment as soon as it is decided, `FLUID_EVENT_PROGRESS`,
/// `FLUID_EVENT_NOTICE` and the final event, on this thread, and can cancel. `user_data` is handed
/// to it.
///
/// `out_text` may be `NULL`. On `FLUID_OK`, `FLUID_CANCELLED` and `FLUID_DEADLINE` `*out_text` is
/// the body that OpenAI answers with for the `response_format`: JSON for "json" and
/// "verbose_json", else plain text, SRT or WebVTT; unless `FLUID_OK`, of the segments so far. It
/// is owned by the caller, free with `fluid_string_free`.
///
/// Errors: `FLUID_ERROR_INVALID_ARGUMENT` for an `audio` that contradicts itself or is out of range;
/// `FLUID_ERROR_NOT_FOUND`, `FLUID_ERROR_IO` and `FLUID_ERROR_INVALID_AUDIO` for what it holds;
/// `FLUID_ERROR_INVALID_JSON`, `FLUID_ERROR_INVALID_REQUEST`, `FLUID_ERROR_UNSUPPORTED` (also for
/// a model that generates text), `FLUID_ERROR_OUT_OF_MEMORY`, `FLUID_ERROR_QUEUE_FULL`,
/// `FLUID_ERROR_BACKEND`, `FLUID_ERROR_CALLBACK`.
///
/// # Safety
/// `audio` points to a struct as described; its `data` can be read for `bytes` bytes, or is a
/// NUL-terminated path. `request_json` is `NULL` or NUL-terminated; `out_text` is `NULL` or can be
/// written to; `callback` can be called with `user_data` until this returns.
#[no_mangle]
pub unsafe extern "C" fn fluid_transcribe(
    model: *mut fluid_model,
    audio: *const fluid_audio,
    request_json: *const c_char,
    callback: fluid_event_fn,
    user_data: *mut c_void,
    out_text: *mut *mut c_char,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let job = unsafe { start(model, audio, request_json) }?;
        let callback = Callback { function: callback, user_data };
        // SAFETY: the caller's promise.
        unsafe { callback::run_for_text(&job, &callback, out_text) }
    })
}

/// Starts a transcription; arguments, outcomes and errors as of `fluid_transcribe`, except that
/// what the audio holds and what the model finds comes with the final event. `audio` is copied:
/// it is borrowed for this call only; the file of a path is read later. `fluid_job_json` gives the
/// result, plain text in the formats that are not JSON. On success `*out_job` is owned by the
/// caller, free with `fluid_job_free`.
///
/// # Safety
/// `audio` and `request_json` as of `fluid_transcribe`; `out_job` can be written to.
#[no_mangle]
pub unsafe extern "C" fn fluid_transcribe_start(
    model: *mut fluid_model,
    audio: *const fluid_audio,
    request_json: *const c_char,
    out_job: *mut *mut fluid_job,
) -> fluid_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let start = || unsafe { start(model, audio, request_json) };
        // SAFETY: the caller's promise.
        unsafe { job::hand_out_to(out_job, start) }
    })
}

/// # Safety
/// `audio` as of [`audio::input`]; `request_json` is null or NUL-terminated.
unsafe fn start(
    model: *mut fluid_model,
    audio: *const fluid_audio,
    request_json: *const c_char,
) -> Result<Arc<Job>> {
    // SAFETY: the caller's promise.
    let request = unsafe { pointer::optional_text(request_json, "request_json") }?;
    let model = MODELS.get(pointer::key(model))?;
    let request = TranscribeRequest::parse(request)?;
    // Last, for it copies the whole recording.
    // SAFETY: the caller's promise.
    let audio = unsafe { audio::input(audio) }?;
    model.transcribe(audio, request)
}
