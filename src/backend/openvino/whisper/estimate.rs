//! What a Whisper model will take of memory. OpenVINO has no planner to ask: the figures follow from
//! the sizes of files and graphs, by what its CPU plugin (2026.4) was measured to take.

use std::path::Path;

use super::super::compiler::offer;
use super::super::device;
use super::super::native::Core;
use super::super::{runtime, vad};
use super::files::Files;
use crate::backend::device::{first_choice, Asked};
use crate::backend::memory::Memory;
use crate::backend::Estimate;
use crate::error::Result;
use crate::request::LoadOptions;
use crate::speech::{self, Sizes};

const F32_BYTES: u64 = 4;
const MEBIBYTE: u64 = 1 << 20;

/// The libraries' code, and what they keep for the process.
const RUNTIME: u64 = 100 * MEBIBYTE;
/// Weights are copied into the kernels' order when first used: so many tenths of their size.
const COPIED_TENTHS: u64 = 12;
/// A layer of a graph, with what is compiled for it.
const LAYER: u64 = 24 << 10;
/// The vocabulary, and what else is the same for each model.
const OTHER: u64 = 9 * MEBIBYTE;
/// The voice activity model.
const VAD: u64 = 3 * MEBIBYTE;
/// A thread that transcribes: its audio, its log-mel, its logits.
const SESSION: u64 = 4 * MEBIBYTE;
/// What a stateless decoder takes more for tensors that travel from step to step.
const STATELESS: u64 = 40 * MEBIBYTE;
/// Windows of long audio that are decoded side by side.
const SIDE_BY_SIDE: u64 = 8;
/// Tokens of a prompt from the text before; each has its logits, twice.
const PROMPT: u64 = 230;

/// Estimates what the model in the folder at `path` takes, on the CPU, while `n_parallel` recordings of
/// up to 30 seconds are transcribed.
pub(in crate::backend::openvino) fn estimate(
    path: &str,
    options: &LoadOptions,
) -> Result<Estimate> {
    let folder = Path::new(path);
    let sizes = speech::sizes(folder)?;
    let files = Files::find(folder)?;
    let vad = vad::file(folder, options)?;
    let (device, device_why) = device(&files, options)?;
    let window = window(&sizes, &files, options);
    let long = match vad {
        Some(_) => (SIDE_BY_SIDE - 1) * (window + 2 * states(&sizes)) + 30 * MEBIBYTE,
        None => 2 * PROMPT * u64::from(sizes.vocabulary) * F32_BYTES + 40 * MEBIBYTE,
    };
    Ok(Estimate {
        memory: memory(&sizes, &files, options, vad.is_some()),
        long_audio: u64::from(options.n_parallel) * long,
        runtime: if runtime::opened().is_some() { 0 } else { RUNTIME },
        device,
        device_why,
        ..Estimate::default()
    })
}

/// What a model of these sizes and files takes, with a voice activity model or without.
pub(super) fn memory(sizes: &Sizes, files: &Files, options: &LoadOptions, has_vad: bool) -> Memory {
    let jobs = u64::from(options.n_parallel);
    let halves = files.halves.min(files.weights);
    // Processors compute in 32 bits what is stored in 16.
    let copies = (files.weights - halves) * COPIED_TENTHS / 10 + halves * 2;
    let stateless = if files.with_past.is_some() { STATELESS } else { 0 };
    Memory {
        weights: files.weights + copies,
        kv_cache: jobs * window(sizes, files, options),
        // The states come out of the encoder, are kept, and go into the decoder.
        compute: jobs * (SESSION + 3 * states(sizes)) + stateless,
        other: OTHER + files.layers * LAYER + if has_vad { VAD } else { 0 },
    }
}

/// Bytes of what the encoder makes of one window.
fn states(sizes: &Sizes) -> u64 {
    (sizes.max_source_positions * sizes.width) as u64 * F32_BYTES
}

/// Bytes of one window's keys and values: those of a text's tokens are few beside the window's.
fn window(sizes: &Sizes, files: &Files, options: &LoadOptions) -> u64 {
    let numbers = 2 * (sizes.decoder_layers * sizes.max_source_positions * sizes.width) as u64;
    let is_exact = options.inference_precision.as_deref() == Some("f32");
    match (files.with_past.is_some(), is_exact) {
        // As tensors: once as an output, once as an input.
        (true, _) => numbers * F32_BYTES * 2,
        (false, true) => numbers * F32_BYTES,
        (false, false) => numbers * F32_BYTES / 2,
    }
}

/// Where the model would run, and why, as far as it is known before OpenVINO is open.
fn device(files: &Files, options: &LoadOptions) -> Result<(String, String)> {
    let Some(runtime) = runtime::opened() else {
        let why = match &*options.device {
            "CPU" => "asked for",
            _ => "OpenVINO is not open yet: which devices there are shows with the first model",
        };
        return Ok((options.device.clone(), why.to_owned()));
    };
    let devices = device::devices(&Core::new(runtime)?)?;
    let choice = first_choice(Asked::of(options), &offer(&devices, files.weights))?;
    Ok((choice.used.id.clone(), choice.reason().to_owned()))
}
