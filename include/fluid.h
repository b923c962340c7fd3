#ifndef FLUID_H
#define FLUID_H

#include <stddef.h>
#include <stdint.h>

/*
 * libfluid: local AI behind one C interface.
 *
 * Statuses   Functions return a fluid_status: 0 done, above 0 an outcome, below 0 an error. On an
 *            error nothing is written to outputs, and fluid_last_error() tells why, in one line.
 * Handles    fluid_engine, fluid_model, fluid_job and fluid_queue are opaque and never pointers
 *            to memory: a handle that was freed, or is of another kind, is an error, not a crash.
 *            Freeing NULL does nothing. Freeing while other threads use a handle is safe: their
 *            calls return.
 * Ownership  Every pointer is one of: borrowed for the call; borrowed until what its function
 *            says; owned by the caller, free with the function named; static.
 * Text       UTF-8, NUL-terminated; paths too, on every system. Requests, options and results
 *            are JSON; requests and results in OpenAI's field names. The result of a
 *            transcription is plain text or subtitles where the request asks for them.
 * Events     A job tells of itself in events and ends with exactly one FLUID_EVENT_END. (A
 *            callback that cancels is not called again: the returned status is its end.) When
 *            its reader is slow, the job pauses; other jobs go on.
 * Cancelling By a callback's return value, fluid_job_cancel, a deadline, or freeing. A job that
 *            waits, a load or a download ends at once; a running generation or transcription after the
 *            current node of the model's graph, which takes milliseconds with small models (the
 *            tests bound it by 100 ms). Native work of a load that cannot be stopped goes on unseen until it
 *            ends; fluid_engine_free waits for it.
 * Safety     Nothing here prints, exits or aborts; bad paths, broken files, wrong JSON, a panic
 *            or a C++ exception are statuses. What cannot be caught inside a process is an
 *            abort() or a fault on a thread of the model library itself: files and requests
 *            are checked before it sees them for that reason.
 * Forks      In a forked child every function that returns a fluid_status returns
 *            FLUID_ERROR_FORKED; call exec.
 * Process    The library is never unloaded; do not dlclose it in the hope of freeing memory,
 *            free engines. Returning from main with jobs running is fine: it frees all engines,
 *            and waits as fluid_engine_free does, also for those that other threads are freeing.
 *            Exit handlers and destructors of static objects may find them gone: save what is to
 *            be kept before. The process may crash or hang as it ends only while OpenVINO is
 *            opened, loads a model or first runs it, where another thread than the main one ends
 *            it, or the main one neither loaded the library nor made an engine; and where a
 *            driver that fluid_devices or fluid_doctor asks on another thread takes 2 s more
 *            (Linux; elsewhere unchecked).
 *
 * Threads
 *   any thread, any number at once:        all functions not named below
 *   one thread at a time for each handle   fluid_job_next, fluid_queue_next
 *     (others get FLUID_ERROR_BUSY):
 *   not from inside the log callback       fluid_log_set, fluid_estimate, and what waits:
 *     (FLUID_ERROR_BUSY):                  fluid_load_model, fluid_download, fluid_generate,
 *                                          fluid_transcribe, fluid_embed, fluid_rerank,
 *                                          fluid_model_save_state, fluid_model_restore_state,
 *                                          fluid_devices, fluid_doctor, fluid_job_next and
 *                                          fluid_queue_next with a timeout other than 0, and
 *                                          fluid_tokenize of a model that is unloaded
 *   Event callbacks run on the thread that made the blocking call, and every function may be
 *   called from inside. The log callback runs on any thread; frees inside it do not wait.
 *   Leave a callback by returning: no longjmp, no pthread_exit, no cancellation of the thread.
 */

// Version of the binary interface this header describes: the major number in the upper 16
// bits, the minor one in the lower.
#define FLUID_ABI_VERSION ((1 << 16) | 1)

// Owns models and jobs. Make one with `fluid_engine_new`, free it with `fluid_engine_free`.
typedef struct fluid_engine fluid_engine;

// A long act, its events and its result. Free it with `fluid_job_free`.
typedef struct fluid_job fluid_job;

// A loaded model. Free it with `fluid_model_free`.
typedef struct fluid_model fluid_model;

// The events of many jobs, for one reader. Free it with `fluid_queue_free`.
typedef struct fluid_queue fluid_queue;

// What a call or a job came to: 0 success, above 0 an outcome, below 0 an error.
typedef int32_t fluid_status;

// What an event tells. Skip kinds you do not know.
typedef int32_t fluid_event_kind;

// One thing that happened in a job. Read no field beyond `struct_size`: the struct grows at
// its end. The event and all it points to belong to the library.
typedef struct fluid_event {
  // Bytes of the struct as the library knows it.
  uint32_t struct_size;
  // What happened: one of `FLUID_EVENT_...`.
  fluid_event_kind kind;
  // How the job ended, in a final event; else `FLUID_OK`.
  fluid_status status;
  // Index of the choice, where a request asks for several; else 0.
  int32_t choice;
  // Id of the token, or -1.
  int32_t token;
  // Log-probability of the token, or NaN where it was not asked for; of a segment, the average
  // of its tokens.
  float logprob;
  // Whole, valid UTF-8 with a NUL after it; never `NULL`. In a final event of a failed job,
  // the error's message.
  const char *text;
  // Bytes of `text`, the NUL not counted; a text may hold a NUL itself.
  size_t text_len;
  // JSON with a NUL after it, in a final event, of a download's progress, of a call of a tool, of a
  // segment, a language and a model, and of other tokens with log-probabilities, which for those of
  // calls are in the result only; empty in others, never `NULL`.
  const char *json;
  // Bytes of `json`, the NUL not counted.
  size_t json_len;
  // Where a segment of speech starts, in seconds; 0 for text.
  double start;
  // Where a segment of speech ends, in seconds; 0 for text.
  double end;
  // How far the job is, from 0 to 1, in a progress event; 1 in a final event with `FLUID_OK`;
  // else 0.
  double progress;
  // Seconds from the start of the job to what the event tells.
  double elapsed;
  // Seconds from what the event tells to now: how far its reader is behind.
  double age;
} fluid_event;

// Called with each event of a job, on the thread that made the blocking call, and never after
// that call has returned. The event is borrowed until the callback returns. Return 0 to go on,
// anything else to cancel the job; then it is not called again.
typedef int32_t (*fluid_event_fn)(const struct fluid_event *event, void *user_data);

// What `data` of a `fluid_audio` points to.
typedef int32_t fluid_audio_kind;

// A recording. It and all it points to are borrowed for the call that gets it. The struct grows
// at its end: set it to zeros before you fill it.
typedef struct fluid_audio {
  // `sizeof(fluid_audio)`.
  uint32_t struct_size;
  // What `data` points to: one of `FLUID_AUDIO_...`.
  fluid_audio_kind kind;
  // Samples, bytes or a path; at any alignment. `NULL` only where `bytes` is 0 and `kind` is not
  // `FLUID_AUDIO_PATH`.
  const void *data;
  // Bytes of `data`, whole frames of samples. Of a path its length; or 0, then a NUL ends it.
  size_t bytes;
  // Frames per second of samples, 2,000 to 768,000; not looked at for the other kinds.
  uint32_t rate;
  // Samples of a frame, one for each channel, 1 to 64; not looked at for the other kinds.
  uint32_t channels;
} fluid_audio;

// How much a log line matters.
typedef int32_t fluid_log_level;

// Called with each log line, on any thread, also on several at once. `line` has no line break
// at its end and is borrowed until the callback returns. Log lines of calls made inside the
// callback are dropped.
typedef void (*fluid_log_fn)(fluid_log_level level, const char *line, void *user_data);

// Done.
#define FLUID_OK 0

// Nothing came within the time given; call again.
#define FLUID_TIMEOUT 1

// The job's final event was read before; there are no more.
#define FLUID_END 2

// The job was cancelled, or what it belongs to was freed. The result holds what came so far.
#define FLUID_CANCELLED 10

// The job's deadline passed. The result holds what came so far.
#define FLUID_DEADLINE 11

// A pointer that is no handle is `NULL`, or a value is out of range; mend the call.
#define FLUID_ERROR_INVALID_ARGUMENT (-10)

// A handle is `NULL`, was freed (by itself or with its engine), is of another kind, or never was
// one; mend the call.
#define FLUID_ERROR_INVALID_HANDLE (-11)

// A string is not UTF-8; convert it.
#define FLUID_ERROR_INVALID_UTF8 (-12)

// A text is not JSON; mend it at the line and column named.
#define FLUID_ERROR_INVALID_JSON (-20)

// A field has a wrong type or range; mend it at the path named.
#define FLUID_ERROR_INVALID_REQUEST (-21)

// A field or device is known, but this build lacks it; leave it out.
#define FLUID_ERROR_UNSUPPORTED (-22)

// The prompt does not fit into the context; shorten it, or load with a larger `n_ctx`.
#define FLUID_ERROR_CONTEXT_OVERFLOW (-23)

// A file is not there; check the path.
#define FLUID_ERROR_NOT_FOUND (-30)

// A file cannot be read; check permissions and the disk.
#define FLUID_ERROR_IO (-31)

// A file is not a whole, valid model; fetch it again.
#define FLUID_ERROR_INVALID_MODEL (-32)

// The model is of an architecture or format version that this build cannot run.
#define FLUID_ERROR_UNSUPPORTED_MODEL (-33)

