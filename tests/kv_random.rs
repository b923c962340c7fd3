//! Random jobs on a KV cache that is too small for them: prompts that share beginnings, cancels,
//! priorities, slow readers, context shifts, adapters, drafts that are wrong now and then. The scripted backend fails on a gap in a sequence, and
//! each of its letters depends on every token before it: what is wrongly taken over shows.
#![cfg(feature = "fake")]

#[path = "support/dice.rs"]
mod dice;
mod support;

use std::time::{Duration, Instant};

use dice::Dice;
use fluid::ffi::{FLUID_CANCELLED, FLUID_OK};
use serde_json::{json, Value};
use support::{text_of, Engine, Event, Job, Model};

const N_CTX: usize = 96;
/// Jobs at a time: they run, wait for a slot, or wait for their reader.
const AT_ONCE: usize = 16;
const JOBS: usize = 300;

/// One set of options.
#[derive(Debug, Clone, Copy)]
struct Setting {
    n_parallel: usize,
    recurrent: bool,
    cells: usize,
    cache_ram_mb: usize,
}

impl Setting {
    fn load(&self, engine: &Engine) -> Model {
        let script = format!(r#"fake:{{"hashed": true, "recurrent": {}}}"#, self.recurrent);
        let options = json!({
            "n_ctx": N_CTX,
            "n_parallel": self.n_parallel,
            "n_ubatch": 16,
            "kv_cache_tokens": self.cells,
            "cache_ram_mb": self.cache_ram_mb,
            "lora": [{"path": "x", "scale": 0}],
            "draft_model": r#"fake:{"hashed": true, "wrong_every": 5}"#,
        });
        engine.load(&script, &options.to_string())
    }
}

/// How a context shift was asked for.
#[derive(Debug, Clone, Copy)]
struct Shift {
    n_keep: usize,
    n_discard: usize,
}

#[derive(Debug, Clone)]
struct Request {
    prompt: Vec<u32>,
    max_tokens: usize,
    priority: i64,
    cache_prompt: bool,
    shift: Option<Shift>,
    adapted: bool,
    /// Who drafts, if anybody.
    drafts: Option<&'static str>,
}

impl Request {
    fn random(dice: &mut Dice, earlier: &[Vec<u32>]) -> Self {
        let mut prompt = match earlier.len() {
            0 => Vec::new(),
            count => {
                // Mostly the newest ones, and again and again a very old one.
                let newest = if dice.one_in(4) { count } else { count.min(6) };
                let known = &earlier[count - 1 - dice.below(newest)];
                let cut = if dice.one_in(3) { known.len() } else { dice.below(known.len() + 1) };
                known[..cut.min(N_CTX - 30)].to_vec()
            }
        };
        // Few kinds of tokens, and runs of one: beginnings are alike by chance too, and behind a
        // shift the same tokens may stand where others were.
        let more = usize::from(prompt.is_empty()) + dice.below(24);
        let letters = 1 + 2 * dice.below(2);
        prompt.extend((0..more).map(|_| 65 + dice.below(letters) as u32));
        let shift = Shift { n_keep: 1 + dice.below(40), n_discard: 1 + dice.below(30) };
        let longest = if dice.one_in(6) { 120 } else { 24 };
        Self {
            prompt,
            max_tokens: 1 + dice.below(longest),
            priority: dice.below(3) as i64 - 1,
            cache_prompt: !dice.one_in(8),
            shift: dice.one_in(2).then_some(shift),
            adapted: dice.one_in(6),
            drafts: [None, Some("draft"), Some("prompt_lookup")][dice.below(3)],
        }
    }

    fn json(&self) -> Value {
        let mut json = json!({
            "prompt": self.prompt,
            "temperature": 0,
            "max_tokens": self.max_tokens,
            "priority": self.priority,
            "cache_prompt": self.cache_prompt,
        });
        if self.adapted {
            json["lora"] = json!([{"id": 0}]);
        }
        if let Some(kind) = self.drafts {
            json["speculative"] = json!({"type": kind, "adaptive": false});
        }
        if let Some(shift) = self.shift {
            json["context_shift"] = json!(true);
            json["n_keep"] = json!(shift.n_keep);
            json["n_discard"] = json!(shift.n_discard);
        }
        json
    }

    /// What a computation of this job alone, without any cache, says; up to the first context
    /// shift, behind which it matters whether keys were moved or computed again.
    fn expected(&self) -> String {
        let mut keys: Vec<u32> = Vec::new();
        let compute = |keys: &mut Vec<u32>, token| compute(keys, token, self.adapted);
        self.prompt.iter().for_each(|&token| compute(&mut keys, token));
        let mut text = String::new();
        while text.len() < self.max_tokens && keys.len() < N_CTX {
            let next = b'a' + ((fnv(&keys) >> 8) % 26) as u8;
            compute(&mut keys, u32::from(next));
            text.push(char::from(next));
        }
        text
    }

    /// Letters of the whole answer.
    fn length(&self) -> usize {
        match self.shift {
            Some(_) => self.max_tokens,
            None => self.max_tokens.min(N_CTX - self.prompt.len()),
        }
    }
}

/// FNV-1a, 32 bits.
fn fnv(words: &[u32]) -> u32 {
    words.iter().fold(0x811c_9dc5, |hash, word| (hash ^ word).wrapping_mul(0x0100_0193))
}

/// As the scripted backend does: the key of a token depends on all before it, and on the adapter,
/// number 0 at scale 1.
fn compute(keys: &mut Vec<u32>, token: u32, adapted: bool) {
    let said = [fnv(keys), token, 0, 1_f32.to_bits()];
    keys.push(fnv(&said[..if adapted { 4 } else { 2 }]));
}

struct Running {
    request: Request,
    job: Job,
    events: Vec<Event>,
    /// After how many events it is cancelled, if ever.
    cancel_at: Option<usize>,
}

impl Running {
    fn start(model: &Model, request: Request, dice: &mut Dice) -> Self {
        let job = model.start(&request.json());
        let cancel_at = dice.one_in(6).then(|| dice.below(12));
        Self { request, job, events: Vec::new(), cancel_at }
    }

