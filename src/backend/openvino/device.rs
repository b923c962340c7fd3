//! The devices that OpenVINO can use.
#![forbid(unsafe_code)]

use super::native::Core;
use crate::backend::device::{Device, Kind};
use crate::error::Result;
use crate::machine::memory;

/// The processor, GPUs and NPUs there are. What one does not tell is left out; one whose name cannot be
/// read is listed by its id.
pub fn devices(core: &Core) -> Result<Vec<Device>> {
    let known = |id: String| Some(describe(core, kind(&id)?, id));
    Ok(core.available_devices()?.into_iter().filter_map(known).collect())
}

fn kind(id: &str) -> Option<Kind> {
    let kinds = [("CPU", Kind::Cpu), ("GPU", Kind::Gpu), ("NPU", Kind::Npu)];
    kinds.into_iter().find(|(name, _)| id.starts_with(name)).map(|(_, kind)| kind)
}

fn describe(core: &Core, kind: Kind, id: String) -> Device {
    let text = |key: &str| {
        let value = core.property(&id, key).ok()?;
        Some(value.trim().to_owned()).filter(|value| !value.is_empty())
    };
    let bytes = |key: &str| text(key)?.parse().ok().filter(|bytes| *bytes > 0);
    let (memory, memory_free) = match kind {
        Kind::Gpu => (bytes("GPU_DEVICE_TOTAL_MEM_SIZE"), None),
        Kind::Npu => (bytes("NPU_DEVICE_TOTAL_MEM_SIZE"), None),
        Kind::Cpu => (memory::total(), memory::available()),
    };
    let integrated = text("DEVICE_TYPE").filter(|_| kind == Kind::Gpu);
    let capabilities = text("OPTIMIZATION_CAPABILITIES").unwrap_or_default();
    Device {
        kind,
        name: text("FULL_DEVICE_NAME").unwrap_or_else(|| id.clone()),
        integrated: integrated.map(|kind| kind.eq_ignore_ascii_case("integrated")),
        memory,
        memory_free,
        capabilities: capabilities.split_whitespace().map(str::to_owned).collect(),
        id,
    }
}
