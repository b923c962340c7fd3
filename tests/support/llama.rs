//! llama.cpp by itself, in its plainest loop: what the library's answers are compared with.
//! A model must have been loaded through the library before, which starts llama.cpp.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of this")]

use std::ffi::CString;

use llama_cpp_sys_2 as sys;

/// A model with a context of one sequence.
pub struct Plain {
    model: *mut sys::llama_model,
    context: *mut sys::llama_context,
}

impl Plain {
    pub fn load(path: &str, n_ctx: u32, n_seq: u32, threads: u32) -> Self {
        let path = CString::new(path).expect("no NUL");
        // SAFETY: returns a plain struct.
        let params = unsafe { sys::llama_model_default_params() };
        // SAFETY: a C string and the default parameters.
        let model = unsafe { sys::llama_model_load_from_file(path.as_ptr(), params) };
        assert!(!model.is_null());
        // SAFETY: returns a plain struct.
        let mut params = unsafe { sys::llama_context_default_params() };
        params.n_ctx = n_ctx * n_seq;
        params.n_seq_max = n_seq;
        params.n_batch = 512;
        params.n_ubatch = 512;
        params.n_threads = threads as i32;
        params.n_threads_batch = threads as i32;
        // SAFETY: the model is alive.
        let context = unsafe { sys::llama_init_from_model(model, params) };
        assert!(!context.is_null());
        Self { model, context }
    }

    /// Computes with the adapters at `paths` from now on, each at its scale.
    pub fn adapt(&mut self, adapters: &[(String, f32)]) {
        let load = |(path, _): &(String, f32)| {
            let path = CString::new(path.as_str()).expect("no NUL");
            // SAFETY: the model is alive; it frees what is not freed before.
            let adapter = unsafe { sys::llama_adapter_lora_init(self.model, path.as_ptr()) };
            assert!(!adapter.is_null());
            adapter
        };
        let mut pointers: Vec<_> = adapters.iter().map(load).collect();
        let mut scales: Vec<f32> = adapters.iter().map(|(_, scale)| *scale).collect();
        let (first, count, scale) = (pointers.as_mut_ptr(), pointers.len(), scales.as_mut_ptr());
        // SAFETY: the context is alive; both arrays have `count` entries.
        assert_eq!(unsafe { sys::llama_set_adapters_lora(self.context, first, count, scale) }, 0);
    }

    pub fn vocab(&self) -> *const sys::llama_vocab {
        // SAFETY: the model is alive.
        unsafe { sys::llama_model_get_vocab(self.model) }
    }

    /// `text` as tokens, special ones in it read as such.
    pub fn tokenize(&self, text: &str, add_special: bool) -> Vec<u32> {
        let mut tokens = vec![0; text.len() + 8];
        let (start, length) = (text.as_ptr().cast(), text.len() as i32);
        let (room, places) = (tokens.as_mut_ptr(), tokens.len() as i32);
        // SAFETY: `length` bytes of text, and room for more tokens than there can be.
        let count = unsafe {
            sys::llama_tokenize(self.vocab(), start, length, room, places, add_special, true)
        };
        tokens.truncate(usize::try_from(count).expect("enough room"));
        tokens.into_iter().map(|token| token as u32).collect()
    }

    /// Up to `count` tokens after `prompt`, always the likeliest one.
    pub fn greedy(&mut self, prompt: &[u32], count: usize) -> Vec<u32> {
        self.forget(0);
        let mut answer = Vec::new();
        for (index, chunk) in prompt.chunks(512).enumerate() {
            self.decode(&sequence(chunk, 0, index * 512));
        }
        while answer.len() < count {
            let token = likeliest(self.last_logits());
            if self.is_end(token) {
                break;
            }
            let position = prompt.len() + answer.len();
            answer.push(token);
            if answer.len() < count {
                self.decode(&sequence(&[token], 0, position));
            }
        }
        answer
    }

    /// Drops what sequence `id` holds.
    pub fn forget(&mut self, id: i32) {
        // SAFETY: the context is alive.
        let memory = unsafe { sys::llama_get_memory(self.context) };
        // SAFETY: the memory of a live context.
        assert!(unsafe { sys::llama_memory_seq_rm(memory, id, -1, -1) });
    }

    /// Drops `count` tokens of sequence 0 from position `at` on and moves the rest down.
    pub fn shift(&mut self, at: usize, count: usize) {
        let (from, to) = (at as i32, (at + count) as i32);
        // SAFETY: the context is alive.
        let memory = unsafe { sys::llama_get_memory(self.context) };
        // SAFETY: the memory of a live context.
        assert!(unsafe { sys::llama_memory_seq_rm(memory, 0, from, to) });
        // SAFETY: as above.
        unsafe { sys::llama_memory_seq_add(memory, 0, to, -1, from - to) };
    }