    /// Takes up to `count` events that are there. True: that was the last.
    fn read(&mut self, count: usize) -> bool {
        for _ in 0..count {
            if self.cancel_at == Some(self.events.len()) {
                self.job.cancel();
            }
            let Ok(event) = self.job.poll(Duration::ZERO) else {
                std::thread::yield_now();
                break;
            };
            self.events.push(event);
        }
        self.events.last().is_some_and(Event::is_end)
    }

    /// Checks its text; returns how many tokens it took over.
    fn check(&self, what: &str) -> usize {
        let (text, expected) = (text_of(&self.events), self.request.expected());
        let end = self.events.last().expect("a final event");
        let context = format!("{what}: {:?}, {}", self.request, end.text);
        match end.status {
            FLUID_OK => assert_eq!(text.len(), self.request.length(), "{context}"),
            FLUID_CANCELLED if self.cancel_at.is_some() => {}
            status => panic!("status {status}, {context}"),
        }
        let known = text.len().min(expected.len());
        assert_eq!(text[..known], expected[..known], "{context}");
        let usage = &self.job.json()["usage"]["prompt_tokens_details"];
        let cached = usage["cached_tokens"].as_u64().expect("a number") as usize;
        assert!(cached < self.request.prompt.len(), "{context}");
        assert!(self.request.cache_prompt || cached == 0, "{context}");
        cached
    }
}

/// Runs [`JOBS`] jobs; returns how many of their prompt tokens were taken over, and how many tokens of
/// drafts came true and did not.
fn run(setting: Setting, seed: u64) -> [usize; 3] {
    let what = format!("{setting:?}, seed {seed}");
    let engine = Engine::new(r#"{"event_queue": 4}"#);
    let model = setting.load(&engine);
    let mut dice = Dice::new(seed);
    let mut earlier: Vec<Vec<u32>> = Vec::new();
    let mut running: Vec<Running> = Vec::new();
    let (mut started, mut cached, mut came_true, mut drafted) = (0, 0, 0, 0);
    let patience = Instant::now() + support::PATIENCE;
    while started < JOBS || !running.is_empty() {
        if started < JOBS && running.len() < AT_ONCE && dice.one_in(2) {
            let mut request = Request::random(&mut dice, &earlier);
            request.drafts = request.drafts.filter(|_| !setting.recurrent);
            earlier.push(request.prompt.clone());
            running.push(Running::start(&model, request, &mut dice));
            started += 1;
        }
        let index = dice.below(running.len());
        let Some(job) = running.get_mut(index) else { continue };
        if job.read(dice.below(8)) {
            let job = running.swap_remove(index);
            cached += job.check(&what);
            let timings = &job.job.json()["timings"];
            let count = |name: &str| timings[name].as_u64().unwrap_or(0) as usize;
            came_true += count("draft_n_accepted");
            drafted += count("draft_n");
            if job.request.shift.is_none() {
                // Others may go on where this one ended.
                let said = text_of(&job.events);
                earlier.push([job.request.prompt, said.bytes().map(u32::from).collect()].concat());
            }
        }
        assert!(Instant::now() < patience, "{what}: {} jobs do not end", running.len());
    }
    [cached, came_true, drafted - came_true]
}

#[test]
fn random_jobs_in_a_small_cache_all_say_the_right_text() {
    let (mut seed, mut drafts) = (0, [0, 0]);
    for recurrent in [false, true] {
        for n_parallel in 1..=6 {
            // All that fits, half of it, and hardly more than one job needs.
            for (cells, cache_ram_mb) in
                [(N_CTX * n_parallel, 1), (N_CTX * (n_parallel + 1) / 2, 1), (N_CTX + 4, 0)]
            {
                seed += 1;
                let setting = Setting { n_parallel, recurrent, cells, cache_ram_mb };
                let [cached, came_true, wrong] = run(setting, seed);
                drafts = [drafts[0] + came_true, drafts[1] + wrong];
                // One recurrent state that cannot be cut serves nobody who went another way.
                // One recurrent state for each sequence serves few where prompts differ soon.
                let least = if cache_ram_mb > 0 { 1_000 } else { 100 * usize::from(!recurrent) };
                assert!(cached >= least, "{setting:?}: only {cached} tokens were taken over");
            }
        }
    }
    assert!(drafts.iter().all(|&count| count > 500), "{drafts:?} tokens of drafts, true and wrong");
}

#[test]
fn what_a_context_shift_moved_is_taken_over_by_nobody() {
    let engine = Engine::new("");
    let script = r#"fake:{"hashed": true, "token_us": 300}"#;
    let load = || engine.load(script, r#"{"n_ctx": 64, "n_parallel": 2}"#);
    let same = |count: usize| vec![65; count];
    let request = json!({"prompt": same(9), "max_tokens": 10, "temperature": 0});
    let alone = load().answer(&request).text();
    // Behind the first token of this one, the same tokens stand where others were.
    let shifting = json!({"prompt": same(40), "max_tokens": 2_000, "temperature": 0,
        "context_shift": true, "n_keep": 1});
    let model = load();
    let running = model.start(&shifting);
    for _ in 0..30 {
        running.next_token();
    }
    assert_eq!(model.answer(&request).text(), alone);
    running.cancel();
    let events = running.read();
    assert_eq!(events.last().map(|event| event.status), Some(FLUID_CANCELLED), "it still ran");
}
