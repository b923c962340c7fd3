//! Reads and compiles models for one load: with its threads, precision and cache folder, for one
//! device after the other until a model works there.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::device::devices;
use super::native::{Compiled, Core, Model};
use super::runtime::{self, Runtime};
use crate::backend::device::{self, Asked, Choice, Device, Offer};
use crate::error::{Error, ErrorKind, Result};
use crate::request::LoadOptions;

/// Bytes that a model takes on a GPU beside its weights, of which a part may be there twice, as stored
/// and as computed with.
const WORKING_MEMORY: u64 = 256 << 20;

/// The input of a decoder with its KV cache inside: which row of the last step each row goes on from.
pub(super) const BEAMS: &str = "beam_idx";

/// For such a decoder on the CPU. From 2025.1 to 2026.4.1 at least, the kernel of its attention lies in
/// the plugin's cache of kernels and itself holds that cache: neither is ever freed, nor is a thread that
/// hangs on them. A cache without places takes none. A text's steps are of one shape and need no cache.
const NO_KERNEL_CACHE: (&str, &str) = ("CPU_RUNTIME_CACHE_CAPACITY", "0");

pub(super) struct Compiler {
    runtime: &'static Runtime,
    // One core for each load, so that no two models share threads and cache folder.
    core: Mutex<Core>,
    devices: Vec<Device>,
    properties: Vec<(String, String)>,
    /// The device that all parts of the model are for.
    device: String,
}

impl Compiler {
    pub(super) fn new(options: &LoadOptions) -> Result<Self> {
        let runtime = runtime::open(options.openvino.as_deref())?;
        let mut properties = vec![("PERFORMANCE_HINT".to_owned(), "LATENCY".to_owned())];
        let mut set = |key: &str, value: String| properties.push((key.to_owned(), value));
        if let Some(folder) = &options.cache_dir {
            std::fs::create_dir_all(folder).map_err(|error| {
                Error::new(ErrorKind::Io, format!("cache_dir {folder}: {error}"))
            })?;
            set("CACHE_DIR", folder.clone());
        }
        if let Some(precision) = &options.inference_precision {
            set("INFERENCE_PRECISION_HINT", precision.clone());
        }
        if let Some(threads) = options.threads.n_threads {
            set("INFERENCE_NUM_THREADS", threads.to_string());
        }
        if options.inference_precision.as_deref() == Some("f32") {
            set("KV_CACHE_PRECISION", "f32".to_owned());
            // Else activations become 8-bit integers in groups, which differ from graph to graph.
            set("DYNAMIC_QUANTIZATION_GROUP_SIZE", "0".to_owned());
        }
        let core = Core::new(runtime)?;
        Ok(Self {
            runtime,
            devices: devices(&core)?,
            core: Mutex::new(core),
            properties,
            device: "CPU".to_owned(),
        })
    }

    /// Version of OpenVINO.
    pub(super) fn version(&self) -> &'static str {
        self.runtime.version()
    }

    /// Whether the load's device is another one than the processor.
    pub(super) fn is_for_accelerator(&self) -> bool {
        self.device != "CPU"
    }

    /// Has `make` make a model whose weights take `bytes`, for the devices that `asked` leads to until it
    /// works on one; what is compiled later is for that one too.
    pub(super) fn on_first_device<T>(
        &mut self,
        asked: Asked<'_>,
        bytes: u64,
        notice: &mut dyn FnMut(String),
        mut make: impl FnMut(&Self) -> Result<T>,
    ) -> Result<(T, Choice)> {
        let devices = self.devices.clone();
        device::first_that_works(asked, &offer(&devices, bytes), notice, |device| {
            self.device.clone_from(&device.id);
            make(self)
        })
    }

    /// The model at `path`, its weights beside it.
    pub(super) fn read(&self, path: &Path) -> Result<Model> {
        self.core.lock().read_model(path, None)
    }

    /// The model that the text `xml` describes, with the weights at `bin`.
    pub(super) fn read_text(&self, xml: &str, bin: &Path) -> Result<Model> {
        // OpenVINO maps weights only for a model that it reads from a file.
        let file = TemporaryFile::new(xml)?;
        self.core.lock().read_model(&file.0, Some(bin))
    }

    /// Compiles `model` for the load's device.
    pub(super) fn compile(&self, model: &Model) -> Result<Compiled> {
        self.compile_for(model, &self.device)
    }

    /// Compiles `model` for `device`.
    pub(super) fn compile_for(&self, model: &Model, device: &str) -> Result<Compiled> {
        // These are the CPU plugin's own words.
        const CPU_ONLY: [&str; 3] =
            ["INFERENCE_NUM_THREADS", "KV_CACHE_PRECISION", "DYNAMIC_QUANTIZATION_GROUP_SIZE"];
        let fits = |key: &str| device == "CPU" || !CPU_ONLY.contains(&key);
        let all = self.properties.iter().filter(|(key, _)| fits(key));
        let mut properties: Vec<_> = all.map(|(key, value)| (&**key, &**value)).collect();
        let core = self.core.lock();
        if device == "CPU" && is_stateful(model) {
            properties.push(NO_KERNEL_CACHE);
            match core.compile(model, device, &properties) {
                // It is in no list of properties; a release may come that does not know it.
                Err(error) if error.to_string().contains(NO_KERNEL_CACHE.0) => properties.pop(),
                done => return done,
            };
        }
        core.compile(model, device, &properties)
    }
}

/// Whether `model` is a decoder that keeps its KV cache to itself.
pub(super) fn is_stateful(model: &Model) -> bool {
    model.inputs().iter().any(|port| port.name == BEAMS)
}

/// What a model whose weights take `bytes` has to choose from.
pub(super) fn offer(devices: &[Device], bytes: u64) -> Offer<'_> {
    Offer {
        backend: "OpenVINO",
        devices,
        advice: "see fluid_doctor for drivers that are missing",
        bytes: bytes.saturating_mul(3) / 2 + WORKING_MEMORY,
    }
}

/// A text in a file of its own, removed when dropped.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn new(text: &str) -> Result<Self> {
        use std::io::Write as _;
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = since.map_or(0, |since| since.as_nanos());
        let name = format!("fluid-{}-{number}-{now:x}.xml", std::process::id());
        let path = std::env::temp_dir().join(name);
        let failed = |error| Error::new(ErrorKind::Io, format!("{}: {error}", path.display()));
        // Never over what is there, which may be somebody's link.
        let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
        let mut file = file.map_err(failed)?;
        let own = Self(path.clone());
        file.write_all(text.as_bytes()).map_err(failed)?;
        Ok(own)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // It lies in the folder for such files; there is nobody to tell.
        let _ = std::fs::remove_file(&self.0);
    }
}
