//! Speech as the tests use it: Kennedy's words, models of `models/`, transcriptions over C.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::OnceLock;

use fluid::audio::{self, Input};
use fluid::ffi::*;
use serde_json::{json, Value};

use super::{c_string, last_error, model_path, on_event, status_name, Engine, Event, Job, Model};

/// What Kennedy says in `jfk.wav`, without case and punctuation.
pub const JFK: &str = "and so my fellow americans ask not what your country can do for you \
                       ask what you can do for your country";
/// Whisper base in 8 bits, with its KV cache inside and beside it.
pub const STATEFUL: &str = "whisper-base-int8-ov";
pub const STATELESS: &str = "whisper-base-int8-stateless-ov";
pub const ENGLISH: &str = "whisper-tiny.en-int8-ov";
/// The tests' own load options: exact, so that what is equal can be told from what is close.
pub const EXACT: &str = r#"{"inference_precision": "f32"}"#;
/// Samples per second of [`jfk`].
pub const RATE: u32 = 16_000;

/// Whisper base, one for all tests of a binary.
pub fn whisper() -> &'static Model {
    static SHARED: OnceLock<(Engine, Model)> = OnceLock::new();
    let make = || {
        let engine = Engine::new("");
        let model = engine.load(&model_path(STATEFUL), EXACT);
        (engine, model)
    };
    &SHARED.get_or_init(make).1
}

/// The eleven seconds of `jfk.wav`, mono at 16 kHz.
pub fn jfk() -> &'static [f32] {
    static SAMPLES: OnceLock<Vec<f32>> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        let read = audio::read(Input::Path(model_path("jfk.wav")), &mut |_| true);
        read.expect("a WAV file").expect("nobody stopped it")
    })
}

/// Silence of so many seconds.
pub fn silence(seconds: f64) -> Vec<f32> {
    vec![0.0; (seconds * f64::from(RATE)) as usize]
}

/// White noise from a fixed seed, at most `amplitude` loud.
pub fn noise(seconds: f64, amplitude: f32) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((state >> 40) as f32 / (1u32 << 23) as f32 - 1.0) * amplitude
    };
    silence(seconds).iter().map(|_| next()).collect()
}

/// The words of a text, without case and punctuation, one space between.
pub fn words(text: &str) -> String {
    let plain: String =
        text.chars().filter(|letter| letter.is_alphanumeric() || letter.is_whitespace()).collect();
    plain.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A recording to transcribe.
#[derive(Debug, Clone, Copy)]
pub enum Sound<'a> {
    /// Mono at 16 kHz.
    Samples(&'a [f32]),
    F32(&'a [f32], u32, u32),
    I16(&'a [i16], u32, u32),
    Encoded(&'a [u8]),
    Path(&'a str),
}

impl Sound<'_> {
    fn audio(&self) -> fluid_audio {
        let (kind, data, bytes, rate, channels): (_, *const c_void, _, _, _) = match *self {
            Sound::Samples(samples) => return Sound::F32(samples, RATE, 1).audio(),
            Sound::F32(samples, rate, channels) => {
                (FLUID_AUDIO_PCM_F32, samples.as_ptr().cast(), size_of_val(samples), rate, channels)
            }
            Sound::I16(samples, rate, channels) => {
                (FLUID_AUDIO_PCM_I16, samples.as_ptr().cast(), size_of_val(samples), rate, channels)
            }
            Sound::Encoded(bytes) => {
                (FLUID_AUDIO_ENCODED, bytes.as_ptr().cast(), bytes.len(), 0, 0)
            }
            Sound::Path(path) => (FLUID_AUDIO_PATH, path.as_ptr().cast(), path.len(), 0, 0),
        };
        fluid_audio {
            struct_size: size_of::<fluid_audio>() as u32,
            kind,
            data,
            bytes,
            rate,
            channels,
        }
    }
}

/// What a transcription came to.
#[derive(Debug)]
pub struct Heard {
    pub status: fluid_status,
    /// The result as it came; empty where the call failed.
    pub body: String,
    pub events: Vec<Event>,
    /// The message of a call that failed.
    pub error: String,
}

impl Heard {
    /// The result as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The words of a result in JSON.
    pub fn words(&self) -> String {
        words(self.json()["text"].as_str().expect("a text"))
    }

    /// Start, end and text of each segment, by the events.
    pub fn segments(&self) -> Vec<(f64, f64, String)> {
        segments(&self.events)
    }
}

/// Start, end and text of the segments among `events`.
pub fn segments(events: &[Event]) -> Vec<(f64, f64, String)> {
    let found = events.iter().filter(|event| event.kind == FLUID_EVENT_SEGMENT);
    found.map(|event| (event.start, event.end, event.text.clone())).collect()
}

impl Model {
    /// `fluid_transcribe` with a callback; checks that the final event is the last one and agrees.
    pub fn transcribe(&self, sound: Sound<'_>, request: &Value) -> Heard {
        let request = c_string(&request.to_string());
        let mut events: Vec<Event> = Vec::new();
        let user_data = (&raw mut events).cast();
        let (audio, mut text) = (sound.audio(), null_mut());
        // SAFETY: a sound that is borrowed until here, a C string, a callback that fits its user data,
        // and a place for the string.
        let status = unsafe {
            fluid_transcribe(
                self.raw(),
                &audio,
                request.as_ptr(),
                Some(on_event),
                user_data,
                &mut text,
            )
        };
        let error = last_error();
        let mut body = String::new();
        if status >= FLUID_OK {
            assert!(!text.is_null(), "no text came with a success");
            // SAFETY: the library's own string, not freed yet.
            body = unsafe { std::ffi::CStr::from_ptr(text) }.to_str().expect("UTF-8").to_owned();
            // SAFETY: as above; it is not used after.
            unsafe { fluid_string_free(text) };
        }
        if let Some((last, before)) = events.split_last() {
            assert!(last.is_end() && last.status == status);
            assert!(!before.iter().any(Event::is_end));
            assert!(status < FLUID_OK || last.json == body, "result and final event differ");
        }
        Heard { status, body, events, error }
    }

    /// [`transcribe`](Self::transcribe) for a request that must succeed.
    pub fn hear(&self, sound: Sound<'_>, request: &Value) -> Heard {
        let heard = self.transcribe(sound, request);
        assert_eq!(heard.status, FLUID_OK, "{}: {}", status_name(heard.status), heard.error);
        heard
    }

    /// The segments of "verbose_json" at temperature 0 alone, with `request`'s fields besides.
    pub fn segments(&self, sound: Sound<'_>, request: &Value) -> Vec<Value> {
        let mut whole = json!({"response_format": "verbose_json", "temperature": [0]});
        for (key, value) in request.as_object().expect("an object") {
            whole[key] = value.clone();
        }
        self.hear(sound, &whole).json()["segments"].as_array().expect("segments").clone()
    }

    pub fn start_transcription(&self, sound: Sound<'_>, request: &Value) -> Job {
        let request = c_string(&request.to_string());
        let (audio, mut job) = (sound.audio(), null_mut());
        // SAFETY: a sound that is borrowed until here, a C string and a place for the handle.
        let status =
            unsafe { fluid_transcribe_start(self.raw(), &audio, request.as_ptr(), &mut job) };
        assert_eq!(status, FLUID_OK, "{}: {}", status_name(status), last_error());
        Job::from_raw(job)
    }
}
