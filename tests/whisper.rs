//! What Whisper hears through the C interface: the words of every format of audio, in every format
//! of result, with every form of model.
#![cfg(feature = "openvino")]
#![allow(clippy::print_stderr, reason = "says which comparison falls away")]

#[path = "support/sound.rs"]
mod sound;
mod support;

use std::path::{Path, PathBuf};

use fluid::ffi::*;
use serde_json::{json, Value};
use sound::{wav, Coding};
use support::speech::{
    jfk, noise, silence, whisper, words, Sound, ENGLISH, EXACT, JFK, RATE, STATEFUL, STATELESS,
};
use support::{alone, model_path, status_name, tries, Engine, Event};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// Greedy, and no more: what is heard does not depend on a second attempt.
fn greedy() -> Value {
    json!({"language": "en", "temperature": [0]})
}

fn assert_jfk(sound: Sound<'_>, what: &str) {
    assert_eq!(whisper().hear(sound, &greedy()).words(), JFK, "{what}");
}

// --- audio in ---

#[test]
fn wav_of_every_depth_gives_the_words() {
    let _turn = alone();
    for (tag, bits) in [(1, 16), (1, 24), (1, 32), (3, 32)] {
        let file = wav(jfk(), RATE, 1, Coding { tag, bits });
        assert_jfk(Sound::Encoded(&file), &format!("{bits} bits, tag {tag}"));
    }
    // The noise of 8 bits costs a syllable ("my fellow America").
    let file = wav(jfk(), RATE, 1, Coding { tag: 1, bits: 8 });
    let heard = whisper().hear(Sound::Encoded(&file), &greedy()).words();
    let (start, end) = JFK.split_once("americans").expect("a word of it");
    assert!(heard.starts_with(start) && heard.ends_with(end), "8 bits: {heard}");
}

#[test]
fn encoded_speech_gives_the_words() {
    let _turn = alone();
    for name in ["jfk.mp3", "jfk.ogg", "jfk.m4a"] {
        let path = data(name);
        assert_jfk(Sound::Path(path.to_str().expect("UTF-8")), name);
    }
    let flac = std::fs::read(data("jfk.flac")).expect("a committed file");
    let heard = whisper().hear(Sound::Encoded(&flac), &greedy());
    assert_eq!(heard.words(), "and so my fellow americans");
    assert_jfk(Sound::Path(&model_path("jfk.wav")), "jfk.wav");
}

/// JFK at another rate: straight lines between the samples, or their means where there are fewer.
fn at_rate(rate: u32) -> Vec<f32> {
    let (from, step) = (jfk(), f64::from(RATE) / f64::from(rate));
    let count = (from.len() as f64 / step) as usize;
    let sample = |index: usize| f64::from(from[index.min(from.len() - 1)]);
    let at = |index: usize| {
        let place = index as f64 * step;
        let (whole, part) = (place as usize, place.fract());
        match step > 1.0 {
            true => (sample(whole) + sample(whole + 1)) / 2.0,
            false => sample(whole) * (1.0 - part) + sample(whole + 1) * part,
        }
    };
    (0..count).map(|index| at(index) as f32).collect()
}

/// The sound on each channel, a little quieter from one to the next.
fn on_channels(mono: &[f32], channels: usize) -> Vec<f32> {
    let louder = |channel: usize| 1.0 - 0.1 * channel as f32;
    mono.iter().flat_map(|sample| (0..channels).map(move |at| sample * louder(at))).collect()
}

#[test]
fn samples_of_every_rate_and_channel_count_give_the_words() {
    let _turn = alone();
    for (rate, channels) in [(8_000, 1), (16_000, 7), (44_100, 2), (48_000, 7), (192_000, 1)] {
        let floats = on_channels(&at_rate(rate), channels as usize);
        if rate != 16_000 {
            assert_jfk(Sound::F32(&floats, rate, channels), &format!("f32, {rate}, {channels}"));
        }
        if rate != 8_000 {
            let shorts: Vec<i16> = floats.iter().map(|it| (it * 32_767.0) as i16).collect();
            assert_jfk(Sound::I16(&shorts, rate, channels), &format!("i16, {rate}, {channels}"));
        }
    }
}

