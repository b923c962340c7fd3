//! The library itself, the machine under it, and what llama.cpp sees of it.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::{gib, Check, Status};
use crate::backend::device::{Device, Kind};
use crate::backend::inventory::{self, BUILT};
use crate::engine::survey;
use crate::machine::{cpu, memory, system};

/// Less free memory than this holds next to no model.
const LITTLE: u64 = 1 << 30;

pub(super) fn libfluid(abi: u32) -> Check {
    let (version, major, minor) = (env!("CARGO_PKG_VERSION"), abi >> 16, abi & 0xffff);
    let found = format!("{version}, ABI {major}.{minor}, built with {}", BUILT.join(", "));
    let file = system::own_file().map(|file| file.display().to_string());
    Check::new("libfluid", Status::Ok, found)
        .and(file.unwrap_or_else(|| "the system does not say from which file".to_owned()))
}

pub(super) fn platform() -> Check {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let release = read("/etc/os-release");
    let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let mut found = format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH);
    let kernel = read("/proc/sys/kernel/osrelease");
    for part in [pretty.unwrap_or("").trim_matches('"'), kernel.trim()] {
        if !part.is_empty() {
            found += &format!(", {part}");
        }
    }
    let check = Check::new("platform", Status::Ok, found);
    let needed = system::own_file().and_then(|file| system::glibc_needed(&file));
    match (system::glibc(), needed) {
        (Some(have), Some(needed)) => {
            check.and(format!("glibc {have}, this build asks for {needed}"))
        }
        (Some(have), None) => check.and(format!("glibc {have}")),
        _ => check,
    }
}

pub(super) fn processor() -> Check {
    let usable = cpu::usable_cores();
    let cores = match cpu::cores() {
        Some((physical, logical)) => {
            format!("{physical} cores, {logical} threads, {usable} of them for this process")
        }
        None => format!("{usable} threads for this process"),
    };
    let name = cpu::name().unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let instructions = cpu::instructions().into_iter().filter(|(_, here)| *here);
    let instructions: Vec<&str> = instructions.map(|(name, _)| name).collect();
    let check = Check::new("processor", Status::Ok, format!("{name}, {cores}"))
        .and(format!("has {}", instructions.join(", ")));
    match inventory::missing_instructions()[..] {
        [] => check,
        ref missing => check.and(format!("lacks {}", missing.join(", "))).but(
            Status::Error,
            "this build's GGUF models need these instructions; use a build for older processors",
        ),
    }
}

pub(super) fn memory() -> Check {
    let (Some(total), Some(available)) = (memory::total(), memory::available()) else {
        return Check::new("memory", Status::Info, "the system does not say how much there is");
    };
    let found = format!("{} of {} can be had", gib(available), gib(total));
    let mut check = Check::new("memory", Status::Ok, found);
    if let Some(limit) = memory::container() {
        let found =
            format!("the container's limit is {}, {} used", gib(limit.bytes), gib(limit.used));
        check = check.and(found);
    }
    match available < LITTLE {
        true => check.but(
            Status::Warning,
            "that holds small models only; end other programs, or raise the container's limit",
        ),
        false => check,
    }
}

pub(super) fn gguf_devices(patience: Duration) -> Check {
    const NAME: &str = "gguf_devices";
    let devices = match survey::llama(patience) {
        Ok(None) => {
            return Check::new(NAME, Status::Info, "this build has no llama.cpp: no GGUF models");
        }
        Ok(Some(Ok(devices))) => devices,
        Ok(Some(Err(error))) => {
            return Check::new(NAME, Status::Error, error.message())
                .but(Status::Error, "GGUF models cannot be loaded until this is mended");
        }
        Err(why) => {
            return Check::new(NAME, Status::Error, format!("llama.cpp {why}"))
                .but(Status::Error, "look at the GPU's driver: it may hang");
        }
    };
    let listed = devices.iter().map(line).collect();
    let check = Check { name: NAME, status: Status::Ok, found: listed, advice: None };
    let has_gpu = devices.iter().any(|device| device.kind == Kind::Gpu);
    match (has_gpu, cfg!(any(feature = "vulkan", feature = "cuda"))) {
        (true, _) => check,
        (false, false) => check.and("no GPU: this build has no backend for one"),
        (false, true) => check.but(
            Status::Warning,
            "this build can use a GPU and finds none; install its Vulkan or CUDA driver",
        ),
    }
}

/// A device in one line.
pub(super) fn line(device: &Device) -> String {
    let memory = device.memory.map_or_else(String::new, |bytes| format!(", {}", gib(bytes)));
    let capabilities = device.capabilities.join(" ");
    let open = if capabilities.is_empty() { "" } else { ": " };
    format!("{}: {}{memory}{open}{capabilities}", device.id, device.name)
}
