//! Requests of a transcription: what they mean, and the path each refusal names.

use std::time::Duration;

use fluid::error::ErrorKind;
use fluid::request::{ResponseFormat, SpeechTask, TranscribeRequest, VadOptions};

fn parse(request: &str) -> TranscribeRequest {
    TranscribeRequest::parse(request).expect(request)
}

fn refusal(request: &str) -> (ErrorKind, String) {
    let error = TranscribeRequest::parse(request).expect_err(request);
    (error.kind(), error.message().to_owned())
}

#[test]
fn saying_nothing_means_the_defaults() {
    let defaults = TranscribeRequest::default();
    for nothing in ["", "{}", r#"{"prompt": null, "language": "", "temperature": 0, "user": "me"}"#]
    {
        assert_eq!(parse(nothing), defaults, "{nothing}");
    }
    assert_eq!(defaults.temperatures, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
    assert_eq!(defaults.compression_ratio_threshold, Some(2.4));
    assert_eq!(defaults.log_prob_threshold, Some(-1.0));
    assert_eq!(defaults.no_speech_threshold, Some(0.6));
    assert_eq!((defaults.best_of, defaults.format), (5, ResponseFormat::Json));
    assert!(defaults.timestamps && defaults.condition_on_previous_text && !defaults.words);
    let (kind, message) = refusal(" ");
    assert_eq!(kind, ErrorKind::InvalidJson, "{message}");
}

#[test]
fn every_field_is_read() {
    let request = parse(
        r#"{"model": "whisper-1", "language": "fr", "task": "translate", "prompt": "p", "hotwords": "h",
            "response_format": "srt", "timestamp_granularities": ["segment", "word"], "temperature": [0, 0.5],
            "best_of": 16, "compression_ratio_threshold": 3, "log_prob_threshold": -2.5,
            "no_speech_threshold": 0.25, "condition_on_previous_text": false, "without_timestamps": true,
            "max_initial_timestamp": 30, "suppress_tokens": [-1, 7, 8], "suppress_blank": false,
            "repetition_penalty": 1.5, "no_repeat_ngram_size": 3, "vad_filter": false,
            "vad_parameters": {"threshold": 0.25, "min_speech_duration_ms": 1,
            "min_silence_duration_ms": 3, "speech_pad_ms": 4}, "batch_size": 32, "seed": -1, "deadline_ms": 5}"#,
    );
    let text = |text: &str| Some(text.to_owned());
    let expected = TranscribeRequest {
        model: text("whisper-1"),
        language: text("fr"),
        task: SpeechTask::Translate,
        prompt: text("p"),
        hotwords: text("h"),
        format: ResponseFormat::Srt,
        words: true,
        temperatures: vec![0.0, 0.5],
        best_of: 16,
        compression_ratio_threshold: Some(3.0),
        log_prob_threshold: Some(-2.5),
        no_speech_threshold: Some(0.25),
        condition_on_previous_text: false,
        timestamps: false,
        max_initial_timestamp: 30.0,
        suppress_tokens: Some(vec![-1, 7, 8]),
        suppress_blank: false,
        repetition_penalty: 1.5,
        no_repeat_ngram_size: 3,
        vad_filter: Some(false),
        vad: VadOptions {
            threshold: Some(0.25),
            min_speech_ms: Some(1),
            min_silence_ms: Some(3),
            speech_pad_ms: Some(4),
        },
        batch_size: Some(32),
        seed: Some(u64::MAX),
        deadline: Some(Duration::from_millis(5)),
    };
    assert_eq!(request, expected);
}

#[test]
fn null_switches_a_threshold_off() {
    let request = parse(
        r#"{"compression_ratio_threshold": null, "log_prob_threshold": null, "no_speech_threshold": null}"#,
    );
    assert_eq!(request.compression_ratio_threshold, None);
    assert_eq!(request.log_prob_threshold, None);
    assert_eq!(request.no_speech_threshold, None);
}

#[test]
fn a_lone_temperature_and_a_list_mean_different_things() {
    let temperatures = |given: &str| parse(&format!(r#"{{"temperature": {given}}}"#)).temperatures;
    assert_eq!(temperatures("0").len(), 6);
    assert_eq!(temperatures("0.0").len(), 6);
    assert_eq!(temperatures("0.3"), [0.3]);
    assert_eq!(temperatures("[0]"), [0.0]);
    assert_eq!(temperatures("[0.3, 0.1]"), [0.3, 0.1]);
}

#[test]
fn other_names_mean_the_same() {
    assert!(parse(r#"{"timestamp_granularities[]": ["word"]}"#).words);
    assert!(parse(r#"{"word_timestamps": true}"#).words);
    assert!(!parse(r#"{"timestamp_granularities": ["segment"], "word_timestamps": false}"#).words);
    assert_eq!(parse(r#"{"initial_prompt": "p"}"#).prompt.as_deref(), Some("p"));
    assert_eq!(parse(r#"{"language": "auto"}"#).language, None);
    for (name, format) in [
        ("json", ResponseFormat::Json),
        ("verbose_json", ResponseFormat::VerboseJson),
        ("text", ResponseFormat::Text),
        ("srt", ResponseFormat::Srt),
        ("vtt", ResponseFormat::Vtt),
    ] {
        assert_eq!(parse(&format!(r#"{{"response_format": "{name}"}}"#)).format, format);
    }
}

#[test]
fn openais_chunking_strategy_is_voice_activity_detection() {
    assert_eq!(parse(r#"{"chunking_strategy": "auto"}"#).vad_filter, Some(true));
    let request = parse(
        r#"{"chunking_strategy": {"type": "server_vad", "prefix_padding_ms": 300, "threshold": 0.5,
            "silence_duration_ms": 200}, "vad_parameters": {"threshold": 0.75}}"#,
    );
    assert_eq!(request.vad_filter, Some(true));
    assert_eq!(request.vad.threshold, Some(0.75), "the nearer field counts");
    assert_eq!((request.vad.min_silence_ms, request.vad.speech_pad_ms), (Some(200), Some(300)));
}

#[test]
fn wrong_fields_are_refused_with_their_path() {
    for (fields, start) in [
        (r#""model": 1"#, "model: "),
        (r#""language": 1"#, "language: "),
        (r#""task": "sing""#, "task: \"sing\" is not one of"),
        (r#""prompt": [1]"#, "prompt: "),
        (r#""prompt": "a", "initial_prompt": "b""#, "initial_prompt: "),
        (r#""response_format": "xml""#, "response_format: \"xml\" is not one of"),
        (r#""response_format": {"type": "text"}"#, "response_format: "),
        (r#""timestamp_granularities": "word""#, "timestamp_granularities: "),
        (r#""timestamp_granularities": ["word", "day"]"#, "timestamp_granularities[1]: "),
        (r#""timestamp_granularities[]": [1]"#, "timestamp_granularities[][0]: "),
        (r#""temperature": 1.5"#, "temperature: 1.5 is outside 0 to 1"),
        (r#""temperature": "hot""#, "temperature: "),
        (r#""temperature": []"#, "temperature: expected 1 to 16"),
        (r#""temperature": [0, 2]"#, "temperature[1]: "),
        (r#""temperature": [0, "a"]"#, "temperature[1]: "),
        (r#""best_of": 0"#, "best_of: "),
        (r#""best_of": 17"#, "best_of: "),
        (r#""compression_ratio_threshold": -1"#, "compression_ratio_threshold: "),
        (r#""log_prob_threshold": 0.5"#, "log_prob_threshold: "),
        (r#""no_speech_threshold": 1.1"#, "no_speech_threshold: "),
        (r#""condition_on_previous_text": 1"#, "condition_on_previous_text: "),
        (r#""max_initial_timestamp": -1"#, "max_initial_timestamp: "),
        (r#""suppress_tokens": -1"#, "suppress_tokens: "),
        (r#""suppress_tokens": [5, -2]"#, "suppress_tokens[1]: "),
        (r#""suppress_tokens": [4294967296]"#, "suppress_tokens[0]: "),
        (r#""repetition_penalty": 0"#, "repetition_penalty: "),
        (r#""no_repeat_ngram_size": 449"#, "no_repeat_ngram_size: "),
        (r#""vad_filter": "yes""#, "vad_filter: "),
        (r#""vad_parameters": []"#, "vad_parameters: "),
        (r#""vad_parameters": {"threshold": 2}"#, "vad_parameters.threshold: "),
        (r#""vad_parameters": {"speech_pad_ms": -1}"#, "vad_parameters.speech_pad_ms: "),
        (r#""chunking_strategy": "later""#, "chunking_strategy: "),
        (r#""chunking_strategy": {"threshold": 0.5}"#, "chunking_strategy.type: "),
        (r#""chunking_strategy": "auto", "vad_filter": false"#, "chunking_strategy: "),
        (r#""batch_size": 33"#, "batch_size: "),
        (r#""seed": 0.5"#, "seed: "),
        (r#""deadline_ms": 0"#, "deadline_ms: "),
        (r#""beam_size": 0"#, "beam_size: "),
    ] {
        let (kind, message) = refusal(&format!("{{{fields}}}"));
        assert_eq!(kind, ErrorKind::InvalidRequest, "{fields}: {message}");
        assert!(message.starts_with(start), "{fields}: {message}");
    }
}

#[test]
fn fields_that_this_build_lacks_are_refused() {
    for (field, path) in [
        (r#""response_format": "diarized_json""#, "response_format"),
        (r#""include": ["logprobs"]"#, "include"),
        (r#""known_speaker_names": ["A"]"#, "known_speaker_names"),
        (r#""known_speaker_references[]": ["data:"]"#, "known_speaker_references[]"),
        (r#""file": "speech.wav""#, "file"),
        (r#""beam_size": 5"#, "beam_size"),
        (r#""clip_timestamps": "0,5""#, "clip_timestamps"),
        (r#""multilingual": true"#, "multilingual"),
        (r#""vad_parameters": {"neg_threshold": 0.1}"#, "vad_parameters.neg_threshold"),
    ] {
        let (kind, message) = refusal(&format!("{{{field}}}"));
        assert_eq!(kind, ErrorKind::Unsupported, "{field}: {message}");
        assert!(message.starts_with(&format!("{path}: ")), "{field}: {message}");
    }
}

#[test]
fn what_clients_send_besides_is_accepted() {
    parse(
        r#"{"stream": true, "user": "me", "include": [], "known_speaker_names": null, "beam_size": 1,
            "multilingual": false, "something_new": {"a": 1}, "vad_parameters": {"something_new": 1}}"#,
    );
}
