//! libfluid's C interface against the same llama.cpp called directly: same process, threads,
//! flags, model and tokens, in turn. Prints medians and ratios.
//!
//!     cargo bench --bench llama -- [ROUNDS] [FOLDER OF MODELS]

#![allow(clippy::multiple_unsafe_ops_per_block, reason = "llama.cpp is called as C would")]
#![allow(clippy::print_stdout, reason = "the figures are the output")]

use std::ffi::{c_char, c_void, CStr, CString};
use std::ptr::{null, null_mut};
use std::time::Instant;

use fluid::ffi::*;
use llama_cpp_sys_2 as sys;

const DECODE: usize = 128;
const PREFILL: usize = 512;
const CONTEXT: u32 = 1_024;

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let rounds = arguments.first().and_then(|rounds| rounds.parse().ok()).unwrap_or(9);
    let folder = arguments.get(1).cloned().unwrap_or_else(|| {
        std::env::var("FLUID_MODELS")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/models").into())
    });
    let path = CString::new(format!("{folder}/SmolLM2-135M-Instruct.Q4_1.gguf")).expect("a path");
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    println!("{} threads, {rounds} rounds, {}", threads, path.to_string_lossy());

    let mut ours = Ours::load(&path, threads);
    println!(
        "fluid_load_model to the first token: {:.0} ms (file in the page cache)",
        ours.first_token * 1e3
    );
    let mut direct = Direct::load(&path, threads);
    let prompt: Vec<i32> = (0..PREFILL as i32).map(|i| 1_000 + i * 7 % 20_000).collect();

    let mut rows = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
    // One round unseen, to warm up.
    for round in 0..=rounds {
        let decode = (ours.decode(&prompt[..16]), direct.decode(&prompt[..16]));
        let prefill = (ours.prefill(&prompt), direct.prefill(&prompt));
        if round > 0 {
            for (row, (a, b)) in rows.iter_mut().zip([decode, prefill]) {
                row.0.push(a);
                row.1.push(b);
            }
        }
    }
    for (name, (a, b)) in ["decode", "prefill"].iter().zip(&mut rows) {
        let ratios: Vec<f64> = a.iter().zip(b.iter()).map(|(a, b)| a / b).collect();
        println!(
            "{name:8} libfluid {:7.1} tokens/s   direct {:7.1} tokens/s   ratio {:.3}",
            median(a.clone()),
            median(b.clone()),
            median(ratios)
        );
    }
    let mut ages = std::mem::take(&mut ours.ages);
    ages.sort_by(f64::total_cmp);
    println!(
        "decoded step to callback: median {:.0} us, 99 % {:.0} us",
        ages[ages.len() / 2] * 1e6,
        ages[ages.len() * 99 / 100] * 1e6
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn ids(tokens: &[i32]) -> String {
    let ids: Vec<String> = tokens.iter().map(i32::to_string).collect();
    format!("[{}]", ids.join(","))
}

/// libfluid through its C interface.
struct Ours {
    model: *mut fluid_model,
    first_token: f64,
    ages: Vec<f64>,
}

/// What the callback notes.
#[derive(Default)]
struct Seen {
    tokens: usize,
    first: f64,
    last: f64,
    ages: Vec<f64>,
}

unsafe extern "C" fn on_event(event: *const fluid_event, user_data: *mut c_void) -> i32 {
    // SAFETY: the library passes a live event, and `run` a live `Seen`.
    let (event, seen) = unsafe { (&*event, &mut *user_data.cast::<Seen>()) };
    if event.kind == FLUID_EVENT_TOKEN {
        if seen.tokens == 0 {
            seen.first = event.elapsed;
        }
        seen.tokens += 1;
        seen.last = event.elapsed;
        seen.ages.push(event.age);
    }
    0
}

impl Ours {
    fn load(path: &CStr, threads: usize) -> Self {
        let mut engine = null_mut();
        let mut model = null_mut();
        let options = CString::new(format!(
            r#"{{"n_ctx": {CONTEXT}, "n_parallel": 1, "n_threads": {threads}}}"#
        ));
        let options = options.expect("options");
        let started = Instant::now();
        // SAFETY: the arguments are live strings and places for the outputs.
        let status = unsafe { fluid_engine_new(null(), &mut engine) };
        assert_eq!(status, FLUID_OK);
        // SAFETY: as above.
        let status = unsafe {
            fluid_load_model(engine, path.as_ptr(), options.as_ptr(), None, null_mut(), &mut model)
        };
        // SAFETY: the string is borrowed until the next call.
        assert_eq!(status, FLUID_OK, "{:?}", unsafe { CStr::from_ptr(fluid_last_error()) });
        let mut ours = Self { model, first_token: 0.0, ages: Vec::new() };
        ours.run(&[1, 2, 3], 1);
        ours.first_token = started.elapsed().as_secs_f64();
        ours.ages.clear();
        ours
    }

    fn run(&mut self, prompt: &[i32], max_tokens: usize) -> Seen {
        // The end-of-answer token is banned, so that every run has its length.
        let request = format!(
            r#"{{"prompt": {}, "max_tokens": {max_tokens}, "temperature": 0, "logit_bias": {{"2": -100, "0": -100}}}}"#,
            ids(prompt)
        );
        let request = CString::new(request).expect("a request");
        let mut seen = Seen::default();
        let user_data = (&raw mut seen).cast();
        let mut json: *mut c_char = null_mut();
        // SAFETY: the model is live; request, callback and outputs live through the call.
        let status = unsafe {
            fluid_generate(self.model, request.as_ptr(), Some(on_event), user_data, &mut json)
        };
        assert_eq!((status, seen.tokens), (FLUID_OK, max_tokens));
        // SAFETY: owned by us, freed once.
        unsafe { fluid_string_free(json) };
        seen
    }

    fn decode(&mut self, prompt: &[i32]) -> f64 {
        let seen = self.run(prompt, DECODE + 1);
        self.ages.extend(&seen.ages);
        DECODE as f64 / (seen.last - seen.first)
    }

    fn prefill(&mut self, prompt: &[i32]) -> f64 {
        PREFILL as f64 / self.run(prompt, 1).first
    }
}

/// llama.cpp as its own examples call it.
struct Direct {
    context: *mut sys::llama_context,
    n_vocab: usize,
}

impl Direct {
    fn load(path: &CStr, threads: usize) -> Self {
        // SAFETY: llama.cpp was started by libfluid; plain calls in the order its header asks for.
        unsafe {
            let model =
                sys::llama_model_load_from_file(path.as_ptr(), sys::llama_model_default_params());
            let mut params = sys::llama_context_default_params();
            params.n_ctx = CONTEXT;
            params.n_batch = 512;
            params.n_ubatch = 512;
            params.n_seq_max = 1;
            params.n_threads = threads as i32;
            params.n_threads_batch = threads as i32;
            params.no_perf = true;
            let context = sys::llama_init_from_model(model, params);
            let mut pool = sys::ggml_threadpool_params_default(threads as i32);
            let pool = sys::ggml_threadpool_new(&mut pool);
            sys::llama_attach_threadpool(context, pool, pool);
            let n_vocab = sys::llama_vocab_n_tokens(sys::llama_model_get_vocab(model)) as usize;
            Self { context, n_vocab }
        }
    }

    fn feed(&mut self, tokens: &mut [i32]) -> i32 {
        // SAFETY: the context is live, the tokens are of its vocabulary, the logits are those of
        // the last token.
        unsafe {
            let batch = sys::llama_batch_get_one(tokens.as_mut_ptr(), tokens.len() as i32);
            assert_eq!(sys::llama_decode(self.context, batch), 0);
            let logits = sys::llama_get_logits_ith(self.context, -1);
            let logits = std::slice::from_raw_parts_mut(logits, self.n_vocab);
            (logits[0], logits[2]) = (f32::MIN, f32::MIN);
            let mut best = 0;
            for (id, logit) in logits.iter().enumerate() {
                if *logit > logits[best] {
                    best = id;
                }
            }
            best as i32
        }
    }

    fn clear(&mut self) {
        // SAFETY: the context is live.
        unsafe { sys::llama_memory_clear(sys::llama_get_memory(self.context), false) };
    }

    fn decode(&mut self, prompt: &[i32]) -> f64 {
        self.clear();
        let mut token = self.feed(&mut prompt.to_vec());
        let started = Instant::now();
        for _ in 0..DECODE {
            token = self.feed(&mut [token]);
        }
        DECODE as f64 / started.elapsed().as_secs_f64()
    }

    fn prefill(&mut self, prompt: &[i32]) -> f64 {
        self.clear();
        let started = Instant::now();
        self.feed(&mut prompt.to_vec());
        PREFILL as f64 / started.elapsed().as_secs_f64()
    }
}
