//! Transcriptions as jobs: stopped in time, side by side, read slowly, freed while they run.
#![cfg(feature = "openvino")]
#![allow(clippy::print_stderr, reason = "prints what it measured")]

#[path = "support/dice.rs"]
mod dice;
mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dice::Dice;
use fluid::ffi::*;
use serde_json::{json, Value};
#[cfg(target_os = "linux")]
use support::process::{held, use_one_arena};
use support::speech::{
    jfk, segments, silence, words, Sound, ENGLISH, JFK, RATE, STATEFUL, STATELESS,
};
use support::{alone, model_path, status_name, tries, Engine, Event, Job, Model};

/// What the contract promises from a cancel or a deadline to the final event.
const BOUND: Duration = Duration::from_millis(100);
/// Stops of each kind; the worst of them counts.
fn stops() -> u32 {
    tries(8, 20)
}

/// A model as a program loads it.
fn with_model(name: &str, test: impl FnOnce(&Model)) {
    let _turn = alone();
    let engine = Engine::new("");
    test(&engine.load(&model_path(name), ""));
}

/// Greedy, in English, one window after the other.
fn in_turn() -> Value {
    json!({"language": "en", "temperature": [0], "vad_filter": false,
           "condition_on_previous_text": false})
}

/// The speech `times` times, each in a window of its own.
fn windows(times: usize) -> Vec<f32> {
    [jfk(), &silence(19.0)].concat().repeat(times)
}

/// From `asked` to the arrival of the final event.
fn lateness(asked: Instant, events: &[Event]) -> Duration {
    let end = events.last().expect("a final event");
    end.arrived.saturating_duration_since(asked)
}

/// Reads a job on a thread of its own and cancels it after `pause`.
fn cancel_after(job: &Job, pause: Duration) -> (Duration, Vec<Event>) {
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| job.read());
        std::thread::sleep(pause);
        let asked = Instant::now();
        job.cancel();
        let events = reader.join().expect("a final event");
        (lateness(asked, &events), events)
    })
}

fn report(what: &str, worst: Duration) {
    eprintln!("{what}: at worst {:.1} ms", worst.as_secs_f64() * 1e3);
    assert!(worst < BOUND, "{what}: {worst:?}");
}

/// Numbers from 0 to 1 that fill the range evenly, in no order.
fn scattered(index: u32) -> f64 {
    (f64::from(index) * 0.618_033_988_75).fract()
}

/// Cancels a job at moments spread over its first `seconds`.
fn cancels(model: &Model, what: &str, sound: Sound<'_>, request: &Value, seconds: f64) {
    let mut worst = Duration::ZERO;
    let mut unstopped: Vec<String> = Vec::new();
    for index in 0..stops() {
        let job = model.start_transcription(sound, request);
        let pause = Duration::from_secs_f64(seconds * scattered(index));
        let (late, events) = cancel_after(&job, pause);
        let end = events.last().expect("a final event");
        if end.status != FLUID_CANCELLED {
            unstopped.push(format!("after {pause:?} {} {}", status_name(end.status), end.text));
        }
        worst = worst.max(late);
    }
    assert!(unstopped.len() <= stops() as usize / 8, "{what}: not all were stopped: {unstopped:?}");
    report(what, worst);
}

#[test]
fn a_cancel_while_a_window_is_encoded_or_decoded_comes_in_time() {
    for (name, form) in [(STATEFUL, "stateful"), (STATELESS, "stateless")] {
        with_model(name, |model| {
            let sound = windows(6);
            model.hear(Sound::Samples(jfk()), &in_turn());
            let what = format!("cancel in turn, {form}");
            cancels(model, &what, Sound::Samples(&sound), &in_turn(), 1.2);
            let request = json!({"vad_filter": true, "language": "en", "temperature": [0]});
            let what = format!("cancel side by side, {form}");
            cancels(model, &what, Sound::Samples(&sound), &request, 1.2);
        });
    }
}

