//! A full context, and a KV cache that is smaller than its jobs together.
#![cfg(feature = "llama")]

mod support;

use fluid::ffi::{fluid_job_json, FLUID_ERROR_BUSY, FLUID_OK};
use serde_json::{json, Value};
use support::greedy::{alone_answer, greedy, smollm2_subject, tiny_subjects, Subject};
use support::llama::{likeliest, sequence, Plain};
use support::{alone, status_name, tokens_of, Answer, Engine, Event, Job, Model};

const N_CTX: usize = 96;
const PROMPT: &str = "Once upon a time, in a village by the sea, there lived an old man who";

/// Two slots of [`N_CTX`] tokens.
fn load(engine: &Engine, subject: &Subject, unified: bool) -> Model {
    let options = json!({"n_ctx": N_CTX, "n_parallel": 2, "n_threads": 1, "kv_unified": unified});
    engine.load(&subject.path, &options.to_string())
}

/// A greedy request that does not end by itself.
fn unending(prompt: &str, max_tokens: usize) -> Value {
    let mut request = greedy(prompt, max_tokens);
    request["logit_bias"] = json!({"0": -100, "2": -100});
    request
}

fn shifting(prompt: &str, max_tokens: usize, n_keep: i64, n_discard: i64) -> Value {
    let mut request = unending(prompt, max_tokens);
    request["context_shift"] = json!(true);
    request["n_keep"] = json!(n_keep);
    request["n_discard"] = json!(n_discard);
    request
}

#[test]
fn a_full_context_is_an_error_for_a_prompt_and_the_end_of_an_answer() {
    let _turn = alone();
    let subjects = tiny_subjects();
    for subject in subjects.iter().chain([&smollm2_subject()]) {
        let engine = Engine::new("");
        let model = load(&engine, subject, false);
        let prompt = vec![1_000; N_CTX];
        for shift in [false, true] {
            let request = json!({"prompt": prompt, "max_tokens": 1, "context_shift": shift});
            let answer = model.generate(&request);
            assert_eq!(status_name(answer.status), "FLUID_ERROR_CONTEXT_OVERFLOW");
            assert!(answer.error.contains("96 tokens"), "{}", answer.error);
        }
        let answer = model.answer(&unending(PROMPT, 1_000));
        let usage = &answer.json["usage"];
        assert_eq!(answer.finish_reason(), "length", "{}", subject.name);
        assert_eq!(usage["total_tokens"], N_CTX, "{}", subject.name);
    }
}

/// At `n_ctx` tokens, `count` of them from `at` on are dropped.
struct Shift {
    n_ctx: usize,
    at: usize,
    count: usize,
}

/// What `n_keep` and `n_discard` come to: where the dropped tokens begin, and how many go.
fn dropped(n_prompt: usize, n_keep: i64, n_discard: i64) -> Shift {
    let asked = usize::try_from(n_keep).unwrap_or(n_prompt);
    let at = asked.clamp(1, N_CTX * 3 / 4);
    let count = match usize::try_from(n_discard).expect("not negative") {
        0 => (N_CTX - at) / 2,
        count => count.min(N_CTX - at - 1),
    };
    Shift { n_ctx: N_CTX, at, count }
}

/// llama.cpp by itself with the same shifts: keys move in its cache, or with `anew` all that stays
/// is computed again.
fn plain_shifting(
    plain: &mut Plain,
    prompt: &[u32],
    count: usize,
    shift: &Shift,
    anew: bool,
) -> Vec<u32> {
    let mut tokens = prompt.to_vec();
    let mut answer = Vec::new();
    plain.forget(0);
    plain.decode(&sequence(&tokens, 0, 0));
    loop {
        let mut logits = plain.last_logits().to_vec();
        for end in [0, 2] {
            logits[end] -= 100.0;
        }
        let token = likeliest(&logits);
        tokens.push(token);
        answer.push(token);
        if answer.len() == count {
            return answer;
        }
        let mut from = tokens.len() - 1;
        if tokens.len() == shift.n_ctx {
            tokens.drain(shift.at..shift.at + shift.count);
            from = tokens.len() - 1;
            if anew {
                plain.forget(0);
                from = 0;
            } else {
                plain.shift(shift.at, shift.count);
            }
        }
        plain.decode(&sequence(&tokens[from..], 0, from));
    }
}

