//! Which instructions ggml was compiled for, and whether this processor has them.

use super::shim::fluid_llama_compiled_for;
use crate::error::{Error, ErrorKind, Result};
use crate::machine::cpu;

pub(super) use crate::machine::cpu::physical_cores;

/// In the order of the bits of `fluid_llama_compiled_for`, by [`cpu::instructions`]' names.
const BITS: [&str; 12] = [
    "SSE3",
    "SSSE3",
    "AVX",
    "AVX2",
    "BMI2",
    "F16C",
    "FMA",
    "AVX-VNNI",
    "AVX-512",
    "AVX-512 VBMI",
    "AVX-512 VNNI",
    "AVX-512 BF16",
];

/// The instruction sets that this build of ggml uses without asking. Empty where the compiler's
/// baseline is all there is, which the system's loader checks.
pub(crate) fn needed() -> Vec<&'static str> {
    // SAFETY: takes nothing and returns constants of the build.
    let bits = unsafe { fluid_llama_compiled_for() };
    let named = BITS.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0);
    named.map(|(_, name)| *name).collect()
}

/// Those of them that this processor lacks.
pub(crate) fn missing() -> Vec<&'static str> {
    let here = cpu::instructions();
    let lacks = |name: &&str| here.iter().any(|(known, is_here)| known == name && !is_here);
    needed().into_iter().filter(lacks).collect()
}

/// Whether this processor has what ggml's kernels were compiled for: a status instead of an
/// illegal instruction later.
pub(super) fn check_instructions() -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!(
        "this processor lacks {}, which this build of libfluid needs; use a build for older processors",
        missing.join(", ")
    );
    Err(Error::new(ErrorKind::UnsupportedCpu, message))
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn each_bit_is_an_instruction_set_that_is_looked_for() {
        let known = cpu::instructions();
        assert!(BITS.iter().all(|bit| known.iter().any(|(name, _)| name == bit)));
        // As ggml is built by default.
        assert!(needed().contains(&"AVX2") && check_instructions().is_ok());
    }
}
