//! How a text attends to its window: the decoder once more, with the query and key of its
//! cross-attention in the open, over all tokens at once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;

use super::super::compiler::{Compiler, BEAMS};
use super::super::request::Request;
use super::decoder::{fill_states, fill_tokens};
use super::files::Network;
use super::ir::{self, Ir, Scale};
use super::steps::{Sizes, Steps};
use crate::backend::{Encoded, GoOn, Scores};
use crate::error::{Error, ErrorKind, Result};
use crate::speech::attention::{self, HeadShape};
use crate::speech::Vocabulary;

pub(super) struct Aligner {
    steps: Steps,
    /// Layers with the heads in them that align, as the model's makers chose them.
    layers: Vec<(usize, Vec<usize>)>,
    /// What query times key is multiplied with; `None`: one over the root of their width.
    scale: Option<f32>,
}

impl Aligner {
    pub(super) fn load(
        compiler: &Compiler,
        network: &Network,
        vocabulary: &Vocabulary,
    ) -> Result<Self> {
        let text = network.read()?;
        let document = ir::parse(&text).map_err(|why| network.invalid(&why))?;
        let exposed = Ir::new(&text, &document)
            .and_then(|ir| ir.expose_cross_attention())
            .map_err(|why| network.invalid(&why))?;
        let scale = exposed.scale.map(|scale| read_scale(network, scale)).transpose()?;
        let layers = alignment_heads(vocabulary, exposed.layers)?;
        let model = compiler.read_text(&exposed.xml, &network.bin)?;
        let steps = Steps::new(compiler.compile(&model)?, compiler);
        Ok(Self { steps, layers, scale })
    }

    /// Scores of `tokens` against the first `frames` of `window`. `None`: stopped.
    pub(super) fn scores(
        &self,
        window: &Encoded,
        tokens: &[u32],
        frames: usize,
        go_on: GoOn<'_>,
    ) -> Result<Option<Scores>> {
        let mut request = self.request(window, tokens)?;
        let sizes = Sizes { rows: 1, width: tokens.len(), past: 0, frames: window.frames };
        if !self.steps.run(&mut request, sizes, go_on)? {
            return Ok(None);
        }
        let frames = frames.min(window.frames);
        let heads = self.layers.iter().map(|(_, heads)| heads.len()).sum();
        let mut values = Vec::with_capacity(heads * tokens.len() * frames);
        for (layer, heads) in &self.layers {
            if !go_on() {
                return Ok(None);
            }
            let query = request.output(&format!("query_{layer}"))?;
            let key = request.output(&format!("key_{layer}"))?;
            let (&[_, count, fed, width], &[_, _, heard, _]) = (query.shape(), key.shape()) else {
                let message = "the decoder's cross-attention has an odd shape";
                return Err(Error::new(ErrorKind::InvalidModel, message));
            };
            let shape = HeadShape { heads: count, tokens: fed, frames: heard, width };
            let scale = self.scale.unwrap_or_else(|| 1.0 / (width as f32).sqrt());
            let (query, key) = (query.slice::<f32>()?, key.slice::<f32>()?);
            attention::scores(query, key, &shape, heads, frames, scale, &mut values)?;
        }
        Ok(Some(Scores { values, heads, tokens: tokens.len(), frames }))
    }

    fn request(&self, window: &Encoded, tokens: &[u32]) -> Result<Request> {
        let compiled = self.steps.compiled();
        let mut request = compiled.request()?;
        fill_tokens(&mut request, 1, tokens)?;
        fill_states(&mut request, &[window])?;
        if compiled.inputs().iter().any(|port| port.name == BEAMS) {
            request.fill_input(BEAMS, &[1], |beam: &mut [i32]| beam.fill(0))?;
        }
        Ok(request)
    }
}

/// The heads of the model's `generation_config.json`, layer by layer; without them, as OpenAI's code
/// has it, all heads of the upper half of the layers.
fn alignment_heads(vocabulary: &Vocabulary, layers: usize) -> Result<Vec<(usize, Vec<usize>)>> {
    let heads = vocabulary.sizes().decoder_heads;
    let Some(given) = vocabulary.alignment_heads() else {
        return Ok((layers / 2..layers).map(|layer| (layer, (0..heads).collect())).collect());
    };
    let mut chosen = BTreeMap::<usize, Vec<usize>>::new();
    for &(layer, head) in given {
        if layer >= layers || head >= heads {
            let message = format!(
                "generation_config.json: alignment head [{layer}, {head}] is not in the model"
            );
            return Err(Error::new(ErrorKind::InvalidModel, message));
        }
        chosen.entry(layer).or_default().push(head);
    }
    Ok(chosen.into_iter().collect())
}

fn read_scale(network: &Network, scale: Scale) -> Result<f32> {
    use std::io::{Seek as _, SeekFrom};
    let failed = |error| Error::new(ErrorKind::Io, format!("{}: {error}", network.bin.display()));
    let mut file = File::open(&network.bin).map_err(failed)?;
    file.seek(SeekFrom::Start(scale.offset)).map_err(failed)?;
    let mut bytes = [0; 4];
    match scale.bytes {
        4 => {
            file.read_exact(&mut bytes).map_err(failed)?;
            Ok(f32::from_le_bytes(bytes))
        }
        2 => {
            file.read_exact(&mut bytes[..2]).map_err(failed)?;
            Ok(half(u16::from_le_bytes([bytes[0], bytes[1]])))
        }
        size => Err(network.invalid(&format!("has an attention scale of {size} bytes"))),
    }
}

/// A half-precision float, as numbers go; subnormal ones count as zero.
fn half(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (bits >> 15, (bits >> 10) & 31, bits & 1023);
    let magnitude = match exponent {
        0 => 0.0,
        _ => (1.0 + f32::from(fraction) / 1024.0) * 2f32.powi(i32::from(exponent) - 15),
    };
    if sign == 1 {
        -magnitude
    } else {
        magnitude
    }
}