#[test]
fn a_shifted_context_goes_on_as_in_llama_cpp_itself() {
    let _turn = alone();
    let subject = smollm2_subject();
    let engine = Engine::new("");
    let model = load(&engine, &subject, false);
    let mut plain = Plain::load(&subject.path, N_CTX as u32, 1, 1);
    let prompt = plain.tokenize(PROMPT, true);
    for (n_keep, n_discard, count) in [(-1, 0, 125), (0, 16, 110), (1_000, 1_000, 90)] {
        let answer = model.answer(&shifting(PROMPT, count, n_keep, n_discard));
        let shift = dropped(prompt.len(), n_keep, n_discard);
        let expected = plain_shifting(&mut plain, &prompt, count, &shift, false);
        assert_eq!(answer.tokens(), expected, "n_keep {n_keep}, n_discard {n_discard}");
        assert_eq!((answer.text().is_empty(), answer.finish_reason()), (false, "length"));
    }
}

#[test]
fn models_that_cannot_move_their_state_compute_what_stays_again() {
    let _turn = alone();
    for subject in tiny_subjects() {
        for unified in [false, true] {
            let engine = Engine::new("");
            let model = load(&engine, &subject, unified);
            let mut plain = Plain::load(&subject.path, N_CTX as u32, 1, 1);
            let prompt = plain.tokenize(PROMPT, true);
            for (n_keep, n_discard) in [(-1, 0), (4, 10), (60, 8)] {
                let answer = model.answer(&shifting(PROMPT, 110, n_keep, n_discard));
                let shift = dropped(prompt.len(), n_keep, n_discard);
                let expected = plain_shifting(&mut plain, &prompt, 110, &shift, true);
                assert_eq!(
                    answer.tokens(),
                    expected,
                    "{}: n_keep {n_keep}, n_discard {n_discard}, unified {unified}",
                    subject.name
                );
            }
        }
    }
}

/// The cells behind the window have been used again when the context is full.
#[test]
fn a_window_that_is_gone_is_computed_again() {
    let _turn = alone();
    let [.., subject] = tiny_subjects();
    let engine = Engine::new("");
    let options = r#"{"n_ctx": 512, "n_parallel": 1, "n_ubatch": 64, "n_threads": 1}"#;
    let model = engine.load(&subject.path, options);
    assert_eq!(model.info()["sliding_window"], 64);
    let mut plain = Plain::load(&subject.path, 512, 1, 1);
    let prompt: String =
        (0..34).map(|n| format!("Chapter {n} tells of the sea and the wind. ")).collect();
    let tokens = plain.tokenize(&prompt, true);
    assert!((440..500).contains(&tokens.len()), "{}", tokens.len());
    let answer = model.answer(&shifting(&prompt, 110, 200, 150));
    let shift = Shift { n_ctx: 512, at: 200, count: 150 };
    assert_eq!(answer.tokens(), plain_shifting(&mut plain, &tokens, 110, &shift, true));
}

/// The neighbour runs in the same cells while what it shares is dropped and moved.
#[test]
fn a_shift_beside_a_job_with_the_same_beginning_leaves_its_text() {
    let _turn = alone();
    let subjects = tiny_subjects();
    let longer = format!("{PROMPT} had {}", "a boat, a net, ".repeat(6));
    for subject in subjects.iter().chain([&smollm2_subject()]) {
        let engine = Engine::new("");
        let model = load(&engine, subject, true);
        let (neighbour, shifting) = (unending(PROMPT, 70), shifting(&longer, 60, 4, 0));
        let alone = [&neighbour, &shifting].map(|request| alone_answer(&model, request));
        let mut judge = subject.judge();
        let tokens = judge.plain.tokenize(&longer, true);
        let beside = model.start(&neighbour);
        let first = beside.next_token();
        let shifted = model.answer(&shifting);
        // The neighbour goes on behind the shift.
        let events: Vec<Event> = [vec![first], beside.read()].concat();
        judge.same_events(PROMPT, &alone[0], &events, false);
        // Behind the first shift the other's context has a hole, and nothing to compare it with.
        let before = N_CTX - tokens.len();
        assert!(before < 45 && shifted.tokens().len() == 60, "{}: {before}", subject.name);
        let said = [&alone[1], &shifted].map(|answer| answer.tokens()[..before].to_vec());
        judge.same(&tokens, &said[0], &said[1], false);
        // What the shifted job leaves is not taken for what it was.
        for (prompt, request, alone) in
            [(PROMPT, &neighbour, &alone[0].tokens()), (&longer, &shifting, &said[0])]
        {
            let again = model.answer(request).tokens();
            let tokens = judge.plain.tokenize(prompt, true);
            judge.same(&tokens, alone, &again[..alone.len()], false);
        }
    }
}

