//! A batch in llama.cpp's layout, reused from call to call.

use std::marker::PhantomData;

use llama_cpp_sys_2 as sys;

use crate::backend::BatchToken;

/// The arrays of a `llama_batch`.
#[derive(Default)]
pub(super) struct Batch {
    tokens: Vec<i32>,
    positions: Vec<i32>,
    sequence_counts: Vec<i32>,
    sequences: Vec<i32>,
    sequence_lists: Vec<*mut i32>,
    outputs: Vec<i8>,
}

/// A `llama_batch` whose arrays are borrowed.
pub(super) struct RawBatch<'a> {
    pub(super) raw: sys::llama_batch,
    _arrays: PhantomData<&'a mut Batch>,
}

impl Batch {
    /// `tokens` for `llama_decode`.
    pub(super) fn raw(&mut self, tokens: &[BatchToken]) -> RawBatch<'_> {
        fn refill<T>(array: &mut Vec<T>, values: impl Iterator<Item = T>) {
            array.clear();
            array.extend(values);
        }
        refill(&mut self.tokens, tokens.iter().map(|token| token.token as i32));
        refill(&mut self.positions, tokens.iter().map(|token| token.position as i32));
        refill(&mut self.sequence_counts, tokens.iter().map(|_| 1));
        refill(&mut self.sequences, tokens.iter().map(|token| token.sequence as i32));
        refill(&mut self.outputs, tokens.iter().map(|token| i8::from(token.output)));
        // Each entry belongs to one sequence: its list is one place of `sequences`.
        refill(&mut self.sequence_lists, self.sequences.iter_mut().map(std::ptr::from_mut));
        RawBatch {
            raw: sys::llama_batch {
                n_tokens: tokens.len() as i32,
                token: self.tokens.as_mut_ptr(),
                embd: std::ptr::null_mut(),
                pos: self.positions.as_mut_ptr(),
                n_seq_id: self.sequence_counts.as_mut_ptr(),
                seq_id: self.sequence_lists.as_mut_ptr(),
                logits: self.outputs.as_mut_ptr(),
            },
            _arrays: PhantomData,
        }
    }
}