// This processor lacks instructions that the build needs; use a build for older processors.
#define FLUID_ERROR_UNSUPPORTED_CPU (-34)

// The audio is of no format this build knows, or broken; convert it.
#define FLUID_ERROR_INVALID_AUDIO (-35)

// The file is no whole saved state, or one of another model, or of other options; save it again.
#define FLUID_ERROR_INVALID_STATE (-36)

// The hub cannot be reached, answers with an error of its own or asks for patience; try again later.
#define FLUID_ERROR_NETWORK (-37)

// The hub wants a token, refuses the one it got, or the repository's conditions were not accepted.
#define FLUID_ERROR_ACCESS_DENIED (-38)

// The disk has no room for what is to be written; make room and try again.
#define FLUID_ERROR_DISK_FULL (-39)

// The call would wait for itself, or another thread is inside the same call.
#define FLUID_ERROR_BUSY (-40)

// Too many jobs wait for the model; try again when some have ended.
#define FLUID_ERROR_QUEUE_FULL (-41)

// Memory or threads could not be had; use a smaller model or context.
#define FLUID_ERROR_OUT_OF_MEMORY (-50)

// The model library failed; the message holds its words.
#define FLUID_ERROR_BACKEND (-51)

// Your callback threw a C++ exception; the job was cancelled.
#define FLUID_ERROR_CALLBACK (-52)

// A runtime library that the model needs is not there, or does not open; install it, or name its
// path. The message lists every place looked at.
#define FLUID_ERROR_BACKEND_MISSING (-53)

// This process is a fork of the one that used the library; only `exec` helps.
#define FLUID_ERROR_FORKED (-60)

// A bug of this library; please report the message.
#define FLUID_ERROR_INTERNAL (-70)

// `progress` tells how far a load, a long prompt, a request of many texts, a save or a restore is,
// from 0 to 1; or a transcription: reading the audio counts as a twentieth, the rest goes by the
// share of it that is done. Of a download, `json` is `{"phase":"download","file":"model.gguf",
// "bytes":1048576,"total_bytes":98765432,"bytes_per_second":5242880}`, with a file among those that come now.
#define FLUID_EVENT_PROGRESS 1

// A token was drawn: `choice`, `token` and `text`. The text may be empty while a character or a stop
// string is undecided; `token` is -1 for text that was held back until the end. Where they were
// asked for, `logprob` and `json` hold its log-probabilities, the latter as `logprobs` in OpenAI's
// streams; with `echo` the first event's text begins with the prompt.
#define FLUID_EVENT_TOKEN 2

// A segment of speech was decided: `text`, `start`, `end`; `logprob` is the average
// log-probability of its tokens, and `json` the segment as in OpenAI's "verbose_json", with its
// words where they were asked for.
#define FLUID_EVENT_SEGMENT 3

// The language spoken was detected: `text` is its code, such as "en", and `json` is
// `{"language":"en","probability":0.98}`.
#define FLUID_EVENT_LANGUAGE 4

// Something is not as asked, such as the device that is used; `text` says what and why, in one
// line. The job goes on.
#define FLUID_EVENT_NOTICE 5

// Like `FLUID_EVENT_TOKEN`, but `text` is the model's reasoning, which stands before its answer.
#define FLUID_EVENT_REASONING 6

// A call of a tool begins or goes on: `json` is OpenAI's delta, at first
// `{"index":0,"id":"call_...","type":"function","function":{"name":"...","arguments":""}}`, then
// `{"index":0,"function":{"arguments":"..."}}` with the next piece. `text` is empty. `token` is the
// token's id; of a token that decides several things only the first event has it, others have -1.
#define FLUID_EVENT_TOOL_CALL 7

// Something happened to a model of the engine: see `fluid_engine_events`. `text` tells it in one line,
// `json` for programs.
#define FLUID_EVENT_MODEL 8

// The job's one end: `status` tells how, and `json` holds what `fluid_job_json` gives, which is
// plain text where the format asked for is one.
#define FLUID_EVENT_END 100

// Interleaved samples, 32-bit floats from -1 to 1 in the machine's byte order. NaN and infinities
// count as 0.
#define FLUID_AUDIO_PCM_F32 1

// Interleaved samples, 16-bit integers in the machine's byte order.
#define FLUID_AUDIO_PCM_I16 2

// The bytes of an audio file: WAV, FLAC, MP3, OGG Vorbis, M4A or AAC.
#define FLUID_AUDIO_ENCODED 3

// The path of such a file, UTF-8 on every system.
#define FLUID_AUDIO_PATH 4

// A call or a job failed.
#define FLUID_LOG_ERROR 1

// Something works, but not as asked.
#define FLUID_LOG_WARN 2

// Loads, frees, choices made.
#define FLUID_LOG_INFO 3

// What the model libraries say, step by step.
#define FLUID_LOG_DEBUG 4

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Version of the binary interface of the library that is loaded. A program works with it if
// the major number (upper 16 bits) is that of `FLUID_ABI_VERSION` and the minor number is not
// smaller. Works on any thread, in a forked child too.
uint32_t fluid_abi_version(void);

// Version of the library that is loaded, such as "0.1.0". The string is static.
const char *fluid_version(void);

// The name of `status`, such as `FLUID_ERROR_NOT_FOUND`; "unknown status" for a number that is
// none. Works on any thread, in a forked child too. The string is static.
const char *fluid_status_name(fluid_status status);

// One line on why the last call on this thread that returns a `fluid_status` failed; empty after
// one that did not. Read it before you free things: frees return a status too. Never `NULL`. The
// string is borrowed until this thread's next call that returns a `fluid_status`.
const char *fluid_last_error(void);

// Frees a string that a function of this library gave you to own. `NULL` does nothing.
//
// Callers see to it that:
// `text` is `NULL`, or such a string that was not freed yet.
void fluid_string_free(char *text);

// Frees floats that a function of this library gave you to own. `NULL` does nothing.
//
// Callers see to it that:
// `data` is `NULL`, or such floats that were not freed yet.
void fluid_floats_free(float *data);

// Makes an engine. Several can live side by side; each has its own models and threads.
//
// `options_json`: `NULL`, or a JSON object borrowed for the call; an unknown key is refused:
//
// | key | meaning | default |
// |---|---|---|
// | `max_queue` | how many jobs may wait for a slot of one model | 256 |
// | `event_queue` | how many events wait in one job for its reader before the job pauses | 256 |
// | `openvino_library` | OpenVINO's C library, or the folder that holds it; one process has one, the first that was opened | looked for when a model first needs it: by the variable `FLUID_OPENVINO_LIB`, beside libfluid, in the active Python environment, where Intel's installer puts it, in the system's library folders |
// | `model_dir` | the folder that names of models lead to, see `fluid_models`; need not be there yet | none: `fluid_load_model` takes paths only |
// | `cache_dir` | a folder for models that OpenVINO has compiled, so that the next load takes less time; it takes as much room again as they do, and can be deleted when no model is loading | `cache` in the model folder |
// | `max_memory` | GiB that all models may take together, as `fluid_estimate` counts; 0 for no limit | 0 |
// | `idle_timeout` | seconds without a job after which a model gives its memory back; 0 for never | 0 |
// | `idle_check_interval` | seconds between looks at that, 0.01 to 86,400 | 60 |
// | `hub_endpoint` | the address of a hub that speaks Hugging Face's protocol | the variable `HF_ENDPOINT`, or `"https://huggingface.co"` |
// | `hub_token` | a user's token; it goes to the hub alone, and into no message; `""` for none | the variable `HF_TOKEN`, or the file at `HF_TOKEN_PATH`, `$HF_HOME/token` or `~/.cache/huggingface/token` |
// | `offline` | ask no hub | whether the variable `HF_HUB_OFFLINE` says so |
//
// A model is looked at each `idle_check_interval` only: with a short `idle_timeout` set both. Each load is a model of
// its own, which takes memory of its own.
//
// A model that gave its memory back is still there: its handle, its information and its queue. The next
// request has it loaded again, with the options it had; it takes that much longer, and can be
// cancelled meanwhile. What lay in its KV cache is computed again. `max_memory` is kept so: a load that
// it has no room for has idle models give way, the least recently used one first, and fails with the
// sums where they do not suffice; a model that jobs wait for also has busy ones give way, when the jobs
// they have begun have ended, in the order they asked. Models loaded with `pinned` stay.
//
// Errors: `FLUID_ERROR_INVALID_JSON`, `FLUID_ERROR_INVALID_REQUEST` for an unknown key or a
// wrong value. On success `*out_engine` is owned by the caller, free with `fluid_engine_free`.
//
// Callers see to it that:
// `options_json` is `NULL` or NUL-terminated; `out_engine` is `NULL` or can be written to.
fluid_status fluid_engine_new(const char *options_json,
                              struct fluid_engine **out_engine);

// Describes an engine as a JSON object: `max_memory_bytes`, `memory_bytes` (what its models take, as
// estimated), `idle_timeout`, `idle_check_interval`, and `models`, each with `model` (its name), `path`,
// `state` ("loading", "loaded", "unloaded"), `pinned`, `jobs` (that have not ended), `idle_seconds` and
// `memory_bytes`. On success `*out_json` is owned by the caller, free with `fluid_string_free`.
//
// Callers see to it that:
// `out_json` can be written to.
fluid_status fluid_engine_info(struct fluid_engine *engine,
                               char **out_json);