/// Six jobs of 60 tokens and more in a cache of 256: they cannot all be there at once.
#[test]
fn jobs_that_do_not_fit_together_all_get_their_whole_text() {
    let _turn = alone();
    let subjects = tiny_subjects();
    for subject in subjects.iter().chain([&smollm2_subject()]) {
        let engine = Engine::new("");
        let options =
            json!({"n_ctx": 256, "n_parallel": 6, "n_threads": 1, "kv_cache_tokens": 256});
        let model = engine.load(&subject.path, &options.to_string());
        let info = model.info();
        assert_eq!((&info["kv_cache_tokens"], &info["kv_unified"]), (&json!(256), &json!(true)));
        let prompts: Vec<String> = (0..6).map(|n| format!("{n}. {PROMPT}")).collect();
        let request = |prompt: &String| unending(prompt, 40);
        let alone: Vec<Answer> =
            prompts.iter().map(|prompt| alone_answer(&model, &request(prompt))).collect();
        let mut judge = subject.judge();
        let jobs: Vec<Job> = prompts.iter().map(|prompt| model.start(&request(prompt))).collect();
        for ((job, prompt), alone) in jobs.iter().zip(&prompts).zip(&alone) {
            let events = job.read();
            assert_eq!(events.last().expect("a final event").status, FLUID_OK);
            assert_eq!(tokens_of(&events).len(), 40, "{}", subject.name);
            judge.same_events(prompt, alone, &events, false);
        }
    }
}

/// Whether `job` has not ended.
fn is_running(job: &Job) -> bool {
    let mut json = std::ptr::null();
    // SAFETY: a place for the pointer.
    unsafe { fluid_job_json(job.raw(), &mut json) == FLUID_ERROR_BUSY }
}

/// One slot: who has a higher priority takes it, and gives it back.
#[test]
fn higher_priority_goes_first_and_the_others_lose_no_text() {
    let _turn = alone();
    let subjects = tiny_subjects();
    for subject in subjects.iter().chain([&smollm2_subject()]) {
        let engine = Engine::new(r#"{"event_queue": 1000}"#);
        let options = r#"{"n_ctx": 512, "n_parallel": 1, "n_threads": 1}"#;
        let model = engine.load(&subject.path, options);
        let (long, middle) = if subject.name == "SmolLM2" { (60, 30) } else { (400, 300) };
        let requests = [(PROMPT, long, -5), ("The sea is", middle, 0), ("My dear friend,", 6, 7)];
        let requests = requests.map(|(prompt, count, priority)| {
            let mut request = unending(prompt, count);
            request["priority"] = json!(priority);
            (prompt, request)
        });
        let alone = requests.each_ref().map(|(_, request)| alone_answer(&model, request));
        // Each speaks at once, though the one before it has the slot.
        let jobs = requests.each_ref().map(|(_, request)| {
            let job = model.start(request);
            (job.next_token(), job)
        });
        let mut judge = subject.judge();
        assert!(jobs[..2].iter().all(|(_, job)| is_running(job)), "{}", subject.name);
        for (index, (first, job)) in jobs.into_iter().enumerate().rev() {
            let events = [vec![first], job.read()].concat();
            assert_eq!(events.last().expect("a final event").status, FLUID_OK);
            judge.same_events(requests[index].0, &alone[index], &events, false);
        }
    }
}
