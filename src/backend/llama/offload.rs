//! How many of a model's layers a GPU takes.

use llama_cpp_sys_2 as sys;

use super::context::ContextSize;
use super::device::NativeDevice;
use super::gguf::Summary;
use super::sizes;
use crate::error::{Error, ErrorKind, Result};
use crate::request::LoadOptions;

/// Bytes of a GPU's free memory that are left for what is computed there, and for others.
const RESERVE: u64 = 512 << 20;

/// Where a model's layers are computed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placement {
    /// Null: all on the processor.
    pub(super) device: sys::ggml_backend_dev_t,
    /// The last so many, as llama.cpp counts: the output is one, the first to go there.
    pub(super) n_gpu_layers: u32,
}

impl Placement {
    /// All on the processor.
    pub(super) const PROCESSOR: Self = Self { device: std::ptr::null_mut(), n_gpu_layers: 0 };

    /// The places of a model's layers where `native` is to be used. `OutOfMemory`: it has no room for
    /// even one, and the options do not say how many.
    pub(super) fn new(
        native: &NativeDevice,
        summary: &Summary,
        options: &LoadOptions,
        size: &ContextSize,
    ) -> Result<Self> {
        let device = native.handle;
        if device.is_null() {
            return Ok(Self::PROCESSOR);
        }
        let all = summary.n_layer + 1;
        if let Some(asked) = options.n_gpu_layers {
            return Ok(Self { device, n_gpu_layers: asked.min(all) });
        }
        let Some(free) = native.device.memory_free else {
            return Ok(Self { device, n_gpu_layers: all });
        };
        let n_gpu_layers = fitting(&layers(summary, options, size)?, free.saturating_sub(RESERVE));
        // The output alone would cost more on the way there and back than it gains.
        match n_gpu_layers {
            0 | 1 => Err(Error::new(
                ErrorKind::OutOfMemory,
                format!("{} MiB of its memory are free, no layer of the model fits", free >> 20),
            )),
            _ => Ok(Self { device, n_gpu_layers }),
        }
    }
}

/// Bytes of each layer with its part of the KV cache, in the order in which llama.cpp gives them to a
/// GPU: the output, then from the last to the first.
fn layers(summary: &Summary, options: &LoadOptions, size: &ContextSize) -> Result<Vec<u64>> {
    let mut bytes = vec![0u64; summary.n_layer as usize];
    let (mut output, mut embedding) = (0u64, 0u64);
    for (name, tensor) in &summary.tensors {
        let layer = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')?.0.parse().ok());
        let place = match layer.and_then(|layer: usize| bytes.get_mut(layer)) {
            Some(place) => place,
            None if name.starts_with("output") => &mut output,
            None => &mut embedding,
        };
        *place = place.saturating_add(tensor.bytes()?);
    }
    if !summary.tensors.contains_key("output.weight") {
        // Then the table of embeddings is the output too, and is copied.
        output = output.saturating_add(embedding);
    }
    let cache = sizes::cache_bytes(summary, &options.kv, size.n_cells);
    let part = cache / u64::from(summary.n_layer.max(1));
    let layers = bytes.into_iter().rev().map(|bytes| bytes.saturating_add(part));
    Ok(std::iter::once(output).chain(layers).collect())
}

/// How many of `layers`, from the first on, take no more than `room` together.
fn fitting(layers: &[u64], room: u64) -> u32 {
    let sums = layers.iter().scan(0u64, |sum, bytes| {
        *sum = sum.saturating_add(*bytes);
        Some(*sum)
    });
    sums.take_while(|sum| *sum <= room).count() as u32
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::gguf;
    use super::*;
    use crate::backend::device::{Device, Kind};

    fn smollm2() -> Summary {
        let folder = std::env::var("FLUID_MODELS")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/models").to_owned());
        let path = Path::new(&folder).join("SmolLM2-135M-Instruct.Q4_1.gguf");
        gguf::check(&path).unwrap_or_else(|error| panic!("{error}: run `make models`"))
    }

    /// A GPU with so much free memory; nothing looks behind its handle.
    fn gpu(memory_free: Option<u64>) -> NativeDevice {
        let device = Device {
            id: "GPU".into(),
            kind: Kind::Gpu,
            name: "a GPU".into(),
            integrated: Some(false),
            memory: memory_free,
            memory_free,
            capabilities: vec![],
        };
        NativeDevice { device, handle: std::ptr::dangling_mut() }
    }

    #[test]
    fn a_model_goes_to_a_gpu_as_far_as_it_fits() {
        let summary = smollm2();
        let options = LoadOptions { n_ctx: Some(512), ..LoadOptions::default() };
        let size = sizes::usual(&summary, &options).expect("sizes");
        let layers = layers(&summary, &options, &size).expect("bytes of layers");
        let all: u64 = layers.iter().sum();
        let cache = sizes::cache_bytes(&summary, &options.kv, size.n_cells);
        // 30 layers and the output, for which SmolLM2 uses its embeddings.
        assert_eq!(layers.len(), 31);
        assert!(all.abs_diff(summary.weights_bytes + cache) < 31, "{all}, {cache} of cache");

        let place = |free, options: &LoadOptions| {
            Placement::new(&gpu(free), &summary, options, &size).map(|place| place.n_gpu_layers)
        };
        assert_eq!(place(None, &options), Ok(31));
        assert_eq!(place(Some(RESERVE + all), &options), Ok(31));
        assert_eq!(place(Some(RESERVE + all - 1), &options), Ok(30));
        assert_eq!(place(Some(RESERVE + layers[0] + layers[1]), &options), Ok(2));
        let none = place(Some(RESERVE + layers[0]), &options).expect_err("the output alone");
        assert_eq!(none.kind(), ErrorKind::OutOfMemory, "{none}");
        for (asked, given) in [(0, 0), (7, 7), (999, 31)] {
            let options = LoadOptions { n_gpu_layers: Some(asked), ..options.clone() };
            assert_eq!(place(Some(0), &options), Ok(given));
        }
        let cpu = NativeDevice { handle: std::ptr::null_mut(), ..gpu(Some(0)) };
        let place = Placement::new(&cpu, &summary, &options, &size).expect("the processor");
        assert!(place.device.is_null() && place.n_gpu_layers == 0);
    }

    #[test]
    fn layers_are_given_away_as_long_as_there_is_room() {
        let layers = [50, 10, 10, 10];
        assert_eq!(fitting(&layers, 49), 0);
        assert_eq!(fitting(&layers, 50), 1);
        assert_eq!(fitting(&layers, 75), 3);
        assert_eq!(fitting(&layers, u64::MAX), 4);
        assert_eq!(fitting(&[u64::MAX, 1], u64::MAX), 2);
    }
}
