//! A compiled decoder's runs, one at a time, and what makes one that was cancelled harmless.
//!
//! In OpenVINO's CPU plugin (2026.4.1) each node of a graph remembers the shapes that it last computed with,
//! and plans its outputs anew only where they change. Plans run ahead of the computing, so a run that is cancelled
//! leaves nodes whose outputs are planned for it but which remember the run before. Where the next run gives such a
//! node the same as that one did, it keeps the cancelled run's plan: an error, results of another length, or a
//! fault. All requests of a compiled model share the graph, so other threads' texts were no safer. After a
//! cancelled run, one of sizes that no node remembers is put in here before the next; it takes milliseconds.

use parking_lot::{Mutex, MutexGuard};

use super::super::compiler::Compiler;
use super::super::native::Compiled;
use super::super::port::Port;
use super::super::request::{Request, SLICE};
use super::super::tensor::{ElementType, Tensor};
use super::decoder::{STATES, TOKENS};
use crate::backend::GoOn;
use crate::error::{Error, ErrorKind, Result};

/// The beginning of the names of a KV cache that travels as tensors.
pub(super) const PAST: &str = "past_key_values.";

/// What changes from run to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) rows: usize,
    /// Tokens of each row.
    pub(super) width: usize,
    /// Tokens of each row before them, in the KV cache.
    pub(super) past: usize,
    /// Of the encoder's states.
    pub(super) frames: usize,
}

/// A compiled decoder whose runs take turns, which they would do inside OpenVINO too (`LATENCY`).
pub(super) struct Steps {
    compiled: Compiled,
    /// Whether shapes change, on a device that remembers them.
    remembers: bool,
    ran: Mutex<Ran>,
}

impl Steps {
    pub(super) fn new(compiled: Compiled, compiler: &Compiler) -> Self {
        let changes = |port: &Port| port.shape.iter().flatten().any(Option::is_none);
        let remembers = !compiler.is_for_accelerator() && compiled.inputs().iter().any(changes);
        Self { compiled, remembers, ran: Mutex::default() }
    }

    pub(super) fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// Runs `request`, whose inputs have `sizes`. False: stopped.
    pub(super) fn run(&self, request: &mut Request, sizes: Sizes, go_on: GoOn<'_>) -> Result<bool> {
        if !self.remembers {
            return request.run(go_on);
        }
        let Some(mut ran) = self.turn(go_on) else { return Ok(false) };
        if ran.is_broken && !self.mend(&mut ran, go_on)? {
            return Ok(false);
        }
        ran.note(sizes, || request.run(go_on))
    }