#[test]
fn a_cancel_while_audio_is_read_or_words_are_timed_comes_in_time() {
    with_model(STATEFUL, |model| {
        // Ten minutes at 48 kHz take seconds to resample.
        let long = vec![0.01_f32; 48_000 * 600];
        let sound = Sound::F32(&long, 48_000, 1);
        cancels(model, "cancel in reading", sound, &json!({"vad_filter": true}), 0.3);
        let mp3 = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/jfk.mp3"));
        let mp3 = mp3.expect("a committed file").repeat(60);
        cancels(model, "cancel in an MP3", Sound::Encoded(&mp3), &in_turn(), 0.4);
        let mut request = in_turn();
        request["timestamp_granularities"] = json!(["word"]);
        let sound = windows(6);
        model.hear(Sound::Samples(jfk()), &request);
        cancels(model, "cancel with words", Sound::Samples(&sound), &request, 1.5);
    });
}

#[test]
fn a_deadline_comes_in_time() {
    with_model(STATEFUL, |model| {
        let sound = windows(6);
        model.hear(Sound::Samples(jfk()), &in_turn());
        let mut worst = Duration::ZERO;
        for index in 0..stops() {
            let limit = 10 + (1_000.0 * scattered(index)) as u64;
            let mut request = in_turn();
            request["deadline_ms"] = json!(limit);
            let asked = Instant::now() + Duration::from_millis(limit);
            let job = model.start_transcription(Sound::Samples(&sound), &request);
            let events = job.read();
            assert_eq!(events.last().map(|end| end.status), Some(FLUID_DEADLINE));
            worst = worst.max(lateness(asked, &events));
        }
        report("deadline", worst);
    });
}

/// What a request of [`kinds`] asks for, and how often the speech is in its sound.
type Kind = (Value, usize);

/// Requests whose steps are of many shapes: rows, tokens at once, tokens before.
fn kinds(dice: &mut Dice) -> Vec<Kind> {
    let exactly = json!({"language": "en", "temperature": [0], "vad_filter": false,
                         "response_format": "verbose_json"});
    let with = |field: &str, value: Value| {
        let mut request = exactly.clone();
        request[field] = value;
        request
    };
    let told = ["Ask not. "; 12][..1 + dice.below(12)].concat();
    vec![
        (exactly.clone(), 1),
        (with("language", Value::Null), 1),
        (with("prompt", json!(told)), 1),
        (with("timestamp_granularities", json!(["word"])), 1),
        (with("vad_filter", json!(true)), 2 + dice.below(2)),
    ]
}

/// With `FLUID_SOAK=full` some hundred times.
#[test]
fn what_is_heard_after_a_cancel_is_what_was_heard_before() {
    let rounds = tries(3, 300);
    for name in [STATEFUL, STATELESS] {
        with_model(name, |model| cancel_and_hear(name, model, rounds));
    }
}

fn cancel_and_hear(name: &str, model: &Model, rounds: u32) {
    // Nothing is ever cancelled here.
    let engine = Engine::new("");
    let calm = engine.load(&model_path(name), "");
    let mut dice = Dice::new(5);
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for round in 0..rounds {
        let mut cancelled = kinds(&mut dice);
        cancelled.push((json!({"temperature": [0.7], "best_of": 3, "seed": 1}), 1));
        let (request, times) = &cancelled[dice.below(cancelled.len())];
        let (whole, parts) = kinds(&mut dice).remove(dice.below(5));
        let sound = windows(parts);
        let hear = || calm.hear(Sound::Samples(&sound), &whole).body;
        eprintln!("{name}, round {round}");
        let before = known.entry(format!("{whole} {parts}")).or_insert_with(hear);
        let start =
            |sound: &[f32], request| model.start_transcription(Sound::Samples(sound), request);
        let job = start(&windows(*times), request);
        let beside = dice.one_in(3).then(|| start(&sound, &whole));
        let pause = 0.05 + 0.6 * *times as f64 * scattered(round);
        cancel_after(&job, Duration::from_secs_f64(pause));
        let after = start(&sound, &whole);
        for (when, job) in beside.iter().map(|job| ("beside", job)).chain([("after", &after)]) {
            let end = job.read().pop().expect("a final event");
            let what = format!("{name}, round {round}: {whole} {when} {request}");
            assert_eq!((end.status, &*end.text), (FLUID_OK, ""), "{what}");
            assert_eq!(&end.json, before, "{what}");
        }
    }
}

