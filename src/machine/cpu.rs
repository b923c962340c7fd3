//! The processor: its name, its instruction sets, its cores.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::Path;

/// An instruction set that kernels may be compiled for, and whether this processor has it.
pub type Instruction = (&'static str, bool);

/// What the processor's makers call it.
pub fn name() -> Option<String> {
    if cfg!(windows) {
        return std::env::var("PROCESSOR_IDENTIFIER").ok();
    }
    name_in(&std::fs::read_to_string("/proc/cpuinfo").ok()?)
}

fn name_in(cpuinfo: &str) -> Option<String> {
    let field = |line: &str| {
        let (key, value) = line.split_once(':')?;
        matches!(key.trim(), "model name" | "Model" | "Hardware").then(|| value.trim().to_owned())
    };
    cpuinfo.lines().find_map(field).filter(|name| !name.is_empty())
}

/// The instruction sets that ggml has kernels for.
#[cfg(target_arch = "x86_64")]
pub fn instructions() -> Vec<Instruction> {
    use std::arch::is_x86_feature_detected as has;
    let avx512 = has!("avx512f")
        && has!("avx512bw")
        && has!("avx512vl")
        && has!("avx512dq")
        && has!("avx512cd");
    vec![
        ("SSE3", has!("sse3")),
        ("SSSE3", has!("ssse3")),
        ("SSE4.2", has!("sse4.2")),
        ("AVX", has!("avx")),
        ("AVX2", has!("avx2")),
        ("BMI2", has!("bmi2")),
        ("F16C", has!("f16c")),
        ("FMA", has!("fma")),
        ("AVX-VNNI", has!("avxvnni")),
        ("AVX-512", avx512),
        ("AVX-512 VBMI", has!("avx512vbmi")),
        ("AVX-512 VNNI", has!("avx512vnni")),
        ("AVX-512 BF16", has!("avx512bf16")),
    ]
}

/// The instruction sets that ggml has kernels for.
#[cfg(target_arch = "aarch64")]
pub fn instructions() -> Vec<Instruction> {
    use std::arch::is_aarch64_feature_detected as has;
    vec![
        ("NEON", has!("neon")),
        ("FP16", has!("fp16")),
        ("DOTPROD", has!("dotprod")),
        ("I8MM", has!("i8mm")),
        ("BF16", has!("bf16")),
        ("SVE", has!("sve")),
        ("SVE2", has!("sve2")),
    ]
}

/// The instruction sets that ggml has kernels for.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn instructions() -> Vec<Instruction> {
    Vec::new()
}

/// Logical cores that this process may use: of those of the machine, what its affinity and its
/// container's share of time leave. At least one.
pub fn usable_cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| count.get() as u32)
}

/// Physical cores that this process may use, at least one.
pub fn physical_cores() -> u32 {
    let usable = usable_cores();
    topology(Path::new("/sys")).map_or(usable, |(physical, _)| physical.clamp(1, usable))
}

/// Physical and logical cores of the machine.
pub fn cores() -> Option<(u32, u32)> {
    topology(Path::new("/sys"))
}

/// Cores as Linux lists them.
fn topology(sys: &Path) -> Option<(u32, u32)> {
    let (mut cores, mut logical) = (BTreeSet::new(), 0);
    for entry in std::fs::read_dir(sys.join("devices/system/cpu")).ok()?.flatten() {
        let topology = entry.path().join("topology");
        let read = |name: &str| std::fs::read_to_string(topology.join(name)).ok();
        if let (Some(package), Some(core)) = (read("physical_package_id"), read("core_id")) {
            cores.insert((package, core));
            logical += 1;
        }
    }
    (logical > 0).then_some((cores.len() as u32, logical))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_found_on_each_kind_of_processor() {
        let intel = "processor\t: 0\nmodel name\t: Intel(R) Xeon(R)\nmodel\t\t: 167\n";
        assert_eq!(name_in(intel).as_deref(), Some("Intel(R) Xeon(R)"));
        let raspberry = "processor\t: 0\nBogoMIPS\t: 108.00\n\nModel\t\t: Raspberry Pi 5\n";
        assert_eq!(name_in(raspberry).as_deref(), Some("Raspberry Pi 5"));
        assert_eq!(name_in("processor\t: 0\nmodel name\t: \n"), None);
        assert_eq!(name_in(""), None);
    }

    #[test]
    fn there_is_a_core_and_no_more_physical_than_logical_ones() {
        assert!(physical_cores() >= 1 && physical_cores() <= usable_cores());
        if let Some((physical, logical)) = cores() {
            assert!(physical >= 1 && physical <= logical);
        }
        assert_eq!(topology(Path::new("/no/such/folder")), None);
    }
}