// Starts a job without an end of its own that tells what happens to the engine's models unasked, as
// events of kind `FLUID_EVENT_MODEL`. Read it like any job, or attach it to a queue. The events'
// `json` has `event`, `model` (the name that it was loaded by) and `path`, as `fluid_model_info` has it:
//
// | `event` | what happened | more |
// |---|---|---|
// | `"loaded"` | a model was loaded, or loaded again | `seconds`, `bytes` |
// | `"unloaded"` | a model gave its memory back | `reason`: `"idle"`, `"memory"` (another needs it), `"trim"`, `"unwanted"` (the jobs that had it loaded again were stopped); `bytes` |
// | `"loading"` | jobs wait for it, and it is loaded again | |
// | `"load_failed"` | that failed; the jobs that waited ended with the same error | `message` |
// | `"notice"` | a load does not go as asked, such as on another device | `message` |
//
// Where the reader falls behind, the oldest events beyond `event_queue` are dropped. The job ends with
// `FLUID_CANCELLED` when the engine is freed or the job is cancelled. On success `*out_job` is owned by
// the caller, free with `fluid_job_free`.
//
// Callers see to it that:
// `out_job` can be written to.
fluid_status fluid_engine_events(struct fluid_engine *engine,
                                 struct fluid_job **out_job);

// Gives memory back, as when the system runs short of it: models that have no jobs and are not
// `pinned` are unloaded until they are used again. Waits until they are, at most two seconds for each;
// inside the log callback not at all. `out_json` may be `NULL`; on success `*out_json` is
// `{"unloaded": ["..."], "bytes": 123}`, owned by the caller, free with `fluid_string_free`.
//
// Callers see to it that:
// `out_json` is `NULL` or can be written to.
fluid_status fluid_engine_trim(struct fluid_engine *engine,
                               char **out_json);

// Frees an engine: cancels its jobs, frees its models, joins its threads. Native work that
// cannot be stopped (one node of a model's graph, the reading of a model's metadata) is waited
// for. Handles of its models then are invalid; handles of its jobs live until they are freed,
// their events and results too. Its jobs end with `FLUID_CANCELLED`, and so do the calls that
// run them. Inside the log callback it does not wait; the end of the process then does. `NULL` does nothing.
//
// Errors: `FLUID_ERROR_INVALID_HANDLE` when it was freed before.
fluid_status fluid_engine_free(struct fluid_engine *engine);

// Lists what models can run on, as a JSON object:
//
// - `cpu`: `name`, `architecture`, `instructions` (sets that kernels are written for, as far as this
//   processor has them), `instructions_needed` by this build and `instructions_missing` of these,
//   `physical_cores` and `logical_cores` of the machine, `usable_cores` for this process,
//   `memory_bytes`, `memory_available_bytes`, and `container` with its limits
//   (`memory_limit_bytes`, `memory_used_bytes`, `cpus`) or null;
// - `devices`, those of both backends: `id`, as the load option `device` takes it, `backend`
//   ("llama.cpp" or "openvino"), `name`, `type` ("cpu", "gpu", "npu"), `integrated` (of GPUs),
//   `memory_bytes`, `memory_free_bytes`, `capabilities`, and `runs`: "gguf", "whisper";
// - `notes`: why a backend's devices are not listed, a sentence each.
//
// What is not known is null. Each backend numbers its own GPUs. Drivers may be slow: each backend has
// 5 seconds to answer, then a note says that it did not. OpenVINO's library is opened for this, and
// stays open.
//
// `engine` may be `NULL`: it only says where OpenVINO's library is (`openvino_library`). On success
// `*out_json` is owned by the caller, free with `fluid_string_free`.
//
// Callers see to it that:
// `out_json` can be written to.
fluid_status fluid_devices(struct fluid_engine *engine,
                           char **out_json);

// Checks what an installation needs and has: the library, the system, the processor, memory, OpenVINO's
// library with its parts and devices, the folders of models and of compiled models, the hub's
// settings. It loads no model and uses no network, and works with everything broken: what is wrong is
// in the result.
//
// `engine` may be `NULL`. `options_json` is `NULL` or a JSON object, borrowed for the call; what it does
// not say is the engine's:
//
// | key | meaning | default |
// |---|---|---|
// | `openvino` | open OpenVINO's library and ask it for devices | true |
// | `openvino_library` | the library or a folder that holds it | the engine's, else it is looked for |
// | `model_dir`, `cache_dir` | folders to examine; a file is written to each and taken away | the engine's |
// | `timeout_ms` | how long each native library may take to answer, 100 to 600,000 | 10,000 |
//
// On success `*out_json` is `{"ok": true, "checks": [{"name": "memory", "status": "ok", "found": "...",
// "advice": null}, ...], "text": "..."}`. `status` is "ok", "info" (nothing to judge), "warning"
// (something works less well, or some models do not) or "error"; `ok` is false where one is an error.
// `advice` names what to do. `text` has all of it for reading, in lines. A token for the hub is never in it.
// It is owned by the caller, free with `fluid_string_free`.
//
// What holds where a native library crashes: nothing can stop that inside this process. A library
// that cannot be loaded is a line of the report, but one whose own code faults while it is opened or asked,
// as broken drivers have done, ends the process. `{"openvino": false}` leaves OpenVINO alone, so a
// program that died in the first call can make this one after its next start.
//
// Errors: `FLUID_ERROR_INVALID_JSON`, `FLUID_ERROR_INVALID_REQUEST`.
//
// Callers see to it that:
// `options_json` is `NULL` or NUL-terminated; `out_json` can be written to.
fluid_status fluid_doctor(struct fluid_engine *engine,
                          const char *options_json,
                          char **out_json);

// Fetches a model from the hub into the model folder, and waits for the end of it.
//
// `name` is one that `fluid_load_model` takes: `owner/repo`, `owner/repo:Q8_0`, `owner/repo@revision`,
// `owner/repo/file.gguf` or a short name; borrowed for the call. Of a repository that is chosen which makes one
// model: a GGUF file with the other parts of a split one, or OpenVINO's files. What is here whole is not fetched
// again, and no hub is asked, unless the options name a revision, a file or a local name. `options_json` is
// `NULL` or a JSON object, borrowed for the call; an unknown key is refused:
//
// | key | meaning | default |
// |---|---|---|
// | `revision` | a branch, a tag or a commit | the name's own, or `"main"` |
// | `file` | one file of the repository | the name's own, or what the model needs |
// | `model_type` | `"llm"`, `"whisper"` or `"embedding"` | what the name tells |
// | `local_name` | its name in the model folder | the repository's |
// | `deadline_ms` | give up after this time | none |
//
// The hub and who asks are options of `fluid_engine_new`. Up to four files come at once, beside their
// places and under other names (`FILE.*.part`); each is compared with the hub's checksum and then
// renamed, so that a file in the model folder is whole. What a download that ended early has got
// stays, and the next one goes on from there, after a crash too. A second download of the same model, in
// this process or another, waits for the first (`FLUID_EVENT_NOTICE`) and then finds its files. Connections
// that break, or on which nothing comes for 30 seconds, are made again; a file is given up after six
// failures in a row.
//
// `callback` may be `NULL`; it gets `FLUID_EVENT_PROGRESS` events some ten times a second, whose `json`
// tells file, bytes and rate, and the final one, on this thread, and can cancel. `user_data` is handed to
// it. `out_json` may be `NULL`. On `FLUID_OK` `*out_json` is `{"path": what to load, "repo", "revision":
// the commit, "files": [{"path", "bytes", "sha256"}], "bytes", "downloaded_bytes": what came over the
// network}`, of a model that was here `path` alone, with `null`, `[]` and 0 for the rest; on `FLUID_CANCELLED`
// and `FLUID_DEADLINE` it is `{}`. It is owned by the caller, free with `fluid_string_free`.
//
// Errors: `FLUID_ERROR_NOT_FOUND` (no such repository, revision or file; or it may not be fetched, for
// `offline` is set), `FLUID_ERROR_ACCESS_DENIED`, `FLUID_ERROR_NETWORK`, `FLUID_ERROR_DISK_FULL`,
// `FLUID_ERROR_IO`, `FLUID_ERROR_INVALID_MODEL` (what comes is not what the hub lists),
// `FLUID_ERROR_QUEUE_FULL` (16 downloads run), `FLUID_ERROR_UNSUPPORTED` (a build without downloads), and
// those of the name (`FLUID_ERROR_INVALID_ARGUMENT`) and the options.
//
// Callers see to it that:
// Strings are NUL-terminated; `out_json` is `NULL` or can be written to; `callback` can be called
// with `user_data` until this returns.
fluid_status fluid_download(struct fluid_engine *engine,
                            const char *name,
                            const char *options_json,
                            fluid_event_fn callback,
                            void *user_data,
                            char **out_json);

// Starts to fetch a model; arguments, outcomes and errors as of `fluid_download`, except that what the hub
// or the disk says comes with the final event; the result is `fluid_job_json`. On success `*out_job` is
// owned by the caller, free with `fluid_job_free`.
//
// Callers see to it that:
// Strings are NUL-terminated; `out_job` can be written to.
fluid_status fluid_download_start(struct fluid_engine *engine,
                                  const char *name,
                                  const char *options_json,
                                  struct fluid_job **out_job);

