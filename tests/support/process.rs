//! What this process holds, for tests that nothing piles up.
#![cfg(target_os = "linux")]
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses a part")]

/// Each arena keeps some MB of what was freed, and which one a thread gets is chance: one for all
/// makes memory comparable. So does a fixed size from which on memory is mapped, and goes back when it
/// is freed: glibc otherwise raises it to what was freed last, and small things pin large holes. To be called first.
pub fn use_one_arena() {
    // SAFETY: it takes numbers only.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    // SAFETY: as above.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10) };
}

/// Threads, open files and memory in KiB of this process.
pub fn held() -> (usize, usize, u64) {
    // SAFETY: it takes a number only.
    unsafe { libc::malloc_trim(0) };
    let count = |folder: &str| std::fs::read_dir(folder).map_or(0, Iterator::count);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let memory = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    (count("/proc/self/task"), count("/proc/self/fd"), memory.unwrap_or(0))
}

/// The same once there are no more than `threads`, or half a second has passed: a thread that was
/// joined is listed for a moment longer.
pub fn settled(threads: usize) -> (usize, usize, u64) {
    let until = std::time::Instant::now() + std::time::Duration::from_millis(500);
    let mut held_now = held();
    while held_now.0 > threads && std::time::Instant::now() < until {
        std::thread::sleep(std::time::Duration::from_millis(10));
        held_now = held();
    }
    held_now
}
