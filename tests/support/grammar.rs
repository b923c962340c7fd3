//! Grammars over SmolLM2's vocabulary, without the model: logits come from a dice.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses a part")]

use std::collections::HashMap;
use std::sync::OnceLock;

use fluid::backend::{self, Interrupt, Listener, Loaded, Vocab};
use fluid::grammar::{schema, Compiler, Constraint, Grammar, Source, Tokens};
use fluid::request::LoadOptions;
use fluid::sampling::{Params, Sampler};
use serde_json::Value;

use crate::dice::Dice;

/// Tokens of an answer after which it counts as unfinished.
const LONGEST: usize = 400;

pub struct Bench {
    pub vocab: Vocab,
    pub compiler: Compiler,
    ids: HashMap<Vec<u8>, u32>,
    end: u32,
    bonus: Vec<f32>,
    noise: Vec<f32>,
}

/// SmolLM2's vocabulary, and a compiler for it.
pub fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| {
        let path = std::env::var("FLUID_MODELS").unwrap_or_else(|_| "models".to_owned());
        let path = format!("{path}/SmolLM2-135M-Instruct.Q4_1.gguf");
        let options = LoadOptions::parse(r#"{"n_ctx": 64, "n_threads": 1}"#).expect("options");
        let listener = Listener { progress: &mut |_| true, notice: &mut drop };
        let loaded = backend::load(&path, &options, &Interrupt::default(), listener);
        let Ok(Some(Loaded::Text(loaded))) = loaded else { panic!("{path}: run `make models`") };
        Bench::new(loaded.vocab)
    })
}

impl Bench {
    fn new(vocab: Vocab) -> Self {
        let count = vocab.len() as u32;
        let ids = (0..count).map(|id| (vocab.piece(id).to_vec(), id)).collect();
        let end = (0..count).find(|&id| vocab.is_end_of_generation(id)).expect("an end");
        // Strings, lists and answers have to end at some time.
        let bonus = |id: u32| match vocab.piece(id) {
            _ if vocab.is_end_of_generation(id) => 12.0,
            b"\"" | b"}" | b"]" | b"," => 12.0,
            b":" | b"{" | b"[" | b"-" | b"." | b"\\" => 8.0,
            [b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z'] => 7.0,
            _ => 0.0,
        };
        let bonus = (0..count).map(bonus).collect();
        let mut dice = Dice::new(1);
        let noise = (0..2 * count).map(|_| dice.below(3_000) as f32 / 1_000.0).collect();
        let compiler = Compiler::new(Tokens::new(&vocab).expect("tokens")).expect("a compiler");
        Self { vocab, compiler, ids, end, bonus, noise }
    }

    /// The token that is `piece`.
    pub fn id(&self, piece: &str) -> u32 {
        self.ids[piece.as_bytes()]
    }

    pub fn constraint(&self, source: Source) -> Result<Constraint, String> {
        let compiled = self.compiler.compile(&Grammar::new(source, "grammar"));
        compiled
            .map(|compiled| compiled.constraint("grammar"))
            .map_err(|error| error.message().to_owned())
    }

    pub fn schema(&self, schema: &Value, strict: bool) -> Result<Constraint, String> {
        let prepared = schema::prepare(schema, "schema", strict)
            .map_err(|error| error.message().to_owned())?;
        self.constraint(Source::JsonSchema(prepared.schema))
    }

    /// Whether `text` is a whole answer; cut into tokens from the left, each as long as can be.
    pub fn takes(&self, constraint: &Constraint, text: &str) -> bool {
        let mut constraint = constraint.another("grammar");
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let lengths = (1..=rest.len().min(self.vocab.longest_piece())).rev();
            let token = lengths.filter_map(|length| self.ids.get(&rest[..length])).next();
            let &token = token.expect("every byte is a token");
            if constraint.is_complete() || !constraint.allows(token).expect("a working grammar") {
                return false;
            }
            constraint.accept(token).expect("a token that it allows");
            rest = &rest[self.vocab.piece(token).len()..];
        }
        constraint.is_complete() || constraint.allows(self.end).expect("a working grammar")
    }

    /// An answer drawn at temperature 1 from random logits; `None` where it does not end.
    pub fn draw(&self, constraint: &Constraint, seed: u64) -> Result<Option<String>, String> {
        self.draw_some(constraint, seed, LONGEST)
    }

    /// The same, of at most `tokens` tokens.
    pub fn draw_some(
        &self,
        constraint: &Constraint,
        seed: u64,
        tokens: usize,
    ) -> Result<Option<String>, String> {
        let mut constraint = constraint.another("grammar");
        let params =
            Params { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, ..Params::default() };
        let (mut sampler, mut dice) = (Sampler::new(params, seed), Dice::new(seed));
        let (mut answer, mut logits) = (Vec::new(), Vec::new());
        for _ in 0..tokens {
            if constraint.is_complete() {
                return Ok(Some(String::from_utf8(answer).expect("UTF-8")));
            }
            let from = dice.below(self.vocab.len());
            let noise = &self.noise[from..];
            logits.clear();
            logits.extend(self.bonus.iter().zip(noise).map(|(bonus, noise)| bonus + noise));
            constraint.mask(&mut logits).map_err(|error| error.message().to_owned())?;
            let token = sampler.sample(&mut logits).expect("a token");
            if self.vocab.is_end_of_generation(token) {
                return Ok(Some(String::from_utf8(answer).expect("UTF-8")));
            }
            answer.extend_from_slice(self.vocab.piece(token));
            constraint.accept(token).map_err(|error| error.message().to_owned())?;
        }
        Ok(None)
    }

    /// Checks that the mask and the question for one token agree, for every token.
    pub fn check_mask(&self, constraint: &Constraint, what: &str) {
        let mut logits = vec![0.0; self.vocab.len()];
        constraint.another("grammar").mask(&mut logits).expect("a mask");
        let mut asked = constraint.another("grammar");
        for (id, logit) in (0..).zip(&logits) {
            let allows = asked.allows(id).expect("an answer");
            assert_eq!(allows, *logit == 0.0, "{what}: token {id} {:?}", self.vocab.piece(id));
        }
    }
}

/// Runs `body` where grammars are compiled: on a thread with a large stack.
pub fn with_stack<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(64 << 20);
    let handle = thread.spawn(body).expect("a thread");
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