// Loads the model that `name` stands for and waits until it can be used.
//
// `name` is UTF-8 on every system, borrowed for the call. It is one of:
//
// - a path: of a GGUF file, of the first file of a split one, or of the folder of a Whisper model in
//   OpenVINO's format as optimum-intel exports it. What is there by that path wins.
// - a model of the engine's model folder, see `fluid_models`: `"name"`, `"name:Q8_0"` for one of several
//   quantisations, `"name/file.gguf"`
// - a repository of a hub: `"owner/repo"`, `"owner/repo:Q8_0"`, `"owner/repo@revision"`, or a file
//   of it, `"owner/repo/file.gguf"`. It lies in the model folder under the repository's own name.
// - a short name of Fluid Server, such as `"whisper-tiny"`
//
// Of several GGUF files that of Q4_K_M is taken, else another one of four bits, then of five, six and
// eight, of 16, then of less than four; never a vision part (mmproj) or an importance matrix. A name
// with `..`, a drive, a backslash, control characters, or a part that begins with a dot or is a
// device's name on Windows is refused, so no name leads out of the model folder; links that lie in
// it are followed. A host that gets names from others should refuse absolute paths and those that
// `fluid_models` does not list: paths are not bound to the folder.
//
// `options_json` is `NULL` or a JSON object, borrowed for the call; an unknown key is refused:
//
// | key | meaning | default |
// |---|---|---|
// | `n_ctx` | tokens of context for each job | the model's own, as far as `kv_cache_mb` allows |
// | `n_parallel` | jobs that run together, 1 to 64 | 4 |
// | `n_threads` | threads that compute; models of one process take turns where cores are too few | one for each physical core |
// | `thread_priority` | `"low"`, `"normal"`, `"medium"`, `"high"` (Linux) | `"normal"` |
// | `cpu_affinity` | the CPUs the threads may run on, such as `[0, 1]` (Linux) | the system's choice |
// | `n_ubatch` | most tokens of one computation, at least `n_parallel` | 512 |
// | `kv_unified` | one KV cache for all jobs, or a part for each, which is faster with many | parts, where `n_parallel` times `n_ctx` fits into `kv_cache_mb` |
// | `kv_cache_tokens` | tokens that a unified cache holds for all jobs, at least `n_ctx`; jobs that do not fit wait and go on later | what fits into `kv_cache_mb` |
// | `kv_cache_mb` | MiB for the KV cache | a quarter of the free memory, at most 2048 |
// | `cache_ram_mb` | MiB of main memory for prefixes that lie outside the KV cache, 0 for none | an eighth of the free memory, at most 2048 |
// | `cache_type_k`, `cache_type_v` | `"f32"`, `"f16"`, `"bf16"`, `"q8_0"`, `"q5_1"`, `"q5_0"`, `"q4_1"`, `"q4_0"` | `"f16"` |
// | `flash_attn` | `"auto"`, `"on"`, `"off"`; quantised values need it | `"auto"` |
// | `swa_full` | sliding-window layers keep the whole context | false |
// | `embedding` | turn texts into vectors or scores instead of generating | as the file says: true for encoders, and where it names a pooling |
// | `use_mmap` | map the file instead of reading it; do not change it while it is mapped | true |
// | `device` | `"AUTO"` (a GPU with room for the model, else the CPU), `"CPU"`, `"GPU"`, `"NPU"`, `"GPU.1"`: see `fluid_devices` | `"AUTO"` |
// | `device_fallback` | where a device is not there or fails, use the next one, at last the CPU; false makes that an error | true |
// | `n_gpu_layers` | GGUF models on a GPU: layers that it computes, the output among them | as many as fit |
// | `model_type` | what the model is for, `"llm"`, `"whisper"` or `"embedding"`, where models of two kinds have its name, or a hub has it | as short names and the repository's name say |
// | `download` | fetch a model that is not here from a hub | true |
// | `cache_dir` | OpenVINO: a folder for compiled models, so that the next load takes less time | the engine's |
// | `inference_precision` | OpenVINO: `"f32"`, `"f16"` or `"bf16"` to compute in | what is fastest |
// | `vad_model` | Whisper: the file silero_vad_openvino_16k.onnx | in the model's folder, or the one around it |
// | `lora` | LoRA adapters in GGUF's format, up to 64: `[{"path": "a.gguf", "name": "a", "scale": 0.5}]`; requests choose among them | none; a name is the file's, a scale 1 |
// | `draft_model` | a smaller GGUF model of the same vocabulary, which drafts for this one: a path, or a name of the model folder | none |
// | `draft_options` | its `n_ctx`, `use_mmap` and options of the KV cache | `n_ctx` as this model's |
// | `speculative` | for requests that do not say it: see `fluid_generate` | off |
// | `chat_template` | a Jinja template in place of the model's own | the model's own |
// | `pinned` | the model's memory is given back with the model only | false |
// | `idle_timeout` | seconds without a job after which its memory is given back; 0 for never | the engine's |
// | `warm_up` | use the model once in the background when it is loaded; `fluid_model_info` has its status | false |
// | `deadline_ms` | give up after this time | none |
//
// `callback` may be `NULL`; it gets `FLUID_EVENT_PROGRESS` events and the final one, on this
// thread, and can cancel the load; where the model is fetched first, progress from 0 to 0.9 is the download's, with its `json`; and `FLUID_EVENT_NOTICE` where the model is not loaded as asked,
// such as on another device. `user_data` is handed to it.
//
// Outcomes: `FLUID_CANCELLED`, `FLUID_DEADLINE`. Errors: `FLUID_ERROR_INVALID_ARGUMENT` (`name` is none,
// or stands for models of two kinds), `FLUID_ERROR_NOT_FOUND` (with the name of the file that is
// missing, or the names that are near `name`), `FLUID_ERROR_IO`, `FLUID_ERROR_INVALID_MODEL` (a file is cut or
// altered), `FLUID_ERROR_BACKEND_MISSING` (OpenVINO's library was not found; the message lists
// where it was looked for), `FLUID_ERROR_UNSUPPORTED_MODEL` (such as an LLM in OpenVINO's format),
// `FLUID_ERROR_UNSUPPORTED_CPU`,
// `FLUID_ERROR_OUT_OF_MEMORY`, and those of the options. On `FLUID_OK` `*out_model` is owned by
// the caller, free with `fluid_model_free`.
//
// Callers see to it that:
// Strings are NUL-terminated; `out_model` can be written to; `callback` can be called with
// `user_data` until this returns.
fluid_status fluid_load_model(struct fluid_engine *engine,
                              const char *name,
                              const char *options_json,
                              fluid_event_fn callback,
                              void *user_data,
                              struct fluid_model **out_model);

// Starts to load a model; arguments, outcomes and errors as of `fluid_load_model`, except that
// what concerns the file comes with the final event. After a final event with `FLUID_OK`,
// `fluid_job_take_model` hands out the model. On success `*out_job` is owned by the caller, free
// with `fluid_job_free`.
//
// Callers see to it that:
// Strings are NUL-terminated; `out_job` can be written to.
fluid_status fluid_load_model_start(struct fluid_engine *engine,
                                    const char *name,
                                    const char *options_json,
                                    struct fluid_job **out_job);

// Describes a model as a JSON object: `name`, `path`, `capabilities` ("generate", "transcribe",
// "embed", "rerank", "tokenize"), `architecture`, `parameters`, `file_bytes`, `weights_bytes`,
// `quantization`, `context_length` (of one job or text), `context_length_trained`, `n_parallel`,
// `embedding_length`, `layers`, `heads`, `heads_kv`, `vocabulary` (its size), `special_tokens`
// (ids by what they are for), `chat_template`, `pooling` and `dimensions` (of embedding models),
// `general` (what the file says of its origin, such as `license`), `backend`, `device` (in use),
// `device_name`, `device_asked`, `fallback` (why it is another one than asked for, or null), `gpu_layers`,
// `threads`, `memory` (bytes by what they are for, as `fluid_estimate` names them: of GGUF models as
// llama.cpp tells them, of others as estimated), `residence` (whether its weights are in memory: as in
// `fluid_engine_info`), `warm_up` (`status`: "off", "running", "done" or "failed"; `elapsed_seconds`) and
// more. On success `*out_json` is owned by the caller, free with `fluid_string_free`.
//
// Callers see to it that:
// `out_json` can be written to.
fluid_status fluid_model_info(struct fluid_model *model,
                              char **out_json);

// Frees a model: its running and waiting jobs end as cancelled, its memory is given back, its
// threads are joined. Safe while other threads use the model: their calls return. `NULL` does
// nothing.
//
// Errors: `FLUID_ERROR_INVALID_HANDLE` when it was freed before.
fluid_status fluid_model_free(struct fluid_model *model);

