//! A Whisper model's folder as optimum-intel exports it: which files there are, and whether they are
//! whole. Checked before OpenVINO maps them into memory, where a cut file would be a fault.

use std::path::{Path, PathBuf};

use super::ir::{self, Ir};
use crate::error::{Error, ErrorKind, Result};

/// One network: its description and its weights.
#[derive(Debug, Clone)]
pub(super) struct Network {
    pub(super) xml: PathBuf,
    pub(super) bin: PathBuf,
}

/// The networks of a folder.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) encoder: Network,
    pub(super) decoder: Network,
    /// A stateless model's decoder for all tokens but the first ones.
    pub(super) with_past: Option<Network>,
    /// Bytes of all weights.
    pub(super) weights: u64,
    /// Bytes among them that are half-precision floats.
    pub(super) halves: u64,
    /// Layers of the graphs, of all networks together.
    pub(super) layers: u64,
}

/// What a description says of a network's size.
struct Extent {
    weights: u64,
    halves: u64,
    layers: u64,
}

impl Files {
    /// Looks for the files below `folder` and checks that each is whole.
    pub(super) fn find(folder: &Path) -> Result<Self> {
        let encoder = Network::in_folder(folder, "openvino_encoder_model");
        let decoder = Network::in_folder(folder, "openvino_decoder_model");
        let with_past = Network::in_folder(folder, "openvino_decoder_with_past_model");
        let with_past = with_past.xml.exists().then_some(with_past);
        let (mut weights, mut halves, mut layers) = (0, 0, 0);
        for network in [&encoder, &decoder].into_iter().chain(&with_past) {
            let extent = network.check()?;
            weights += extent.weights;
            halves += extent.halves;
            layers += extent.layers;
        }
        Ok(Self { encoder, decoder, with_past, weights, halves, layers })
    }
}

impl Network {
    fn in_folder(folder: &Path, name: &str) -> Self {
        Self { xml: folder.join(format!("{name}.xml")), bin: folder.join(format!("{name}.bin")) }
    }

    /// The description's text.
    pub(super) fn read(&self) -> Result<String> {
        std::fs::read_to_string(&self.xml).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => missing(&self.xml),
            std::io::ErrorKind::InvalidData => self.invalid("is not text"),
            _ => Error::new(ErrorKind::Io, format!("{}: {error}", self.xml.display())),
        })
    }

    /// How large it is, once its weights are as many as the description speaks of.
    fn check(&self) -> Result<Extent> {
        let text = self.read()?;
        let document = ir::parse(&text).map_err(|why| self.invalid(&why))?;
        let ir = Ir::new(&text, &document).map_err(|why| self.invalid(&why))?;
        let needed = ir.weights_end().map_err(|why| self.invalid(&why))?;
        let there = std::fs::metadata(&self.bin).map_err(|_| missing(&self.bin))?.len();
        if there < needed {
            let message = format!(
                "{}: is cut: {there} bytes, its model speaks of {needed}; fetch it again",
                self.bin.display()
            );
            return Err(Error::new(ErrorKind::InvalidModel, message));
        }
        Ok(Extent { weights: there, halves: ir.halves(), layers: ir.layers() })
    }

    pub(super) fn invalid(&self, why: &str) -> Error {
        let message = format!("{}: {why}; fetch it again", self.xml.display());
        Error::new(ErrorKind::InvalidModel, message)
    }
}

fn missing(path: &Path) -> Error {
    let message =
        format!("{}: is missing; a Whisper folder in OpenVINO's format has it", path.display());
    Error::new(ErrorKind::NotFound, message)
}