/// An hour with speech in its first minutes and near the end.
fn hour() -> Vec<i16> {
    let mut hour = vec![0i16; RATE as usize * 3_600];
    for start in [5, 40, 80, 130, 600, 1_800, 3_500] {
        let at = start * RATE as usize;
        for (place, sample) in hour[at..].iter_mut().zip(jfk()) {
            *place = (sample * 32_767.0) as i16;
        }
    }
    hour
}

#[test]
fn an_hour_cancelled_half_way_leaves_its_segments_in_every_format() {
    with_model(STATEFUL, |model| {
        let hour = hour();
        for (format, head) in [
            ("json", "{\"text\":\"And"),
            ("verbose_json", "{\"task\""),
            ("text", "And so"),
            ("srt", "1\n00:00:"),
            ("vtt", "WEBVTT\n\n"),
        ] {
            let mut request = in_turn();
            request["response_format"] = json!(format);
            let job = model.start_transcription(Sound::I16(&hour, RATE, 1), &request);
            let mut seen: Vec<Event> = Vec::new();
            while segments(&seen).len() < 2 {
                seen.push(job.next());
                assert!(!seen[seen.len() - 1].is_end(), "{format}: ended early");
            }
            job.cancel();
            seen.extend(job.read());
            let end = seen.last().expect("a final event");
            assert_eq!(status_name(end.status), "FLUID_CANCELLED");
            assert!(end.json.starts_with(head), "{format}: {}", end.json);
            let body = words(&end.json);
            assert!(body.contains("ask not what your country"), "{format}: {}", end.json);
            for (_, _, text) in segments(&seen) {
                assert!(body.contains(&words(&text)), "{format} lacks {text}");
            }
        }
    });
}

#[test]
fn an_hour_of_silence_and_some_speech_is_heard_where_it_is() {
    with_model(STATEFUL, |model| {
        let hour = hour();
        let request = json!({"temperature": [0], "response_format": "verbose_json"});
        let heard = model.hear(Sound::I16(&hour, RATE, 1), &request);
        assert_eq!(heard.words(), [JFK; 7].join(" "));
        let last = heard.segments().pop().expect("a segment");
        assert!((last.1 - 3_500.0).abs() < 11.0 && last.1 <= 3_512.0, "{last:?}");
    });
}

#[test]
fn progress_goes_from_reading_to_the_end() {
    with_model(STATEFUL, |model| {
        for (what, sound, request) in [
            ("in turn", windows(3), in_turn()),
            ("side by side", windows(3), json!({"vad_filter": true, "batch_size": 1})),
            ("speech, then silence", [jfk(), &silence(50.0)].concat(), json!({"vad_filter": true})),
            ("silence", silence(40.0), json!({})),
        ] {
            let events = model.hear(Sound::Samples(&sound), &request).events;
            let told = events.iter().filter(|event| event.kind == FLUID_EVENT_PROGRESS);
            let told: Vec<f64> = told.map(|event| event.progress).collect();
            assert!(told.is_sorted() && told.last() == Some(&1.0), "{what}: {told:?}");
            // The first two of three windows; the last one's end may go unseen before the 1.
            let between = told.iter().filter(|&&done| (0.1..0.8).contains(&done)).count();
            assert!(sound.len() < windows(3).len() || between >= 2, "{what}: {told:?}");
        }
    });
}

// --- side by side ---