#[test]
fn samples_that_are_no_numbers_count_as_silence() {
    let _turn = alone();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let heard = whisper().hear(Sound::Samples(&[bad; 40_000]), &json!({}));
        assert_eq!((heard.words().as_str(), heard.segments().len()), ("", 0), "{bad}");
    }
    let mut speech = jfk().to_vec();
    for (index, sample) in speech.iter_mut().enumerate() {
        match index % 3_001 {
            0 => *sample = f32::NAN,
            1_000 => *sample = f32::INFINITY,
            _ => {}
        }
    }
    assert_jfk(Sound::Samples(&speech), "with NaN and infinity here and there");
}

#[test]
fn hardly_any_sound_is_no_error_and_no_words() {
    let _turn = alone();
    for count in [0, 1, 159, 160, 400] {
        let heard = whisper().hear(Sound::Samples(&jfk()[..count]), &greedy());
        assert_eq!(heard.words(), "", "{count} samples");
        assert_eq!(heard.segments().len(), 0);
    }
}

#[test]
fn silence_and_noise_have_no_words() {
    let _turn = alone();
    for seconds in [5.0, 40.0] {
        let heard = whisper().hear(Sound::Samples(&silence(seconds)), &json!({}));
        assert_eq!(heard.words(), "", "{seconds} s of silence");
    }
    for amplitude in [0.01, 0.1, 0.5] {
        let hiss = noise(10.0, amplitude);
        let heard = whisper().hear(Sound::Samples(&hiss), &json!({"vad_filter": true}));
        assert_eq!(heard.words(), "", "noise of {amplitude}");
    }
    // For long audio the VAD is on by itself.
    let heard = whisper().hear(Sound::Samples(&noise(40.0, 0.05)), &json!({}));
    assert_eq!(heard.words(), "");
}

#[test]
fn what_is_no_audio_is_refused_and_named() {
    let _turn = alone();
    let text = b"RIFF is how a WAV file begins; this is a text.".repeat(20);
    let refused = whisper().transcribe(Sound::Encoded(&text), &json!({}));
    assert_eq!(status_name(refused.status), "FLUID_ERROR_INVALID_AUDIO", "{}", refused.error);
    let refused = whisper().transcribe(Sound::Path("/no/such/speech.wav"), &json!({}));
    assert_eq!(status_name(refused.status), "FLUID_ERROR_NOT_FOUND");
    assert!(refused.error.contains("/no/such/speech.wav"), "{}", refused.error);
    // A cut MP3 is read as far as it goes; so is a WAV whose header speaks of more.
    let mp3 = std::fs::read(data("jfk.mp3")).expect("a committed file");
    let heard = whisper().hear(Sound::Encoded(&mp3[..mp3.len() / 2]), &greedy()).words();
    assert!(heard.starts_with("and so my fellow americans ask"), "{heard}");
    let mut lies = wav(jfk(), RATE, 1, Coding { tag: 1, bits: 16 });
    lies[40..44].copy_from_slice(&0x7fff_ff00_u32.to_le_bytes());
    assert_jfk(Sound::Encoded(&lies), "a header that lies about its length");
}

// --- forms of the model ---

/// All that a window's text was decided from: tokens, times, average log-probability.
fn decided(segments: &[Value]) -> Vec<(Value, Value, Value)> {
    let of = |it: &Value| (it["tokens"].clone(), it["start"].clone(), it["end"].clone());
    segments.iter().map(of).collect()
}

#[test]
fn both_forms_of_one_model_agree_token_for_token() {
    let _turn = alone();
    let engine = Engine::new("");
    let stateless = engine.load(&model_path(STATELESS), EXACT);
    assert_eq!(stateless.info()["format"], "stateless");
    assert_eq!(whisper().info()["format"], "stateful");
    let late = [silence(1.0), jfk().to_vec()].concat();
    let twice = [jfk(), &silence(14.0), &jfk()[..70_000], &silence(4.0)].concat();
    for (sound, request) in [
        (jfk(), json!({})),
        (jfk(), json!({"task": "translate"})),
        (jfk(), json!({"language": "fr"})),
        (jfk(), json!({"prompt": "this is a prompt without capital letters"})),
        (&late[..], json!({"without_timestamps": true})),
        (&twice[..], json!({"vad_filter": false})),
        (&twice[..], json!({"vad_filter": true})),
    ] {
        let sound = Sound::Samples(sound);
        let (one, other) =
            (whisper().segments(sound, &request), stateless.segments(sound, &request));
        assert!(!one.is_empty());
        assert_eq!(decided(&one), decided(&other), "{request}");
    }
}

