//! What a job takes over of an earlier one: how much, and that its text is that of a cold run.
#![cfg(feature = "llama")]

mod support;

use fluid::ffi::{FLUID_CANCELLED, FLUID_EVENT_PROGRESS};
use serde_json::{json, Value};
use support::greedy::{
    alone_answer, cached, cold, greedy, smollm2_subject, tiny_subjects, Judge, Subject,
};
use support::{alone, text_of, Answer, Engine, Event, Job, Model};

const SYSTEM: &str = "You are a helpful assistant. You answer in one or two sentences, you never \
    invent facts, and you always stay polite, whatever the question may be.\n\n";
const LENGTH: usize = 12;

fn tale(chapters: usize) -> String {
    (0..chapters).map(|n| format!("Chapter {n} tells of the sea and the wind. ")).collect()
}

/// A prompt of many batches, of as many as can be computed in a test.
fn long_tale(subject: &Subject) -> String {
    tale(if subject.name == "SmolLM2" { 12 } else { 60 })
}

/// Loads `subject` with `options` beside a context of 1,024 tokens.
fn load(engine: &Engine, subject: &Subject, options: &str) -> Model {
    let options = format!(r#"{{"n_ctx": 1024, "n_threads": 1, "n_ubatch": 64, {options}}}"#);
    engine.load(&subject.path, &options)
}

/// All kinds of models, each alone, with 4 slots; unified and in parts.
fn on_each_kind(test: impl Fn(&Model, &mut Judge, &Subject)) {
    let _turn = alone();
    let subjects = tiny_subjects();
    for subject in subjects.iter().chain([&smollm2_subject()]) {
        for unified in [false, true] {
            let engine = Engine::new("");
            let options = format!(r#""n_parallel": 4, "kv_unified": {unified}"#);
            let model = load(&engine, subject, &options);
            assert_eq!(model.info()["kv_unified"], unified);
            test(&model, &mut subject.judge(), subject);
        }
    }
}

fn by_ids(tokens: &[u32]) -> Value {
    let mut request = greedy("", LENGTH);
    request["prompt"] = json!(tokens);
    request
}

fn prompt_tokens(json: &Value) -> usize {
    json["usage"]["prompt_tokens"].as_u64().expect("a number") as usize
}

/// Tokens in the cache when `answer` to a prompt of `n_prompt` tokens has ended: the one drawn
/// last was never computed.
fn computed(answer: &Answer, n_prompt: usize) -> usize {
    n_prompt + answer.tokens().len() - usize::from(answer.finish_reason() == "length")
}

/// The final event of a job that was cancelled.
fn end_cancelled(job: &Job) -> Vec<Event> {
    job.cancel();
    let events = job.read();
    assert_eq!(events.last().expect("a final event").status, FLUID_CANCELLED);
    events
}

#[test]
fn regenerating_computes_one_token_and_says_the_same() {
    on_each_kind(|model, judge, subject| {
        for prompt in
            ["Once upon a time, in a village by the sea, there lived".to_owned(), tale(10)]
        {
            let request = greedy(&prompt, LENGTH);
            let cold = alone_answer(model, &request);
            // Nothing of a job without cache_prompt is kept.
            assert_eq!(cached(&model.answer(&request).json), 0, "{}", subject.name);
            for _ in 0..2 {
                let again = model.answer(&request);
                let all = prompt_tokens(&again.json);
                // Where only whole states serve, one is worth a copy from 16 tokens on.
                let is_kept = subject.name == "SmolLM2" || all > 16;
                let expected = if is_kept { all - 1 } else { 0 };
                assert_eq!(cached(&again.json), expected, "{}: {prompt:?}", subject.name);
                judge.same_answer(&prompt, &cold, &again);
            }
        }
    });
}

#[test]
fn a_conversation_that_goes_on_computes_what_is_new() {
    on_each_kind(|model, judge, subject| {
        let mut tokens = judge.plain.tokenize(&format!("{SYSTEM}Q: What is a boat?\nA:"), true);
        let mut held = 0;
        for turn in 0..3 {
            let answer = model.answer(&by_ids(&tokens));
            assert_eq!(cached(&answer.json), held, "{}: turn {turn}", subject.name);
            let cold = alone_answer(model, &by_ids(&tokens));
            judge.same(&tokens, &cold.tokens(), &answer.tokens(), answer.finish_reason() == "stop");
            held = computed(&answer, tokens.len());
            tokens.extend(answer.tokens());
            tokens.extend(judge.plain.tokenize("\nQ: And what is a ship?\nA:", false));
        }
        // To the first question again: its state is still there.
        let first = judge.plain.tokenize(&format!("{SYSTEM}Q: What is a boat?\nA:"), true);
        let again = model.answer(&by_ids(&first));
        assert_eq!(cached(&again.json), first.len() - 1, "{}", subject.name);
    });
}

#[test]
fn a_chat_takes_its_history_over() {
    let _turn = alone();
    let engine = Engine::new("");
    let model = load(&engine, &smollm2_subject(), r#""n_parallel": 2"#);
    let chat = |messages: &Value| json!({"messages": messages, "temperature": 0, "max_tokens": 24});
    let mut messages = json!([
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": "What is a boat?"},
    ]);
    let first = model.answer(&chat(&messages));
    let list = messages.as_array_mut().expect("a list");
    list.push(json!({"role": "assistant", "content": first.text()}));
    list.push(json!({"role": "user", "content": "And a ship?"}));
    let second = model.answer(&chat(&messages));
    let held = cached(&second.json);
    assert!(held >= prompt_tokens(&first.json), "{held} of {}", first.json);
    assert!(held < prompt_tokens(&second.json));
    let cold = model.answer(&cold(&chat(&messages)));
    let first_words = |answer: &Answer| answer.tokens()[..3].to_vec();
    assert_eq!(first_words(&second), first_words(&cold));
}

#[test]
fn jobs_that_run_share_what_they_begin_with() {
    on_each_kind(|model, judge, subject| {
        let prompts = ["What is a boat?", "Who was Ada Lovelace?", "Name a river."]
            .map(|question| format!("{SYSTEM}{question}"));
        let cold = prompts.each_ref().map(|prompt| alone_answer(model, &greedy(prompt, LENGTH)));
        let mut endless = greedy(&format!("{SYSTEM}Count: 1, 2, 3,"), 600);
        endless["logit_bias"] = json!({"0": -100, "2": -100});
        let running = model.start(&endless);
        running.next_token();
        let running_tokens = judge.plain.tokenize(endless["prompt"].as_str().expect("text"), true);
        let jobs = prompts.each_ref().map(|prompt| model.start(&greedy(prompt, LENGTH)));
        for ((job, prompt), cold) in jobs.iter().zip(&prompts).zip(&cold) {
            let events = job.read();
            judge.same_events(prompt, cold, &events, false);
            let tokens = judge.plain.tokenize(prompt, true);
            let common = tokens.iter().zip(&running_tokens).take_while(|(a, b)| a == b).count();
            let held = cached(&job.json());
            // Where only whole states serve, the first of them leaves one for the others.
            match subject.name {
                "SmolLM2" => assert!(held >= common && held < tokens.len(), "{held} of {common}"),
                _ => assert!(held == 0 || (held >= 16 && held < tokens.len()), "{held}"),
            }
        }
        let last = model.answer(&greedy(&prompts[0], LENGTH));
        assert!(cached(&last.json) >= 16, "{}", subject.name);
        end_cancelled(&running);
    });
}

/// One slot, so that the second prompt takes the place of the first.
#[test]
fn a_state_comes_back_from_main_memory() {
    let _turn = alone();
    let subjects = tiny_subjects();
    for subject in subjects.iter().chain([&smollm2_subject()]) {
        for (mebibytes, comes_back) in [(64, true), (0, false)] {
            let engine = Engine::new("");
            let options = format!(r#""n_parallel": 1, "cache_ram_mb": {mebibytes}"#);
            let model = load(&engine, subject, &options);
            let mut judge = subject.judge();
            let request = greedy(SYSTEM, LENGTH);
            let first = model.answer(&request);
            model.answer(&greedy(&tale(8), LENGTH));
            let again = model.answer(&request);
            let expected = if comes_back { prompt_tokens(&again.json) - 1 } else { 0 };
            assert_eq!(cached(&again.json), expected, "{}, {mebibytes} MiB", subject.name);
            judge.same_answer(SYSTEM, &first, &again);
        }
    }
}

#[test]
fn without_cache_prompt_nothing_is_taken_over_and_nothing_kept() {
    on_each_kind(|model, judge, subject| {
        let request = greedy(SYSTEM, LENGTH);
        let first = model.answer(&cold(&request));
        let second = model.answer(&request);
        let third = model.answer(&cold(&request));
        let fourth = model.answer(&request);
        let held = [&first, &second, &third, &fourth].map(|answer| cached(&answer.json));
        assert_eq!(held, [0, 0, 0, prompt_tokens(&fourth.json) - 1], "{}", subject.name);
        assert_eq!(first.text(), third.text(), "{}: the same computation", subject.name);
        for answer in [&second, &fourth] {
            judge.same_answer(SYSTEM, &first, answer);
        }
    });
}

#[test]
fn a_job_cancelled_in_its_prompt_leaves_what_others_share() {
    on_each_kind(|model, judge, subject| {
        let prompts =
            [format!("{SYSTEM}What is a boat?"), format!("{SYSTEM}{}", long_tale(subject))];
        let colds = prompts.each_ref().map(|prompt| alone_answer(model, &greedy(prompt, LENGTH)));
        model.answer(&greedy(&prompts[0], LENGTH));
        let cut = model.start(&greedy(&prompts[1], LENGTH));
        while cut.next().kind != FLUID_EVENT_PROGRESS {}
        let events = end_cancelled(&cut);
        assert_eq!(text_of(&events), "", "{}: it was stopped in its prompt", subject.name);
        for (prompt, cold) in prompts.iter().zip(&colds) {
            let answer = model.answer(&greedy(prompt, LENGTH));
            let held = cached(&answer.json);
            assert!(held >= 16 && held < prompt_tokens(&answer.json), "{}: {held}", subject.name);
            judge.same_answer(prompt, cold, &answer);
        }
    });
}

/// Idle states lie beside those of jobs that are stopped in the middle of a batch.
#[test]
fn idle_states_survive_the_cancels_of_others() {
    on_each_kind(|model, judge, subject| {
        let request = greedy(SYSTEM, LENGTH);
        let cold = alone_answer(model, &request);
        let first = model.answer(&request);
        let mut longer = judge.plain.tokenize(SYSTEM, true);
        longer.extend(first.tokens());
        longer.extend(judge.plain.tokenize(" And then", false));
        let cold_longer = alone_answer(model, &by_ids(&longer));
        for _ in 0..2 {
            let prompt = long_tale(subject);
            let endless = json!({"prompt": prompt, "temperature": 0, "max_tokens": 150});
            let others = [model.start(&endless), model.start(&endless)];
            others[0].next();
            end_cancelled(&others[0]);
            others[1].next_token();
            end_cancelled(&others[1]);
        }
        let again = model.answer(&request);
        assert_eq!(cached(&again.json), prompt_tokens(&again.json) - 1, "{}", subject.name);
        judge.same_answer(SYSTEM, &cold, &again);
        let on = model.answer(&by_ids(&longer));
        assert!(cached(&on.json) >= prompt_tokens(&again.json), "{}", subject.name);
        judge.same(&longer, &cold_longer.tokens(), &on.tokens(), on.finish_reason() == "stop");
    });
}
