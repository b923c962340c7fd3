//! The devices that ggml was built for and finds here: the CPU, and GPUs where a feature brings them.

use std::ffi::{c_char, CStr};

use llama_cpp_sys_2 as sys;

use super::shim::{self, RawDevice};
use crate::backend::device::{Device, Kind};
use crate::error::Result;
use crate::machine::{cpu, memory};

/// More are not looked at.
const MOST: usize = 32;

/// A device, and what ggml knows it by.
#[derive(Debug, Clone)]
pub(super) struct NativeDevice {
    pub(super) device: Device,
    /// Lives as long as the process. Null: the processor, on which all else runs.
    pub(super) handle: sys::ggml_backend_dev_t,
}

/// The processor, then the GPUs in ggml's order. llama.cpp has been started.
pub(super) fn devices() -> Result<Vec<NativeDevice>> {
    // SAFETY: zeros are a value of this plain struct.
    let mut raw: Vec<RawDevice> = vec![unsafe { std::mem::zeroed() }; MOST];
    let (places, room) = (raw.as_mut_ptr(), raw.len());
    // SAFETY: `places` has room for `room` devices.
    let count = shim::call(|out| unsafe { shim::fluid_llama_devices(places, room, out) });
    raw.truncate(count.map_err(|error| error.describe("listing ggml's devices"))?);
    let gpus: Vec<&RawDevice> = raw.iter().filter(|it| is_gpu(it)).collect();
    let many = gpus.len() > 1;
    let numbered = gpus.into_iter().enumerate().map(|(number, raw)| {
        let id = if many { format!("GPU.{number}") } else { "GPU".to_owned() };
        gpu(id, raw)
    });
    let native = raw.iter().find(|it| it.kind == sys::GGML_BACKEND_DEVICE_TYPE_CPU);
    Ok(std::iter::once(processor(native)).chain(numbered).collect())
}

fn is_gpu(raw: &RawDevice) -> bool {
    raw.kind == sys::GGML_BACKEND_DEVICE_TYPE_GPU || is_integrated(raw)
}

fn is_integrated(raw: &RawDevice) -> bool {
    raw.kind == sys::GGML_BACKEND_DEVICE_TYPE_IGPU
}

fn gpu(id: String, raw: &RawDevice) -> NativeDevice {
    let bytes = |bytes: usize| Some(bytes as u64).filter(|bytes| *bytes > 0);
    let device = Device {
        id,
        kind: Kind::Gpu,
        name: text(&raw.description),
        integrated: Some(is_integrated(raw)),
        memory: bytes(raw.memory_total),
        memory_free: bytes(raw.memory_free),
        // Such as "Vulkan" and "Vulkan0".
        capabilities: vec![text(&raw.backend), text(&raw.name)],
    };
    NativeDevice { device, handle: raw.handle }
}

fn processor(native: Option<&RawDevice>) -> NativeDevice {
    let told = native.map(|raw| text(&raw.description)).filter(|name| !name.is_empty());
    let device = Device {
        id: "CPU".to_owned(),
        kind: Kind::Cpu,
        name: cpu::name().or(told).unwrap_or_else(|| "CPU".to_owned()),
        integrated: None,
        memory: memory::total().or(native.map(|raw| raw.memory_total as u64)),
        memory_free: memory::available(),
        capabilities: super::machine::needed().into_iter().map(str::to_owned).collect(),
    };
    NativeDevice { device, handle: std::ptr::null_mut() }
}

fn text(chars: &[c_char]) -> String {
    // SAFETY: shim.cpp writes these with snprintf, so each ends with a NUL inside its array; zeroed
    // ones do too.
    let text = unsafe { CStr::from_ptr(chars.as_ptr()) };
    text.to_string_lossy().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_processor_and_whatever_a_feature_brings() {
        super::super::start().expect("llama.cpp starts");
        let found = devices().expect("a list");
        assert_eq!((found[0].device.id.as_str(), found[0].device.kind), ("CPU", Kind::Cpu));
        assert!(!found[0].device.name.is_empty() && found[0].handle.is_null());
        assert!(found[1..].iter().all(|it| it.device.kind == Kind::Gpu && !it.handle.is_null()));
        if !cfg!(any(feature = "vulkan", feature = "cuda", target_os = "macos")) {
            assert_eq!(found.len(), 1, "{found:?}");
        }
    }
}
