//! What this machine has: instructions, cores, memory.

use super::shim::fluid_llama_compiled_for;
use crate::error::{Error, ErrorKind, Result};

/// Whether this processor has what ggml's kernels were compiled for: a status instead of an
/// illegal instruction later.
pub(super) fn check_instructions() -> Result<()> {
    // SAFETY: takes nothing and returns constants of the build.
    let needed = unsafe { fluid_llama_compiled_for() };
    let missing: Vec<&str> = features()
        .iter()
        .enumerate()
        .filter(|(bit, (_, here))| needed & (1 << bit) != 0 && !here)
        .map(|(_, (name, _))| *name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!(
        "this processor lacks {}, which this build of libfluid needs; use a build for older processors",
        missing.join(", ")
    );
    Err(Error::new(ErrorKind::UnsupportedCpu, message))
}

/// In the order of the bits of `fluid_llama_compiled_for`.
#[cfg(target_arch = "x86_64")]
fn features() -> [(&'static str, bool); 12] {
    use std::arch::is_x86_feature_detected as has;
    [
        ("SSE3", has!("sse3")),
        ("SSSE3", has!("ssse3")),
        ("AVX", has!("avx")),
        ("AVX2", has!("avx2")),
        ("BMI2", has!("bmi2")),
        ("F16C", has!("f16c")),
        ("FMA", has!("fma")),
        ("AVX-VNNI", has!("avxvnni")),
        (
            "AVX-512",
            has!("avx512f")
                && has!("avx512bw")
                && has!("avx512vl")
                && has!("avx512dq")
                && has!("avx512cd"),
        ),
        ("AVX-512 VBMI", has!("avx512vbmi")),
        ("AVX-512 VNNI", has!("avx512vnni")),
        ("AVX-512 BF16", has!("avx512bf16")),
    ]
}

/// Elsewhere the compiler's baseline is the build's, and the loader of the system checks it.
#[cfg(not(target_arch = "x86_64"))]
fn features() -> [(&'static str, bool); 0] {
    []
}

/// Physical cores this process may use, at least one.
pub(super) fn physical_cores() -> u32 {
    let usable = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
    topology().map_or(usable, |cores| cores.clamp(1, usable))
}

/// Distinct cores as Linux lists them; `None` where it does not.
fn topology() -> Option<u32> {
    let mut cores = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir("/sys/devices/system/cpu").ok()?.flatten() {
        let topology = entry.path().join("topology");
        let read = |name: &str| std::fs::read_to_string(topology.join(name)).ok();
        if let (Some(package), Some(core)) = (read("physical_package_id"), read("core_id")) {
            cores.insert((package, core));
        }
    }
    (!cores.is_empty()).then_some(cores.len() as u32)
}

/// Bytes that can be had without swapping, of the machine or of the container this runs in;
/// `None` where the system does not say.
pub(super) fn available_memory() -> Option<u64> {
    let machine = machine_memory();
    let container = container_memory();
    machine.into_iter().chain(container).min()
}

fn machine_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// What the control group (version 2) leaves; `None` without a limit.
fn container_memory() -> Option<u64> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(format!("/sys/fs/cgroup/memory.{name}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    Some(read("max")?.saturating_sub(read("current")?))
}