#[test]
fn four_at_once_hear_what_each_hears_alone() {
    for name in [STATEFUL, ENGLISH] {
        with_model(name, |model| {
            let sounds: Vec<Vec<f32>> = vec![
                jfk().to_vec(),
                jfk()[50_000..].to_vec(),
                [&silence(1.0), &jfk()[..120_000]].concat(),
                jfk()[120_000..].to_vec(),
            ];
            let request = json!({"temperature": [0], "response_format": "verbose_json",
                                 "no_speech_threshold": null});
            let one = |sound: &Vec<f32>| model.hear(Sound::Samples(sound), &request).body;
            let alone: Vec<String> = sounds.iter().map(one).collect();
            for _ in 0..3 {
                let start =
                    |sound: &Vec<f32>| model.start_transcription(Sound::Samples(sound), &request);
                let jobs: Vec<Job> = sounds.iter().map(start).collect();
                for (job, alone) in jobs.iter().zip(&alone) {
                    let end = job.read().pop().expect("a final event");
                    assert_eq!((end.status, &end.json), (FLUID_OK, alone), "{name}");
                }
            }
        });
    }
}

#[test]
fn a_slow_reader_pauses_its_own_job_only() {
    let _turn = alone();
    let engine = Engine::new(r#"{"event_queue": 1}"#);
    let model = engine.load(&model_path(STATEFUL), r#"{"n_parallel": 2}"#);
    let sound = windows(3);
    let slow = model.start_transcription(Sound::Samples(&sound), &in_turn());
    for _ in 0..3 {
        assert_eq!(model.hear(Sound::Samples(jfk()), &in_turn()).words(), JFK);
    }
    let mut json = std::ptr::null();
    // SAFETY: a place for the pointer.
    let status = unsafe { fluid_job_json(slow.raw(), &mut json) };
    assert_eq!(status_name(status), "FLUID_ERROR_BUSY", "its reader has read nothing");
    let events = slow.read();
    let said: Vec<String> = segments(&events).into_iter().map(|it| it.2).collect();
    assert_eq!(words(&said.join(" ")), [JFK; 3].join(" "));
    // A job that waits for its reader can be stopped too.
    let slow = model.start_transcription(Sound::Samples(&sound), &in_turn());
    std::thread::sleep(Duration::from_millis(1_500));
    let asked = Instant::now();
    slow.cancel();
    let events = slow.read();
    assert_eq!(events.last().map(|end| end.status), Some(FLUID_CANCELLED));
    report("cancel of a paused job", lateness(asked, &events));
}

#[test]
fn a_transcription_that_nobody_reads_makes_way_for_others() {
    let _turn = alone();
    let engine = Engine::new(r#"{"event_queue": 1}"#);
    let model = engine.load(&model_path(STATEFUL), r#"{"n_parallel": 1}"#);
    let unread: Vec<Job> = (0..2)
        .map(|_| model.start_transcription(Sound::Samples(&windows(3)), &in_turn()))
        .collect();
    let mut request = in_turn();
    request["deadline_ms"] = json!(60_000);
    assert_eq!(model.hear(Sound::Samples(jfk()), &request).words(), JFK);
    for job in &unread {
        let events = job.read();
        assert_eq!(events.last().map(|end| end.status), Some(FLUID_OK));
        let said: Vec<String> = segments(&events).into_iter().map(|it| it.2).collect();
        assert_eq!(words(&said.join(" ")), [JFK; 3].join(" "));
    }
}

#[test]
fn a_full_queue_is_refused_and_waiting_jobs_can_be_cancelled() {
    let _turn = alone();
    let engine = Engine::new(r#"{"max_queue": 2}"#);
    let model = engine.load(&model_path(ENGLISH), r#"{"n_parallel": 1}"#);
    let sound = windows(3);
    let running = model.start_transcription(Sound::Samples(&sound), &in_turn());
    while running.next().kind != FLUID_EVENT_SEGMENT {}
    let waiting: Vec<Job> =
        (0..2).map(|_| model.start_transcription(Sound::Samples(&sound), &in_turn())).collect();
    let refused = model.transcribe(Sound::Samples(jfk()), &in_turn());
    assert_eq!(status_name(refused.status), "FLUID_ERROR_QUEUE_FULL");
    for job in &waiting {
        let asked = Instant::now();
        job.cancel();
        let events = job.read();
        assert_eq!((events.len(), events[0].status), (1, FLUID_CANCELLED));
        report("cancel of a waiting job", lateness(asked, &events));
    }
    assert_eq!(running.read().pop().map(|end| end.status), Some(FLUID_OK));
}

#[test]
fn models_and_engines_may_go_while_they_transcribe() {
    let _turn = alone();
    let sound = windows(4);
    for free_engine in [false, true] {
        let engine = Engine::new("");
        let model = engine.load(&model_path(ENGLISH), "");
        let start = || model.start_transcription(Sound::Samples(&sound), &in_turn());
        let jobs: Vec<Job> = (0..6).map(|_| start()).collect();
        while jobs[0].next().kind != FLUID_EVENT_SEGMENT {}
        let begin = Instant::now();
        let other = match free_engine {
            true => {
                assert_eq!(fluid_engine_free(engine.into_raw()), FLUID_OK);
                None
            }
            false => {
                assert_eq!(fluid_model_free(model.raw()), FLUID_OK);
                Some(engine)
            }
        };
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        for job in &jobs {
            let end = job.read().pop().expect("a final event");
            assert_eq!(status_name(end.status), "FLUID_CANCELLED");
        }
        let refused = model.transcribe(Sound::Samples(jfk()), &in_turn());
        assert_eq!(status_name(refused.status), "FLUID_ERROR_INVALID_HANDLE");
        drop(jobs);
        drop(model);
        drop(other);
    }
}

// --- nothing piles up ---

/// In a process of its own, which nothing else uses; with `FLUID_SOAK=full` for longer.
#[cfg(target_os = "linux")]
#[test]
fn many_transcriptions_leave_nothing_behind() {
    const CHILD: &str = "FLUID_TEST_SOAK";
    if std::env::var_os(CHILD).is_some() {
        return soak();
    }
    let _turn = alone();
    let mut child = std::process::Command::new(std::env::current_exe().expect("a file"));
    child.args(["--exact", "many_transcriptions_leave_nothing_behind", "--nocapture"]);
    let output = child.env(CHILD, "1").output().expect("this test can run itself");
    let told = String::from_utf8_lossy(&output.stderr);
    eprintln!("{}", told.trim());
    assert!(output.status.success(), "{}", output.status);
}

#[cfg(target_os = "linux")]
fn soak() {
    let (name, rounds) = tries((ENGLISH, 60), (STATEFUL, 1_000));
    use_one_arena();
    let engine = Engine::new("");
    // One thread: what it keeps for the next task depends on the last one.
    let model = &engine.load(&model_path(name), r#"{"n_parallel": 1}"#);
    let kinds = [
        in_turn(),
        json!({"vad_filter": true, "temperature": [0]}),
        json!({"timestamp_granularities": ["word"], "temperature": [0]}),
        json!({"temperature": [0.4], "best_of": 2}),
    ];
    let sounds = [jfk().to_vec(), jfk()[..38_400].to_vec(), silence(1.0)];
    let say = |turn: usize| {
        let sound = Sound::Samples(&sounds[turn % sounds.len()]);
        let job = model.start_transcription(sound, &kinds[turn % kinds.len()]);
        if turn % 5 == 4 {
            job.cancel();
        }
        job.read();
    };
    // Each kind with each sound, cancelled or not, before anything is counted: they meet anew after 60.
    (0..60).for_each(say);
    let (threads, files, _) = held();
    let mut memory: Vec<u64> = Vec::new();
    for turn in 0..rounds {
        say(turn);
        if turn % 10 == 9 {
            model.hear(Sound::Samples(jfk()), &in_turn());
            memory.push(held().2);
        }
    }
    let (threads_now, files_now, _) = held();
    assert_eq!((threads_now, files_now), (threads, files), "threads, open files");
    // What OpenVINO keeps swings by some MB; a leak leaves what came before behind for good. The
    // middle third lies between, for the leak to show.
    let third = memory.len() / 3;
    let (most, least) =
        (memory[..third].iter().max().copied(), memory[2 * third..].iter().min().copied());
    eprintln!("{name}, {rounds} transcriptions: {most:?} KiB at most, then {least:?} at least");
    let limit = most.map(|most| most + (2 << 10));
    assert!(least <= limit, "memory grows: {memory:?}");
}