    /// By how much each token of `answer` misses the highest logit behind `prompt` and the tokens
    /// before it: 0 for all where a greedy answer agrees with this computation. With `ended`, the
    /// last entry is for the end of the answer.
    pub fn gaps(&mut self, prompt: &[u32], answer: &[u32], ended: bool) -> Vec<f32> {
        let wanted = answer.len() + usize::from(ended);
        let known = [prompt, answer].concat();
        self.forget(0);
        for (index, chunk) in prompt[..prompt.len() - 1].chunks(512).enumerate() {
            self.decode(&sequence(chunk, 0, index * 512));
        }
        let mut gaps = Vec::new();
        while gaps.len() < wanted {
            let start = prompt.len() - 1 + gaps.len();
            let count = (wanted - gaps.len()).min(32);
            let batch = sequence(&known[start..start + count], 0, start);
            self.decode_for(&batch, &vec![1; count]);
            for row in 0..count {
                let said = answer.get(gaps.len()).copied();
                gaps.push(self.gap(self.logits(row as i32), said));
            }
        }
        gaps
    }

    /// How far the logit of `said` is below the highest one; without it, that of an end.
    fn gap(&self, logits: &[f32], said: Option<u32>) -> f32 {
        let highest = logits.iter().copied().fold(f32::MIN, f32::max);
        let chosen = match said {
            Some(token) => logits[token as usize],
            None => (0..logits.len() as u32)
                .filter(|&token| self.is_end(token))
                .map(|token| logits[token as usize])
                .fold(f32::MIN, f32::max),
        };
        highest - chosen
    }

    fn is_end(&self, token: u32) -> bool {
        // SAFETY: an id of this vocabulary.
        unsafe { sys::llama_vocab_is_eog(self.vocab(), token as i32) }
    }

    /// Computes `batch`; logits come of the last token of each run of one sequence.
    pub fn decode(&mut self, batch: &[Entry]) {
        let next = batch.iter().skip(1).map(|entry| Some(entry.sequence)).chain([None]);
        let last = batch.iter().zip(next).map(|(entry, next)| next != Some(entry.sequence));
        let outputs: Vec<i8> = last.map(i8::from).collect();
        self.decode_for(batch, &outputs);
    }

    /// Computes `batch`; logits come of the tokens whose `outputs` are 1.
    pub fn decode_for(&mut self, batch: &[Entry], outputs: &[i8]) {
        let mut tokens: Vec<i32> = batch.iter().map(|entry| entry.token as i32).collect();
        let mut positions: Vec<i32> = batch.iter().map(|entry| entry.position as i32).collect();
        let mut counts = vec![1; batch.len()];
        let mut sequences: Vec<i32> = batch.iter().map(|entry| entry.sequence).collect();
        let mut lists: Vec<*mut i32> = sequences.iter_mut().map(std::ptr::from_mut).collect();
        let mut outputs = outputs.to_vec();
        let raw = sys::llama_batch {
            n_tokens: batch.len() as i32,
            token: tokens.as_mut_ptr(),
            embd: std::ptr::null_mut(),
            pos: positions.as_mut_ptr(),
            n_seq_id: counts.as_mut_ptr(),
            seq_id: lists.as_mut_ptr(),
            logits: outputs.as_mut_ptr(),
        };
        // SAFETY: arrays of `n_tokens` entries, alive through the call.
        assert_eq!(unsafe { sys::llama_decode(self.context, raw) }, 0);
    }

    /// The logits of the last output of the last batch.
    pub fn last_logits(&self) -> &[f32] {
        self.logits(-1)
    }

    /// The logits of batch entry `index`, or from the end where it is negative.
    pub fn logits(&self, index: i32) -> &[f32] {
        // SAFETY: the vocabulary is alive.
        let count = unsafe { sys::llama_vocab_n_tokens(self.vocab()) };
        // SAFETY: the context is alive; llama.cpp checks the index.
        let row = unsafe { sys::llama_get_logits_ith(self.context, index) };
        assert!(!row.is_null());
        // SAFETY: one row of logits, there until the next decode.
        unsafe { std::slice::from_raw_parts(row, count as usize) }
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        // SAFETY: made by llama.cpp and freed once, the context first.
        unsafe { sys::llama_free(self.context) };
        // SAFETY: as above.
        unsafe { sys::llama_model_free(self.model) };
    }
}

/// A token of a batch.
pub struct Entry {
    pub token: u32,
    pub position: usize,
    pub sequence: i32,
}

/// `tokens` of sequence `id` from `position` on.
pub fn sequence(tokens: &[u32], id: i32, position: usize) -> Vec<Entry> {
    let entry = |(index, &token)| Entry { token, position: position + index, sequence: id };
    tokens.iter().enumerate().map(entry).collect()
}

/// The token with the highest logit, the lowest id among equals.
pub fn likeliest(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (index, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = index;
        }
    }
    best as u32
}