    fn turn(&self, go_on: GoOn<'_>) -> Option<MutexGuard<'_, Ran>> {
        while go_on() {
            if let Some(ran) = self.ran.try_lock_for(SLICE) {
                return Some(ran);
            }
        }
        None
    }

    /// Has every node compute with shapes that it does not remember. False: stopped, which may be
    /// tried again.
    fn mend(&self, ran: &mut Ran, go_on: GoOn<'_>) -> Result<bool> {
        let inputs = self.compiled.inputs();
        let sizes = unlike(&ran.sizes, inputs.iter().any(|port| port.name.starts_with(PAST)));
        let mut request = self.compiled.request()?;
        for port in inputs {
            let shape = sizes.shape(port);
            if port.name.starts_with(PAST) {
                // As in all other runs: where some requests are given tensors for an input and some have
                // their own, OpenVINO (2026.4.1) writes beyond them.
                request.set_input(&port.name, Tensor::new(port.element, &shape)?)?;
                continue;
            }
            match port.element {
                ElementType::I64 => request.fill_input(&port.name, &shape, |to| to.fill(0i64)),
                ElementType::I32 => request.fill_input(&port.name, &shape, |to| to.fill(0i32)),
                ElementType::F32 => request.fill_input(&port.name, &shape, |to| to.fill(0f32)),
                other => {
                    let message = format!("the decoder's {} is of type {other:?}", port.name);
                    Err(Error::new(ErrorKind::InvalidModel, message))
                }
            }?;
        }
        ran.note(sizes, || request.run(go_on))
    }
}

/// What the nodes of a graph may remember.
#[derive(Default)]
struct Ran {
    /// The last run did not come to its end.
    is_broken: bool,
    /// Of the last run that did, and of those after it.
    sizes: Vec<Sizes>,
}

impl Ran {
    /// Has `run` run with `sizes`, and notes whether it came to its end.
    fn note(&mut self, sizes: Sizes, run: impl FnOnce() -> Result<bool>) -> Result<bool> {
        self.sizes.push(sizes);
        self.is_broken = true;
        let is_whole = run()?;
        if is_whole {
            *self = Self { is_broken: false, sizes: vec![sizes] };
        }
        Ok(is_whole)
    }
}

/// Small sizes, of which none is one of `seen`, and no sum or product that a graph makes of them.
fn unlike(seen: &[Sizes], has_past: bool) -> Sizes {
    let least = |fits: &dyn Fn(usize) -> bool| (1..).find(|&size| fits(size)).unwrap_or(1);
    let is_new = |tokens: usize| {
        seen.iter().all(|it| ![it.width, it.past, it.past + it.width].contains(&tokens))
    };
    let rows = least(&|rows| seen.iter().all(|it| it.rows != rows));
    let width =
        least(&|width| is_new(width) && seen.iter().all(|it| it.rows * it.width != rows * width));
    let past = match has_past {
        true => least(&|past| past != width && is_new(past) && is_new(past + width)),
        false => 0,
    };
    let frames = least(&|frames| seen.iter().all(|it| it.frames != frames));
    Sizes { rows, width, past, frames }
}

impl Sizes {
    /// The shape of a decoder's input `port`.
    fn shape(self, port: &Port) -> Vec<usize> {
        let of_past = port.name.starts_with(PAST) && !port.name.contains(".encoder.");
        let size = |axis: usize| match (axis, &*port.name) {
            (0, _) => self.rows,
            (_, TOKENS) => self.width,
            (_, STATES) => self.frames,
            _ if of_past => self.past,
            _ => self.frames,
        };
        let axes = port.shape.iter().flatten().enumerate();
        axes.map(|(axis, known)| known.unwrap_or_else(|| size(axis))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_sizes_are_unlike_all_that_were_seen() {
        let mut seen = Vec::new();
        for (rows, width, past) in
            [(1, 4, 0), (1, 1, 4), (8, 3, 0), (2, 1, 7), (1, 2, 0), (3, 1, 1)]
        {
            seen.push(Sizes { rows, width, past, frames: 1_500 });
            for has_past in [false, true] {
                let new = unlike(&seen, has_past);
                assert_eq!(new.past > 0, has_past);
                for old in &seen {
                    assert!(new.rows != old.rows && new.frames != old.frames, "{new:?} {old:?}");
                    assert_ne!(new.rows * new.width, old.rows * old.width, "{new:?} {old:?}");
                    let told = [old.width, old.past, old.past + old.width];
                    let tokens = [new.width, new.past, new.past + new.width];
                    let mut both = tokens.iter().filter(|&&size| size > 0 && told.contains(&size));
                    assert_eq!(both.next(), None, "{new:?} {old:?}");
                }
                assert!(new.rows * (new.width + new.past) < 300, "{new:?} is not small");
            }
            // As when the small run is cancelled too.
            seen.push(unlike(&seen, true));
        }
    }

    #[test]
    fn what_a_graph_may_remember_is_kept_until_a_run_is_whole() {
        let sizes = |rows| Sizes { rows, width: 1, past: 0, frames: 1 };
        let mut ran = Ran::default();
        for (rows, result, broken, kept) in [
            (1, Ok(true), false, vec![1]),
            (2, Ok(false), true, vec![1, 2]),
            (3, Err(Error::new(ErrorKind::Backend, "as scripted")), true, vec![1, 2, 3]),
            (4, Ok(true), false, vec![4]),
        ] {
            let told = result.as_ref().ok().copied();
            assert_eq!(ran.note(sizes(rows), || result).ok(), told);
            let rows: Vec<usize> = ran.sizes.iter().map(|sizes| sizes.rows).collect();
            assert_eq!((ran.is_broken, rows), (broken, kept));
        }
    }
}
