//! Priority and affinity of a model's threads, set for the thread that then makes the others:
//! they inherit both. ggml could do it, but writes failures to stderr.

use crate::error::{Error, Result};
use crate::request::{ThreadOptions, ThreadPriority};

/// Gives the calling thread what `options` ask for.
#[cfg(target_os = "linux")]
pub(super) fn apply(options: &ThreadOptions) -> Result<()> {
    if !options.affinity.is_empty() {
        set_affinity(&options.affinity)?;
    }
    let nice = match options.priority {
        ThreadPriority::Normal => return Ok(()),
        ThreadPriority::Low => 10,
        ThreadPriority::Medium => -5,
        ThreadPriority::High => -10,
    };
    // On Linux a nice value belongs to a thread; 0 is the calling one.
    // SAFETY: takes numbers only.
    match unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) } {
        0 => Ok(()),
        _ => Err(Error::unsupported(
            "thread_priority",
            "the system does not let this process raise it; use \"normal\" or \"low\"",
        )),
    }
}

#[cfg(target_os = "linux")]
fn set_affinity(cpus: &[u32]) -> Result<()> {
    // SAFETY: a mask without CPUs is all zeros.
    let mut mask: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus {
        // SAFETY: the options allow numbers below 512, the mask has 1,024 bits.
        unsafe { libc::CPU_SET(cpu as usize, &mut mask) };
    }
    // SAFETY: the mask is as large as it says; 0 is the calling thread.
    match unsafe { libc::sched_setaffinity(0, size_of_val(&mask), &mask) } {
        0 => Ok(()),
        _ => Err(Error::invalid_request(
            "cpu_affinity",
            format!("none of the CPUs {cpus:?} is there for this process"),
        )),
    }
}

/// Elsewhere the defaults are all there is.
#[cfg(not(target_os = "linux"))]
pub(super) fn apply(options: &ThreadOptions) -> Result<()> {
    let asked = match (options.priority, options.affinity.is_empty()) {
        (ThreadPriority::Normal, true) => return Ok(()),
        (ThreadPriority::Normal, false) => "cpu_affinity",
        _ => "thread_priority",
    };
    Err(Error::unsupported(asked, "is for Linux only in this build; leave it out"))
}