// Lists the models in the engine's model folder (`model_dir`), with their names for
// `fluid_load_model`.
//
// In the folder, `llm`, `whisper` and `embedding` have a folder for each model, or GGUF files.
// Folders may lie in that of their owner; links are followed, except those that lead back. The
// cache that Fluid Server has in `llm/cache` is read too.
//
// `options_json` is `NULL` or a JSON object, borrowed for the call: `type`, `"llm"`, `"whisper"`
// or `"embedding"`, for these alone; `verify`, true to compare the checksums of what was fetched
// from a hub, for which all its files are read.
//
// On success `*out_json` is an object of `model_dir`, `cache_dir`, `data`, a list as of OpenAI's
// models, and `short_names`, which stand for repositories of the hub. Each of `data` has:
//
// | field | meaning |
// |---|---|
// | `name`, `id` | what loads it; give `type` as `model_type` where two have the same |
// | `type` | `"llm"`, `"whisper"`, `"embedding"`: the folder it lies in |
// | `format` | `"gguf"`, `"openvino"` |
// | `path`, `bytes`, `files` | the file or folder, and how much of it is here |
// | `complete`, `missing` | whether all of it is here, as far as headers, sizes and what is known of a download tell; else what is not |
// | `architecture`, `quantization`, `parameters`, `context_length` | what its files say, or null |
// | `loaded` | whether a model of this engine that was loaded from it is in memory |
// | `runnable`, `why_not` | whether a load can work; else why not, in a sentence |
// | `source` | the `repo` and `commit` it was fetched from, or null |
// | `created`, `owned_by` | when it was changed, in Unix time, and the repository's owner |
//
// A folder that is not there is empty. What cannot be read is left out, the log says so, or is not
// complete. Headers are read, a large vocabulary takes 100 ms, and remembered until the file
// changes. It is owned by the caller, free with `fluid_string_free`.
//
// Errors: those of the options.
//
// Callers see to it that:
// `options_json` is `NULL` or NUL-terminated; `out_json` can be written to.
fluid_status fluid_models(struct fluid_engine *engine,
                          const char *options_json,
                          char **out_json);

// Tells what a model would take of memory, before it is loaded: its files are looked at, weights are
// not read, nothing stays in memory. It takes milliseconds, with large vocabularies up to a second.
//
// `name` and `options_json` are those of `fluid_load_model`, borrowed for the call; a draft model and
// adapters count. Nothing is fetched for it. On success `*out_json` is a JSON object, owned by the caller, free with
// `fluid_string_free`:
//
// | field | meaning |
// |---|---|
// | `weights_bytes` | weights; mapped files count wholly, as do copies in the order of the processor's kernels |
// | `kv_cache_bytes` | keys, values and recurrent states; of Whisper those of one window for each job |
// | `compute_bytes` | room for what is computed |
// | `other_bytes` | vocabulary, descriptions of graphs, threads |
// | `runtime_bytes` | OpenVINO itself, where this process has not opened it yet; else 0 |
// | `total_bytes` | all of the above: what is resident when `n_parallel` jobs with full contexts run |
// | `kept_bytes_max` | what `cache_ram_mb` allows beside that; it fills as jobs finish |
// | `long_audio_bytes` | Whisper: at most so much more while recordings of over 30 seconds are transcribed |
// | `available_bytes` | memory that is free, or what `max_memory` leaves beside pinned models where that is less; `null` where the system does not say |
// | `fits` | whether the total is no more than that: other models may have to give way |
// | `fits_now` | whether it also fits into what `max_memory` leaves beside all models that are loaded now |
// | `advice` | what to do, where it does not fit |
// | `device`, `device_why` | where it would run |
// | `n_ctx`, `n_parallel`, `kv_cache_tokens`, `kv_unified` | the sizes that a load would choose now, for models that generate |
// | `n_ctx_max` | the longest `n_ctx` whose total fits; `null` where none does |
// | `contexts` | totals of other lengths: `[{"n_ctx": 2048, "total_bytes": 1, "fits": true}]` |
//
// What is resident after a load differs from the total by up to 10 % for the models of this
// project's tests; of Whisper models it is up to 20 % less on processors without AMX. The figures
// are those of a CPU that computes all of it, also where `device` is another one: the parts of a
// model that go to a GPU take its memory instead.
//
// Errors: those of `fluid_load_model` that concern the files and the options, and
// `FLUID_ERROR_NOT_FOUND` for a model that is not here, even if a hub has it. What only shows
// while weights are read, or when OpenVINO's library is opened, a load alone tells.
//
// Callers see to it that:
// Strings are NUL-terminated; `out_json` can be written to.
fluid_status fluid_estimate(struct fluid_engine *engine,
                            const char *name,
                            const char *options_json,
                            char **out_json);

// Generates an answer and waits for its end.
//
// `request_json` is a JSON object in the field names of OpenAI's chat completions, borrowed for
// the call: `messages`, or `prompt` (a text, or an array of token ids) for a raw completion;
// `max_tokens` or `max_completion_tokens`, `stop`, `temperature`, `top_p`, `seed`, `logit_bias`,
// `presence_penalty`, `frequency_penalty`; of our own: `top_k`, `min_p`, `repeat_penalty`,
// `repeat_last_n`, `chat_template_kwargs`, `deadline_ms`, and the fields below. What the request leaves out is as the
// model file recommends, else as in llama.cpp: temperature 0.8, top_k 40, top_p 0.95, min_p
// 0.05, no penalties, a random seed; and no `max_tokens` means until the model stops or the context
// is full. `model`, `user`, `stream` and the like are accepted and change nothing. A field that
// OpenAI defines and that would change the answer in a way this build lacks is refused; a field that
// nobody defines is ignored, which only the log tells.
//
// | field | meaning | default |
// |---|---|---|
// | `priority` | -1000 to 1000: higher goes first, and takes a slot from a lower one, which goes on later | 0 |
// | `cache_prompt` | take over what an earlier job computed for the same beginning, and keep this one's for later ones | true |
// | `context_shift` | in a full context, drop the oldest tokens and go on; else the answer ends with "length" | false |
// | `n_keep`, `n_discard` | tokens that stay in front then, -1 for the prompt; tokens to drop, 0 for half of the rest | -1, 0 |
// | `n` | answers to the one prompt, 1 to 128, with the seeds `seed`, `seed` + 1, ...; those that find no slot wait for one. `best_of` must be the same | 1 |
// | `logprobs`, `top_logprobs` | of a chat: true, and 0 to 20 of the likeliest tokens beside each. Natural logarithms of the softmax of the raw logits, before any sampler | false, 0 |
// | `logprobs` | of a completion: 0 to 5 of the likeliest tokens, in OpenAI's older shape; `text_offset` counts characters | none |
// | `echo` | of a completion: the prompt comes first, with `logprobs` also its tokens' | false |
// | `suffix` | of a completion: the text behind the one asked for; for models with tokens for that, others have `FLUID_ERROR_UNSUPPORTED` | none |
// | `logit_bias` | -100 to 100 by token id or by text, each of whose tokens is meant; also llama-server's `[[id or text, bias], ...]`, where `false` is never | none |
// | `ignore_eos` | nothing that ends an answer is drawn; a form that is complete ends it all the same | false |
// | `min_tokens` | before so many tokens nothing ends the answer but a form that is complete; stop strings count only in the text behind them | 0 |
// | `banned_strings`, `bad_words` | texts that never appear in the answer, exactly as written: a token that would complete one is not drawn | none |
// | `typical_p`, `top_n_sigma`, `min_keep` | llama-server's, as are the following | 1, -1, 0 |
// | `xtc_probability`, `xtc_threshold` | | 0, 0.1 |
// | `dry_multiplier`, `dry_base`, `dry_allowed_length`, `dry_penalty_last_n` | -1 looks back over 65,536 tokens | 0, 1.75, 2, 64 |
// | `dry_sequence_breakers` | | newline, colon, quote, asterisk |
// | `dynatemp_range`, `dynatemp_exponent` | | 0, 1 |
// | `mirostat`, `mirostat_tau`, `mirostat_eta` | 1 or 2: in place of all other samplers but temperature and bias | 0, 5, 0.1 |
// | `samplers` | the order: of penalties, dry, top_n_sigma, top_k, typ_p, top_p, min_p, xtc, temperature, adaptive_p; what is missing is not applied | these, without the last |
// | `adaptive_target`, `adaptive_decay` | for adaptive_p | -1, 0.9 |
// | `lora` | LoRA adapters of the model: `[{"id": 0, "scale": 0.5}]`, or `"name"` in place of `"id"`; `[]` for none, and a scale of 0 is none; without a scale it is 1, and adapters that are not named are not used | those of the load options |
// | `speculative` | drafts: `{"type": "prompt_lookup"}`, `"draft"` by the draft model, `"none"`; see below | that of the load options |
//
// Speculative decoding computes several tokens at once that a draft says come next, and keeps those that are
// drawn all the same: the text is that without drafts, up to what rounding changes in batches of another size.
// `speculative` has `type` (without one "draft" where there is a draft model, else "prompt_lookup"), `n_max` (tokens of a draft, 0 for none; 16 for a draft model), `n_min` (shorter ones are
// not tried; 0), `p_min` (a draft model's draft ends at a token less likely; 0.75), `adaptive` (drafts only as long
// as has paid so far; true). llama-server's `speculative.n_max`, `speculative.n_min` and `speculative.p_min` are
// accepted too. Nobody drafts while a prompt is computed, or while more than four jobs of a model generate. Models
// with recurrent layers or a sliding window cannot, and say so by a `FLUID_EVENT_NOTICE`.
//
// What the answer has to look like, by one of these at most; it then ends with `finish_reason`
// "stop" as soon as nothing may follow:
//
// | field | the answer is |
// |---|---|
// | `response_format` | as OpenAI has it: `{"type": "text"}`, `{"type": "json_object"}` (with `schema`, as llama-server has it), or `{"type": "json_schema", "json_schema": {"name", "strict", "schema"}}` |
// | `json_schema` | JSON for this schema, as with `strict` false |
// | `grammar` | a text of this grammar in llama.cpp's GBNF, from its rule `root` on |
// | `regex` | a text that this regular expression matches as a whole |
// | `lark` | a text of this Lark grammar in the dialect of llguidance, from its rule `start` on |
//
// Of a schema, keywords that cannot be held while tokens are drawn (`not`, `if`, `uniqueItems`,
// `contains`, `dependentRequired`, `propertyNames`, `unevaluatedProperties` and their kin, unknown
// formats, alternatives of a `oneOf` that may overlap) are refused where `strict` is true; else they
// are left out, which a `FLUID_EVENT_NOTICE` tells, as it does of unknown keywords. Members come in the
// schema's order; an object that does not say `"additionalProperties": false` may have others, with `strict` too. Grammars are compiled on a thread of their own before the job waits for its slot;
// the last sixteen of a model stay compiled. What is wrong with a
// schema is found at once; what is wrong with other grammars, and what is too much to compile, comes with the
// final event, as `FLUID_ERROR_INVALID_REQUEST` with its place.
//
// A chat may call tools and reason before it answers:
//
// | field | meaning | default |
// |---|---|---|
// | `tools` | up to 128 functions with a name, a description and `parameters`, a JSON schema of an object | none |
// | `tool_choice` | "auto", "none" (the model is not told of them), "required", `{"type": "function", "function": {"name": ...}}` for one call of that, or OpenAI's `allowed_tools` | "auto" |
// | `parallel_tool_calls` | an answer may have several calls | true |
// | `reasoning_effort` | "none", "minimal", "low", "medium", "high", "xhigh", for the template; "none" also is a budget of 0 | |
// | `enable_thinking` | for the template, which knows it as `thinking` too; false also is a budget of 0 | |
// | `reasoning_budget` | tokens of reasoning after which its end is forced: 0 for none, -1 for no limit; also as `reasoning_budget_tokens`, `thinking_budget_tokens`, `thinking_budget` | -1 |
// | `reasoning_format` | "auto" or "deepseek" tell reasoning apart; "none" leaves it in the content, with its markup | "auto" |
//
// Arguments are always valid for their schema, unless the answer is cut off: what a model may draw is held to it, with
// "required" from the first token on, with "auto" from where a call begins; an object that lists its `properties` and does
// not say more has no others. An answer that is cut off before the name of a call has its markup in the content.
// The `index` of a call counts within its choice. Which form calls have goes by the model's chat template (`tool_format` in `fluid_model_info`;
// docs/c-api.md has the list). `tools` and a form of the answer cannot be asked for together.
//
// `callback` may be `NULL`; it gets `FLUID_EVENT_PROGRESS` while a long prompt is read, a
// `FLUID_EVENT_TOKEN`, `FLUID_EVENT_REASONING` or `FLUID_EVENT_TOOL_CALL` for each token, a
// `FLUID_EVENT_NOTICE` where something is not as asked, and the final event, on this thread, and can cancel.
// `user_data` is handed to it. It is not called while the job waits for a slot: where that may
// take long, set `deadline_ms`, or use `fluid_generate_start` and `fluid_job_cancel`.
//
// `out_json` may be `NULL`. On `FLUID_OK`, `FLUID_CANCELLED` and `FLUID_DEADLINE` `*out_json` is
// OpenAI's result object with the text so far, `usage` (`prompt_tokens_details.cached_tokens` is
// how much of the prompt was there already; of a chat, `completion_tokens_details.reasoning_tokens` how
// much of the answer was reasoning), `message.reasoning_content` and `message.tool_calls` where there are
// any, `finish_reason` ("stop", "length", "tool_calls", "cancelled",
// "deadline" or, in `fluid_job_json`, "error"), `seed` and `timings` (of which `prompt_n` counts what
// was computed, `draft_n` tokens of drafts, `draft_n_accepted` those that came true); it is owned by the caller, free with `fluid_string_free`.
//
// Errors: `FLUID_ERROR_INVALID_JSON`, `FLUID_ERROR_INVALID_REQUEST`, `FLUID_ERROR_UNSUPPORTED`,
// `FLUID_ERROR_CONTEXT_OVERFLOW`, `FLUID_ERROR_QUEUE_FULL`, `FLUID_ERROR_BACKEND`,
// `FLUID_ERROR_CALLBACK`.
//
// Callers see to it that:
// `request_json` is NUL-terminated; `out_json` is `NULL` or can be written to; `callback` can
// be called with `user_data` until this returns.
fluid_status fluid_generate(struct fluid_model *model,
                            const char *request_json,
                            fluid_event_fn callback,
                            void *user_data,
                            char **out_json);

