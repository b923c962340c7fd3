//! Silero's voice activity detection (<https://github.com/snakers4/silero-vad>, version 6): how likely
//! each 32 ms hold speech.
//!
//! The network goes through the audio in order and remembers. So that long audio takes less time,
//! it is cut into lanes that are computed together, each with a start before its own beginning
//! to remember what came before.

use std::path::{Path, PathBuf};

use super::compiler::Compiler;
use super::native::Compiled;
use super::request::Request;
use super::tensor::{ElementType, Tensor};
use crate::backend::GoOn;
use crate::error::{Error, ErrorKind, Result};
use crate::request::LoadOptions;

/// The file's name in Silero's package.
const FILE: &str = "silero_vad_openvino_16k.onnx";
/// Samples of one step.
const STEP: usize = 512;
/// Samples before them that the network also hears.
const CONTEXT: usize = 64;
const HEARD: usize = CONTEXT + STEP;
/// Values that the network remembers: two layers of 128.
const MEMORY: usize = 128;
const LANES: usize = 16;
/// Steps of a lane before its own: two seconds.
const WARM_UP: usize = 62;

/// The file of the load options, else of the model's folder or the folder around it, if one is there.
pub(super) fn file(folder: &Path, options: &LoadOptions) -> Result<Option<PathBuf>> {
    let Some(given) = &options.vad_model else {
        let around = [Some(folder), folder.parent()];
        let mut places = around.into_iter().flatten().map(|place| place.join(FILE));
        return Ok(places.find(|path| path.is_file()));
    };
    let path = PathBuf::from(given);
    if !path.is_file() {
        let message = format!("vad_model: {} is no file", path.display());
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    Ok(Some(path))
}

/// The compiled network.
pub(super) struct Vad(Compiled);

impl Vad {
    /// The network of [`file`].
    pub(super) fn find(
        compiler: &Compiler,
        folder: &Path,
        options: &LoadOptions,
    ) -> Result<Option<Self>> {
        let Some(path) = file(folder, options)? else {
            return Ok(None);
        };
        let mut model = compiler.read(&path)?;
        model.reshape(&[("input", &[LANES, HEARD]), ("state", &[2, LANES, MEMORY])])?;
        // Small, and in order: every other device would wait more than it computes.
        Ok(Some(Self(compiler.compile_for(&model, "CPU")?)))
    }

    pub(super) fn run(&self) -> Result<VadRun> {
        let mut request = self.0.request()?;
        request.set_input("input", Tensor::new(ElementType::F32, &[LANES, HEARD])?)?;
        request.set_input("state", Tensor::new(ElementType::F32, &[2, LANES, MEMORY])?)?;
        Ok(VadRun { request })
    }
}

/// One thread's use of the network.
pub(super) struct VadRun {
    request: Request,
}

impl VadRun {
    /// The probability of speech in each 512 samples. `None`: stopped.
    pub(super) fn probabilities(
        &mut self,
        samples: &[f32],
        go_on: GoOn<'_>,
    ) -> Result<Option<Vec<f32>>> {
        let steps = samples.len().div_ceil(STEP);
        let own = steps.div_ceil(LANES);
        let mut found = vec![0.0; steps];
        self.tensor("state")?.fill(0.0);
        for turn in 0..own + WARM_UP {
            // The step of a lane's at this turn; before the audio begins there is none.
            let step = |lane: usize| (lane * own + turn).checked_sub(WARM_UP);
            let input = self.tensor("input")?;
            for (lane, heard) in input.chunks_exact_mut(HEARD).enumerate() {
                hear(samples, step(lane), heard);
            }
            if !self.request.run(go_on)? {
                return Ok(None);
            }
            let output = self.request.output("output")?;
            for (lane, &probability) in output.slice::<f32>()?.iter().enumerate() {
                if let (Some(step), true) = (step(lane), turn >= WARM_UP) {
                    if let Some(place) = found.get_mut(step) {
                        *place = probability;
                    }
                }
            }
            let memory = self.request.output("stateN")?.slice::<f32>()?.to_vec();
            let state = self.tensor("state")?;
            if memory.len() != state.len() {
                let message = "the voice activity model's memory changes its size; use Silero's";
                return Err(Error::new(ErrorKind::InvalidModel, message));
            }
            state.copy_from_slice(&memory);
            for lane in (0..LANES).filter(|&lane| step(lane).is_none()) {
                for layer in 0..2 {
                    state[(layer * LANES + lane) * MEMORY..][..MEMORY].fill(0.0);
                }
            }
        }
        Ok(Some(found))
    }

    fn tensor(&mut self, name: &str) -> Result<&mut [f32]> {
        let tensor = self.request.input_mut(name).ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("the VAD's {name} is in use"))
        })?;
        tensor.slice_mut()
    }
}

/// Fills `heard` with the samples of `step` and some before; what is missing is silence.
fn hear(samples: &[f32], step: Option<usize>, heard: &mut [f32]) {
    heard.fill(0.0);
    let Some(start) = step.map(|step| step * STEP) else { return };
    for (index, value) in heard.iter_mut().enumerate() {
        let place = (start + index).checked_sub(CONTEXT);
        *value = place.and_then(|place| samples.get(place)).copied().unwrap_or(0.0);
    }
}
