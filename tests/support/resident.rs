//! What of this process's memory is resident, by what it holds.
#![cfg(target_os = "linux")]
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses a part")]

/// Resident bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Resident {
    /// Heap, stacks, and what programs write to.
    pub anonymous: u64,
    /// Files that are no program code: mapped weights.
    pub files: u64,
    /// Program code and its constants.
    pub code: u64,
}

impl Resident {
    /// Now, without what was freed: the C library keeps that for what comes next.
    pub fn now() -> Self {
        // SAFETY: it takes a number only.
        unsafe { libc::malloc_trim(0) };
        Self::untrimmed()
    }

    /// Now, with what was freed and kept.
    pub fn untrimmed() -> Self {
        let text = std::fs::read_to_string("/proc/self/smaps").expect("Linux has it");
        let mut sum = Self::default();
        let (mut is_file, mut is_code) = (false, false);
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let first = words.next().unwrap_or_default();
            let bytes = |word: Option<&str>| {
                word.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
            };
            match first {
                "Rss:" => {
                    let resident = bytes(words.next());
                    let place = match (is_file, is_code) {
                        (true, true) => &mut sum.code,
                        (true, false) => &mut sum.files,
                        _ => &mut sum.anonymous,
                    };
                    *place += resident;
                }
                // Pages of a file that were written to are the process's own.
                "Anonymous:" if is_file => {
                    let own = bytes(words.next());
                    sum.anonymous += own;
                    let place = if is_code { &mut sum.code } else { &mut sum.files };
                    *place -= own;
                }
                _ if !first.ends_with(':') => {
                    let path = line.splitn(6, ' ').nth(5).unwrap_or_default().trim();
                    is_file = path.starts_with('/');
                    is_code = path.contains(".so") || path.contains("/deps/");
                }
                _ => {}
            }
        }
        sum
    }

    pub fn total(&self) -> u64 {
        self.anonymous + self.files + self.code
    }
}

/// The most that was resident since [`forget_peak`].
pub fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.expect("a number") * 1024
}

pub fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux has it");
}