// Starts a generation; `request_json`, outcomes and errors as of `fluid_generate`, except that
// what the model finds (`FLUID_ERROR_CONTEXT_OVERFLOW`, `FLUID_ERROR_BACKEND`) comes with the
// final event. On success `*out_job` is owned by the caller, free with `fluid_job_free`.
//
// Callers see to it that:
// `request_json` is NUL-terminated; `out_job` can be written to.
fluid_status fluid_generate_start(struct fluid_model *model,
                                  const char *request_json,
                                  struct fluid_job **out_job);

// Writes down the speech in `audio` and waits for the end.
//
// `audio` is borrowed for the call. `request_json` is `NULL` or a JSON object, borrowed for the
// call, in the field names of OpenAI's transcriptions and, for what they leave out, of
// faster-whisper:
//
// | key | meaning | default |
// |---|---|---|
// | `language` | the language spoken, such as `"en"` | detected |
// | `task` | `"transcribe"`, or `"translate"` into English | `"transcribe"` |
// | `response_format` | `"json"`, `"verbose_json"`, `"text"`, `"srt"` or `"vtt"` | `"json"` |
// | `timestamp_granularities` | an array; with `"word"` each word gets its times | segments |
// | `prompt` | the text before, or one in the style wanted | none |
// | `hotwords` | words to expect, in one string | none |
// | `temperature` | 0 to 1, or an array to try until a text passes; 0 is the default | 0, 0.2 to 1 |
// | `best_of` | texts drawn at a temperature above 0, 1 to 16 | 5 |
// | `compression_ratio_threshold` | a text that compresses better repeats itself; `null` is off | 2.4 |
// | `log_prob_threshold` | a text less likely, on average, has failed; `null` is off | -1 |
// | `no_speech_threshold` | a failed text is silence from this probability on; `null` is off | 0.6 |
// | `condition_on_previous_text` | each window reads the text of the one before | true |
// | `without_timestamps` | the model does not mark the times of segments | false |
// | `max_initial_timestamp` | seconds before the first segment of a window, at most | 1 |
// | `suppress_tokens` | ids never drawn, -1 for the model's own list | `[-1]` |
// | `suppress_blank` | a text may not begin with nothing | true |
// | `repetition_penalty` | divides the logits of tokens drawn before | 1, off |
// | `no_repeat_ngram_size` | runs of so many tokens come once | 0, off |
// | `vad_filter` | skip silence; refused without a VAD model | where one is; audio of at most 30 s is heard whole if there is any speech in it |
// | `vad_parameters` | an object of what counts as speech, see below | 0.5, 100, 500, 400 |
// | `chunking_strategy` | `"auto"` or an object of type `"server_vad"`: as `vad_filter` | none |
// | `batch_size` | windows decoded together, 1 to 32 | as fits |
// | `seed` | the same one gives the same text | random |
// | `deadline_ms` | stop after this time | none |
//
// `vad_parameters` holds `threshold` (0 to 1), `min_speech_duration_ms`,
// `min_silence_duration_ms` and `speech_pad_ms`, faster-whisper's names. An array of one temperature, such as `[0]`, is
// tried alone; so is a lone number above 0.
//
// `model`, `user` and `stream` are accepted and change nothing. A field that OpenAI or
// faster-whisper defines and this build lacks (`include`, `known_speaker_names`, `beam_size`
// above 1, "diarized_json") is refused; a field that nobody defines is ignored, which only the
// log tells.
//
// `callback` may be `NULL`; it gets `FLUID_EVENT_LANGUAGE` where the language is detected, a
// `FLUID_EVENT_SEGMENT` for each segment as soon as it is decided, `FLUID_EVENT_PROGRESS`,
// `FLUID_EVENT_NOTICE` and the final event, on this thread, and can cancel. `user_data` is handed
// to it.
//
// `out_text` may be `NULL`. On `FLUID_OK`, `FLUID_CANCELLED` and `FLUID_DEADLINE` `*out_text` is
// the body that OpenAI answers with for the `response_format`: JSON for "json" and
// "verbose_json", else plain text, SRT or WebVTT; unless `FLUID_OK`, of the segments so far. It
// is owned by the caller, free with `fluid_string_free`.
//
// Errors: `FLUID_ERROR_INVALID_ARGUMENT` for an `audio` that contradicts itself or is out of range;
// `FLUID_ERROR_NOT_FOUND`, `FLUID_ERROR_IO` and `FLUID_ERROR_INVALID_AUDIO` for what it holds;
// `FLUID_ERROR_INVALID_JSON`, `FLUID_ERROR_INVALID_REQUEST`, `FLUID_ERROR_UNSUPPORTED` (also for
// a model that generates text), `FLUID_ERROR_OUT_OF_MEMORY`, `FLUID_ERROR_QUEUE_FULL`,
// `FLUID_ERROR_BACKEND`, `FLUID_ERROR_CALLBACK`.
//
// Callers see to it that:
// `audio` points to a struct as described; its `data` can be read for `bytes` bytes, or is a
// NUL-terminated path. `request_json` is `NULL` or NUL-terminated; `out_text` is `NULL` or can be
// written to; `callback` can be called with `user_data` until this returns.
fluid_status fluid_transcribe(struct fluid_model *model,
                              const struct fluid_audio *audio,
                              const char *request_json,
                              fluid_event_fn callback,
                              void *user_data,
                              char **out_text);