/// OpenVINO computes where the last caller's tensors lay. Different recordings in turn, over all of
/// a model's threads: each must be heard as it is alone.
#[test]
fn recordings_in_turn_are_heard_as_each_alone() {
    let _turn = alone();
    let engine = Engine::new("");
    let sounds: Vec<Vec<f32>> = vec![
        jfk().to_vec(),
        jfk()[..40_000].to_vec(),
        [&silence(2.0), &jfk()[120_000..]].concat(),
        jfk()[50_000..124_000].to_vec(),
    ];
    for (name, options) in
        [(STATEFUL, ""), (STATELESS, ""), (ENGLISH, r#"{"n_parallel": 1}"#), (ENGLISH, "")]
    {
        let say = |model: &support::Model, sound: &[f32]| {
            decided(&model.segments(Sound::Samples(sound), &json!({"no_speech_threshold": null})))
        };
        let alone: Vec<_> = sounds
            .iter()
            .map(|sound| say(&engine.load(&model_path(name), options), sound))
            .collect();
        let model = engine.load(&model_path(name), options);
        for turn in 0..tries(6, 12) {
            let which = (turn * 3 + turn / 4) % sounds.len();
            assert_eq!(say(&model, &sounds[which]), alone[which], "{name} {options}, turn {turn}");
        }
    }
}

/// Where exports made by optimum-intel are, beside this repository.
fn shared(name: &str) -> Option<String> {
    let given = std::env::var_os("FLUID_SHARED").map(PathBuf::from);
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let path = given.unwrap_or_else(beside).join("models").join(name);
    if !path.is_dir() {
        eprintln!("{} is not there: nothing to compare with", path.display());
        return None;
    }
    Some(path.to_str().expect("UTF-8").to_owned())
}

#[test]
fn optimums_own_exports_give_the_words() {
    let _turn = alone();
    let engine = Engine::new("");
    for name in ["whisper-base-int8-ov", "whisper-tiny.en-int8-stateless-ov"] {
        let Some(path) = shared(name) else { continue };
        for options in ["", EXACT] {
            let model = engine.load(&path, options);
            let heard = model.hear(
                Sound::Samples(jfk()),
                &json!({"temperature": [0], "timestamp_granularities": ["word"],
                        "response_format": "verbose_json"}),
            );
            assert_eq!(heard.words(), JFK, "{name} {options}");
            assert_eq!(heard.json()["words"].as_array().map(Vec::len), Some(22));
        }
    }
}

#[test]
fn a_model_of_128_bins_and_random_weights_runs_through() {
    let _turn = alone();
    let engine = Engine::new("");
    let mut said = Vec::new();
    for name in ["tiny-random-whisper-128", "tiny-random-whisper-128-stateless"] {
        let model = engine.load(&model_path(name), EXACT);
        assert_eq!(model.info()["n_mels"], 128);
        // What it says means nothing; all of it is to come through.
        let request = json!({"language": "en", "timestamp_granularities": ["word"],
            "log_prob_threshold": null, "no_speech_threshold": null,
            "compression_ratio_threshold": null});
        let segments = model.segments(Sound::Samples(jfk()), &request);
        assert!(!segments.is_empty(), "{name} said nothing");
        let timed = segments.iter().filter_map(|it| it["words"].as_array()).map(Vec::len);
        assert!(timed.sum::<usize>() > 0, "{name}: no words in {segments:?}");
        said.push(decided(&segments));
    }
    assert_eq!(said[0], said[1], "the forms differ");
}

// --- what a request asks for ---

#[test]
fn the_language_is_detected_unless_it_is_given() {
    let _turn = alone();
    let heard = whisper().hear(Sound::Samples(jfk()), &json!({"response_format": "verbose_json"}));
    let told: Vec<&Event> =
        heard.events.iter().filter(|event| event.kind == FLUID_EVENT_LANGUAGE).collect();
    assert_eq!((told.len(), told[0].text.as_str()), (1, "en"));
    let event: Value = serde_json::from_str(&told[0].json).expect("JSON");
    let probability = event["probability"].as_f64().expect("a number");
    assert!(probability > 0.5 && probability <= 1.0, "{probability}");
    let json = heard.json();
    assert_eq!((&json["language"], &json["language_code"]), (&json!("english"), &json!("en")));
    assert_eq!(json["language_probability"], event["probability"]);
    for name in ["en", "English"] {
        let heard = whisper().hear(
            Sound::Samples(jfk()),
            &json!({"response_format": "verbose_json", "language": name}),
        );
        assert!(heard.events.iter().all(|event| event.kind != FLUID_EVENT_LANGUAGE), "{name}");
        assert_eq!(heard.json()["language"], "english");
        assert_eq!(heard.json().get("language_probability"), None);
    }
}

#[test]
fn a_foreign_language_is_written_and_translated() {
    let _turn = alone();
    let heard = whisper()
        .hear(Sound::Samples(jfk()), &json!({"language": "fr", "temperature": [0]}))
        .words();
    assert!(heard.contains("pays") && !heard.contains("country"), "in French: {heard}");
    for language in ["fr", "de"] {
        let request = json!({"language": language, "task": "translate", "temperature": [0],
                             "response_format": "verbose_json"});
        let heard = whisper().hear(Sound::Samples(jfk()), &request);
        assert_eq!(heard.json()["task"], "translate");
        assert!(heard.words().contains("what you can do for your country"), "{}", heard.body);
    }
}

#[test]
fn a_model_of_english_refuses_other_languages() {
    let _turn = alone();
    let engine = Engine::new("");
    let model = engine.load(&model_path(ENGLISH), EXACT);
    let info = model.info();
    assert_eq!((&info["multilingual"], &info["device"]), (&json!(false), &json!("CPU")));
    for (request, path) in [
        (json!({"language": "fr"}), "language: "),
        (json!({"language": "klingon"}), "language: "),
        (json!({"task": "translate"}), "task: "),
    ] {
        let refused = model.transcribe(Sound::Samples(jfk()), &request);
        assert_eq!(status_name(refused.status), "FLUID_ERROR_INVALID_REQUEST", "{request}");
        assert!(refused.error.starts_with(path), "{}", refused.error);
    }
    for request in [json!({"temperature": [0]}), greedy()] {
        assert_eq!(model.hear(Sound::Samples(jfk()), &request).words(), JFK);
    }
}

#[test]
fn a_prompt_sets_the_style() {
    let _turn = alone();
    let text = |request: &Value| {
        let json = whisper().hear(Sound::Samples(jfk()), request).json();
        json["text"].as_str().expect("a text").to_owned()
    };
    let mut request = greedy();
    let plain = text(&request);
    assert!(plain.contains(',') && plain.starts_with("And"), "{plain}");
    request["prompt"] =
        json!("and then he said to them all it is time to go home my friends and they went");
    let styled = text(&request);
    assert_eq!(words(&styled), JFK);
    assert!(!styled.contains(',') && styled.starts_with("and"), "{styled}");
}

#[test]
fn hotwords_and_suppressed_tokens_change_what_is_heard() {
    let _turn = alone();
    let logprob = |request: &Value| {
        let segments = whisper().segments(Sound::Samples(jfk()), request);
        let tokens: Vec<u64> = segments
            .iter()
            .flat_map(|it| {
                it["tokens"].as_array().expect("tokens").iter().filter_map(Value::as_u64)
            })
            .collect();
        (segments[0]["avg_logprob"].as_f64().expect("a number"), tokens)
    };
    let (plain, tokens) = logprob(&json!({}));
    let (hot, _) = logprob(&json!({"hotwords": "AMERICANS COUNTRY"}));
    assert!((plain - hot).abs() > 1e-3, "the hotwords were not read: {plain}");
    // " Americans", as the model's own list has it besides.
    let americans = 6280;
    assert!(tokens.contains(&americans), "{tokens:?}");
    let (_, tokens) = logprob(&json!({"suppress_tokens": [-1, americans]}));
    assert!(!tokens.contains(&americans), "{tokens:?}");
}

#[test]
fn a_seed_repeats_its_text() {
    let _turn = alone();
    let say = |seed: u64| {
        let request = json!({"temperature": 1, "best_of": 1, "seed": seed, "language": "en"});
        whisper().hear(Sound::Samples(jfk()), &request).body
    };
    let texts: Vec<String> = (1..5).map(say).collect();
    assert_eq!(say(2), texts[1]);
    assert!(texts.iter().any(|text| *text != texts[0]), "all seeds say {texts:?}");
}
