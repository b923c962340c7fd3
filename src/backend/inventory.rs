//! What the backends of this build need and see: instruction sets, libraries, devices. Drivers are asked,
//! which can take seconds; `engine::survey` bounds that.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::device::{Device, Kind};
use crate::error::{Error, Result};

/// The backends of this build, as its features name them.
pub const BUILT: &[&str] = &[
    #[cfg(feature = "llama")]
    "llama",
    #[cfg(feature = "openvino")]
    "openvino",
    #[cfg(feature = "vulkan")]
    "vulkan",
    #[cfg(feature = "cuda")]
    "cuda",
    #[cfg(feature = "fake")]
    "fake",
];

/// What a device of a backend can run, as lists of devices say it.
pub fn runs(backend: &str, kind: Kind) -> &'static [&'static str] {
    match (backend, kind) {
        ("llama.cpp", _) => &["gguf"],
        // NPUs take models of fixed shapes; our decoders' are not.
        (_, Kind::Npu) => &[],
        _ => &["whisper"],
    }
}

/// The instruction sets that this build uses without asking the processor.
pub fn needed_instructions() -> Vec<&'static str> {
    #[cfg(feature = "llama")]
    return super::llama::needed_instructions();
    #[cfg(not(feature = "llama"))]
    Vec::new()
}

/// Those of them that this processor lacks.
pub fn missing_instructions() -> Vec<&'static str> {
    #[cfg(feature = "llama")]
    return super::llama::missing_instructions();
    #[cfg(not(feature = "llama"))]
    Vec::new()
}

/// The devices that llama.cpp can use; `None` where this build has no llama.cpp.
pub fn llama() -> Option<Result<Vec<Device>>> {
    #[cfg(feature = "llama")]
    return Some(super::llama::devices());
    #[cfg(not(feature = "llama"))]
    None
}

/// What there is of OpenVINO.
#[derive(Debug, Clone)]
pub struct OpenVino {
    /// Version and file of the library, where one can be used.
    pub library: Option<(String, PathBuf)>,
    /// The places looked at that have none, and why, a line each.
    pub passed_over: Vec<String>,
    /// Why there is no library, another one than asked for, or no list of devices.
    pub error: Option<Error>,
    /// The devices that it can use.
    pub devices: Vec<Device>,
}

/// What there is of OpenVINO, whose library is opened if it was not; `None` where this build has no use
/// for it. `explicit` is the library or a folder that holds it.
pub fn openvino(explicit: Option<&str>) -> Option<OpenVino> {
    #[cfg(feature = "openvino")]
    return Some(see_openvino(explicit));
    #[cfg(not(feature = "openvino"))]
    {
        let _ = explicit;
        None
    }
}

#[cfg(feature = "openvino")]
fn see_openvino(explicit: Option<&str>) -> OpenVino {
    use super::openvino::{device, native::Core, runtime};
    use crate::error::ErrorKind;
    let lines = |looked: &[runtime::Looked]| looked.iter().map(ToString::to_string).collect();
    let runtime = match runtime::look(explicit) {
        Ok(runtime) => runtime,
        Err(looked) => {
            let error = Error::new(ErrorKind::BackendMissing, "OpenVINO's library was not found");
            let passed_over = lines(&looked);
            return OpenVino { library: None, passed_over, error: Some(error), devices: vec![] };
        }
    };
    let found = Core::new(runtime).and_then(|core| device::devices(&core));
    let other = runtime.check_is(explicit).err();
    let (devices, error) = match found {
        Ok(devices) => (devices, other),
        Err(error) => (Vec::new(), Some(error)),
    };
    let library = Some((runtime.version().to_owned(), runtime.path().to_owned()));
    OpenVino { library, passed_over: lines(runtime.passed_over()), error, devices }
}