// Starts a transcription; arguments, outcomes and errors as of `fluid_transcribe`, except that
// what the audio holds and what the model finds comes with the final event. `audio` is copied:
// it is borrowed for this call only; the file of a path is read later. `fluid_job_json` gives the
// result, plain text in the formats that are not JSON. On success `*out_job` is owned by the
// caller, free with `fluid_job_free`.
//
// Callers see to it that:
// `audio` and `request_json` as of `fluid_transcribe`; `out_job` can be written to.
fluid_status fluid_transcribe_start(struct fluid_model *model,
                                    const struct fluid_audio *audio,
                                    const char *request_json,
                                    struct fluid_job **out_job);

// Turns texts into vectors and waits for the end.
//
// `model` is an encoder (BERT and its kin), or a decoder whose file names a pooling or that was loaded
// with `"embedding": true`.
// `request_json` is a JSON object in the field names of OpenAI's embeddings, borrowed for the call:
//
// | field | meaning | default |
// |---|---|---|
// | `input` | a text, an array of texts, an array of token ids, or an array of such arrays; 1 to 65,536 texts, none empty | required |
// | `dimensions` | keep so many numbers of each vector, the first ones; for models trained for it | all |
// | `pooling` | `"mean"`, `"cls"` or `"last"`: which tokens' states make the vector | the model's own |
// | `normalize` | make each vector's length 1 | true |
// | `truncate` | cut texts that are longer than the model takes; else they are an error that names the text | false |
// | `deadline_ms` | give up after this time | none |
//
// `model`, `user` and `encoding_format` are accepted; the vectors are floats in memory whatever
// they say. A text has at most `n_ctx` tokens, which for these models is their own up to 2,048 unless
// the load option says more. Texts of up to 64 jobs are computed together.
//
// `callback` may be `NULL`; it gets `FLUID_EVENT_PROGRESS` events and the final one, on this
// thread, and can cancel. `user_data` is handed to it.
//
// On `FLUID_OK` `*out_data` holds `*out_count` vectors of `*out_dimensions` floats, one after the
// other, in the order of the texts; on `FLUID_CANCELLED` and `FLUID_DEADLINE` those of the first
// texts, and `NULL` where there are none. It is owned by the caller, free with
// `fluid_floats_free`. `out_json` may be `NULL`, else `*out_json` is OpenAI's object without
// `data`: `model`, `usage`, and beside them `count`, `dimensions`, `truncated` (the places of
// texts that were cut) and `timings`. It is owned by the caller, free with `fluid_string_free`.
//
// Errors: `FLUID_ERROR_INVALID_JSON`, `FLUID_ERROR_INVALID_REQUEST` (also for a text that is too
// long), `FLUID_ERROR_UNSUPPORTED` (the model does not embed), `FLUID_ERROR_QUEUE_FULL`,
// `FLUID_ERROR_BACKEND`, `FLUID_ERROR_OUT_OF_MEMORY`, `FLUID_ERROR_CALLBACK`.
//
// Callers see to it that:
// `request_json` is NUL-terminated; the outputs can be written to, but `out_json` may be `NULL`;
// `callback` can be called with `user_data` until this returns.
fluid_status fluid_embed(struct fluid_model *model,
                         const char *request_json,
                         fluid_event_fn callback,
                         void *user_data,
                         float **out_data,
                         size_t *out_count,
                         size_t *out_dimensions,
                         char **out_json);

// Starts to embed; `request_json`, outcomes and errors as of `fluid_embed`, except that what the
// model finds, a text that is too long among it, comes with the final event. The vectors are
// `fluid_job_floats`, the rest of the result is `fluid_job_json`. On success `*out_job` is owned by
// the caller, free with `fluid_job_free`.
//
// Callers see to it that:
// `request_json` is NUL-terminated; `out_job` can be written to.
fluid_status fluid_embed_start(struct fluid_model *model,
                               const char *request_json,
                               struct fluid_job **out_job);

// Ranks documents by how well they answer a query, and waits for the end.
//
// `model` is a reranker: a GGUF whose pooling is "rank". `request_json` is a JSON object in the
// field names of Jina's and llama-server's rerank, borrowed for the call:
//
// | field | meaning | default |
// |---|---|---|
// | `query` | what is asked, a text | required |
// | `documents` | 1 to 65,536 texts, or objects with a `text` | required |
// | `top_n` | name so many of the best | all |
// | `return_documents` | repeat the documents in the result | false |
// | `truncate` | cut documents that are too long with the query, unless the model has a template of its own for both; else they are an error that names the document | false |
// | `deadline_ms` | give up after this time | none |
//
// `callback` may be `NULL`; it gets `FLUID_EVENT_PROGRESS` events and the final one, on this
// thread, and can cancel. `user_data` is handed to it.
//
// `out_json` may be `NULL`. On `FLUID_OK` `*out_json` is `{"results": [{"index": 3,
// "relevance_score": 4.2}, ...], "usage": ...}`, the best first; the scores are the model's own,
// for most models any number, higher is better. On `FLUID_CANCELLED` and `FLUID_DEADLINE` it has
// the first documents. It is owned by the caller, free with `fluid_string_free`.
//
// Errors: those of `fluid_embed`.
//
// Callers see to it that:
// `request_json` is NUL-terminated; `out_json` is `NULL` or can be written to; `callback` can be
// called with `user_data` until this returns.
fluid_status fluid_rerank(struct fluid_model *model,
                          const char *request_json,
                          fluid_event_fn callback,
                          void *user_data,
                          char **out_json);

// Starts to rank; `request_json`, outcomes and errors as of `fluid_rerank`, except that what the
// model finds comes with the final event; the result is `fluid_job_json`. On success `*out_job` is
// owned by the caller, free with `fluid_job_free`.
//
// Callers see to it that:
// `request_json` is NUL-terminated; `out_job` can be written to.
fluid_status fluid_rerank_start(struct fluid_model *model,
                                const char *request_json,
                                struct fluid_job **out_job);

// Makes tokens of a text, or of the prompt that a generation would begin with: what a chat costs,
// and what it looks like behind the model's template. Takes no slot and waits for no job.
//
// `request_json` is a JSON object, borrowed for the call, either with
//
// | field | meaning | default |
// |---|---|---|
// | `content` | the text | |
// | `add_special` | add the tokens that the model wants around a text | false |
// | `parse_special` | read special tokens that the text spells out as such | true |
// | `with_pieces` | spell the tokens out in the result | false |
//
// or with `messages` or `prompt` and whatever else shapes the prompt, as for `fluid_generate`, and
// `with_pieces`.
//
// On success `*out_json` is `{"tokens": [1, 2], "count": 2}`; with `with_pieces` each token is
// `{"id": 1, "piece": "text"}`, where the piece is an array of bytes if it is no whole text; for a
// text that was not given as `content`, `prompt` is that text. It is owned by the caller, free with
// `fluid_string_free`.
//
// A model that gave its memory back is loaded again first, which this call waits for; in the log callback it
// is `FLUID_ERROR_BUSY` then.
//
// Errors: `FLUID_ERROR_INVALID_JSON`, `FLUID_ERROR_INVALID_REQUEST`, `FLUID_ERROR_UNSUPPORTED` (the
// model has no such vocabulary, or cannot chat), and those of a load.
//
// Callers see to it that:
// `request_json` is NUL-terminated; `out_json` can be written to.
fluid_status fluid_tokenize(struct fluid_model *model,
                            const char *request_json,
                            char **out_json);

// Makes a text of tokens: `request_json` is `{"tokens": [1, 2]}`, borrowed for the call; with
// `"special": false` tokens that are no text are left out, else they are spelled out. On success
// `*out_json` is `{"content": "..."}`; bytes that are no whole text became U+FFFD. It is owned by the
// caller, free with `fluid_string_free`.
//
// Errors: as of `fluid_tokenize`.
//
// Callers see to it that:
// `request_json` is NUL-terminated; `out_json` can be written to.
fluid_status fluid_detokenize(struct fluid_model *model,
                              const char *request_json,
                              char **out_json);

// Saves what the KV cache holds of a prompt to a file, and waits for the end of it: a later
// process that restores it need not compute the prompt again.
//
// `request_json` is a request as of `fluid_generate`, borrowed for the call; of it count the prompt
// or the messages with what the template makes of them (`tools`, `chat_template_kwargs`, the fields of
// reasoning), `lora`, `priority`, `cache_prompt` and `deadline_ms`. What is not in the KV cache is
// computed; the state of all the prompt's tokens but the last goes into the file. Of a
// conversation, pass the messages so far: the next request that begins with them goes on from
// there. `path` is borrowed for the call. The file is written under another name beside it
// (`PATH.*.part`) and renamed when it is whole: an older file there stays until then, and a
// save that fails or is cancelled leaves nothing behind. Other jobs of the model go on while
// it is written.
//
// `callback` may be `NULL`; it gets `FLUID_EVENT_PROGRESS` events and the final one, on this
// thread, and can cancel. `user_data` is handed to it. `out_json` may be `NULL`. On `FLUID_OK`
// `*out_json` is `{"tokens": 812, "bytes": 19021356, "path": "..."}`, on `FLUID_CANCELLED` and
// `FLUID_DEADLINE` it is `{}`; it is owned by the caller, free with `fluid_string_free`.
//
// Errors: those of `fluid_generate`; `FLUID_ERROR_NOT_FOUND` (the folder is not there),
// `FLUID_ERROR_INVALID_ARGUMENT` (the path is empty, or a folder), `FLUID_ERROR_IO` (it cannot
// be written).
//
// Callers see to it that:
// Strings are NUL-terminated; `out_json` is `NULL` or can be written to; `callback` can be called
// with `user_data` until this returns.
fluid_status fluid_model_save_state(struct fluid_model *model,
                                    const char *request_json,
                                    const char *path,
                                    fluid_event_fn callback,
                                    void *user_data,
                                    char **out_json);

// Starts to save; arguments, outcomes and errors as of `fluid_model_save_state`, except that what
// the model or the disk finds comes with the final event; the result is `fluid_job_json`. On
// success `*out_job` is owned by the caller, free with `fluid_job_free`.
//
// Callers see to it that:
// Strings are NUL-terminated; `out_job` can be written to.
fluid_status fluid_model_save_state_start(struct fluid_model *model,
                                          const char *request_json,
                                          const char *path,
                                          struct fluid_job **out_job);

// Brings back what `fluid_model_save_state` wrote, and waits for the end of it: the next
// generation that begins alike finds it, as `prompt_tokens_details.cached_tokens` of its result
// tells. `path` is borrowed for the call.
//
// A state belongs to one model file, to the same cache types and flash attention, to the same
// number of parts of the KV cache (`n_parallel`, or one with `kv_unified`) and to this version of
// llama.cpp; `n_ctx` may differ as long as it holds the tokens. The state waits in main memory,
// within `cache_ram_mb`, and like others there goes when it is unused for longest.
//
// The file is read on a thread of its own and checked from its first byte to its last before
// any of it is used. Its SHA-256 shows damage, not forgery: the content of a file that passes is
// given to llama.cpp, so take files only from where you would take models.
//
// `callback` may be `NULL`; it gets `FLUID_EVENT_PROGRESS` events and the final one, on this
// thread, and can cancel. `user_data` is handed to it. `out_json` may be `NULL`. On `FLUID_OK`
// `*out_json` is `{"tokens": 812, "bytes": 19021356, "path": "..."}`, on `FLUID_CANCELLED` it is
// `{}`; it is owned by the caller, free with `fluid_string_free`.
//
// Errors: `FLUID_ERROR_NOT_FOUND`, `FLUID_ERROR_IO`; `FLUID_ERROR_INVALID_STATE` (not such a file,
// cut, damaged, of another model or other options; more tokens than `n_ctx`),
// `FLUID_ERROR_OUT_OF_MEMORY` (more than `cache_ram_mb`), `FLUID_ERROR_UNSUPPORTED` (the model
// does not generate text), `FLUID_ERROR_QUEUE_FULL`, `FLUID_ERROR_CALLBACK`.
//
// Callers see to it that:
// `path` is NUL-terminated; `out_json` is `NULL` or can be written to; `callback` can be called
// with `user_data` until this returns.
fluid_status fluid_model_restore_state(struct fluid_model *model,
                                       const char *path,
                                       fluid_event_fn callback,
                                       void *user_data,
                                       char **out_json);

// Starts to restore; arguments, outcomes and errors as of `fluid_model_restore_state`, except that
// what concerns the file comes with the final event; the result is `fluid_job_json`. On success
// `*out_job` is owned by the caller, free with `fluid_job_free`.
//
// Callers see to it that:
// `path` is NUL-terminated; `out_job` can be written to.
fluid_status fluid_model_restore_state_start(struct fluid_model *model,
                                             const char *path,
                                             struct fluid_job **out_job);

// Waits for the job's next event: `timeout_ms` 0 only looks, below 0 waits for as long as it
// takes. On `FLUID_OK` `*out_event` is borrowed until the next call of this function for the
// job, or until the job is freed.
//
// Outcomes: `FLUID_TIMEOUT`; `FLUID_END` after the final event; `FLUID_CANCELLED` when the job
// was freed while this call waited. Errors: `FLUID_ERROR_BUSY` while another thread is in this
// call, or when a queue delivers the job's events.
//
// Callers see to it that:
// `out_event` can be written to.
fluid_status fluid_job_next(struct fluid_job *job,
                            int32_t timeout_ms,
                            const struct fluid_event **out_event);

// Cancels a job. Its final event comes with `FLUID_CANCELLED`, unless the job ended before: at
// once for a load, a download or a job that waits, else after the current node of the model's graph. Any thread may
// call this at any time.
fluid_status fluid_job_cancel(struct fluid_job *job);

// The result of a job that has ended: of a generation, OpenAI's object as `fluid_generate`
// describes it, also when it was cancelled or failed; of a transcription, what `fluid_transcribe`
// describes, which is JSON only in the formats "json" and "verbose_json"; of an embedding or a
// ranking, what `fluid_embed` and `fluid_rerank` describe; of a saved or restored
// state, what `fluid_model_save_state` describes; of a download, what `fluid_download` describes; of a
// load, `{}`.
// `*out_json` is borrowed until the job is freed.
//
// Errors: `FLUID_ERROR_BUSY` while the job runs.
//
// Callers see to it that:
// `out_json` can be written to.
fluid_status fluid_job_json(struct fluid_job *job,
                            const char **out_json);

// The vectors of a job of `fluid_embed_start` that has ended: `*out_count` vectors of
// `*out_dimensions` floats, one after the other, in the order of the texts. All of them after
// `FLUID_OK`; else those of the first texts, or `NULL` where there are none. `*out_data` is
// borrowed until the job is freed.
//
// Errors: `FLUID_ERROR_BUSY` while the job runs; `FLUID_ERROR_INVALID_ARGUMENT` for other jobs.
//
// Callers see to it that:
// The outputs can be written to.
fluid_status fluid_job_floats(struct fluid_job *job,
                              const float **out_data,
                              size_t *out_count,
                              size_t *out_dimensions);

// Takes the model out of a load that ended with `FLUID_OK`, once. A load that is freed before
// frees its model. `*out_model` is owned by the caller, free with `fluid_model_free`.
//
// Errors: `FLUID_ERROR_BUSY` while the load runs; `FLUID_ERROR_INVALID_ARGUMENT` when there is no
// model to take.
//
// Callers see to it that:
// `out_model` can be written to.
fluid_status fluid_job_take_model(struct fluid_job *job, struct fluid_model **out_model);

// Has `queue` deliver the job's events, those that wait included. A job stays with its queue
// until either is freed.
//
// Errors: `FLUID_ERROR_BUSY` when the job is attached already, or a thread waits in
// `fluid_job_next` for it.
fluid_status fluid_job_attach(struct fluid_job *job, struct fluid_queue *queue);

// Frees a job: cancels it if it runs; a thread that waits in `fluid_job_next` for it returns
// `FLUID_CANCELLED`. Its events and its `fluid_job_json` text are gone. It waits for nothing: a loaded
// model that nobody took gives its memory back by itself. `NULL` does nothing.
//
// Errors: `FLUID_ERROR_INVALID_HANDLE` when it was freed before.
fluid_status fluid_job_free(struct fluid_job *job);

// Makes a queue. Attach jobs to it with `fluid_job_attach`. On success `*out_queue` is owned by
// the caller, free with `fluid_queue_free`.
//
// Callers see to it that:
// `out_queue` can be written to.
fluid_status fluid_queue_new(struct fluid_queue **out_queue);

// Waits for the next event of any attached job, in turn among the jobs that have one:
// `timeout_ms` 0 only looks, below 0 waits for as long as it takes. On `FLUID_OK` `*out_job` is
// the job's handle, which you own as before, and `*out_event` is borrowed until the next call
// of this function for the queue, or until the queue or that job is freed.
//
// There is no `FLUID_END` for a queue, since jobs may still be attached: count the jobs'
// `FLUID_EVENT_END`. Without any job a `timeout_ms` below 0 waits until one is attached.
//
// Outcomes: `FLUID_TIMEOUT`; `FLUID_CANCELLED` when the queue was freed while this call waited.
// Errors: `FLUID_ERROR_BUSY` while another thread is in this call.
//
// Callers see to it that:
// `out_job` and `out_event` can be written to.
fluid_status fluid_queue_next(struct fluid_queue *queue,
                              int32_t timeout_ms,
                              struct fluid_job **out_job,
                              const struct fluid_event **out_event);

// Frees a queue. Its jobs go on; their events can be read with `fluid_job_next` again. A thread
// that waits in `fluid_queue_next` returns `FLUID_CANCELLED`. `NULL` does nothing.
//
// Errors: `FLUID_ERROR_INVALID_HANDLE` when it was freed before.
fluid_status fluid_queue_free(struct fluid_queue *queue);

// Sets the one log callback of the process; `level` and what matters more is passed to it.
// `NULL` makes the log silent again, as it is at first. Returns once all running calls of the
// callback before have ended.
//
// Errors: `FLUID_ERROR_INVALID_ARGUMENT` for an unknown level; `FLUID_ERROR_BUSY` from inside the
// callback.
//
// Callers see to it that:
// `callback` can be called with `user_data` on any thread until it is replaced.
fluid_status fluid_log_set(fluid_log_fn callback, void *user_data, fluid_log_level level);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* FLUID_H */
