//! Main memory: what the machine has, and what the container this runs in leaves of it.
//!
//! Limits of control groups are read as the kernel documents them (Documentation/admin-guide, cgroup-v1
//! and cgroup-v2). A group's use counts the pages of files it has read; those that were not used of
//! late go when memory is wanted, so they count as free, as for Kubernetes.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

/// A limit that a control group sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Bytes that its processes may use together.
    pub bytes: u64,
    /// Bytes that they use now and that cannot be taken back from them.
    pub used: u64,
}

impl Limit {
    /// Bytes that can still be had.
    pub fn left(self) -> u64 {
        self.bytes.saturating_sub(self.used)
    }
}

/// Bytes of main memory.
pub fn total() -> Option<u64> {
    meminfo(Path::new("/"), "MemTotal:")
}

/// Bytes that can be had without swapping, of the machine or of the container this runs in.
pub fn available() -> Option<u64> {
    let machine = meminfo(Path::new("/"), "MemAvailable:");
    machine.into_iter().chain(container().map(Limit::left)).min()
}

/// The limit that leaves least, of the control groups this process is in.
pub fn container() -> Option<Limit> {
    tightest(Path::new("/"))
}

/// Processors' worth of time that the control groups leave this process, such as 1.5.
pub fn container_cpus() -> Option<f64> {
    cpu_quota(Path::new("/"))
}

fn meminfo(root: &Path, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn tightest(root: &Path) -> Option<Limit> {
    let new = folders(root, "")
        .into_iter()
        .filter_map(|folder| limit(&folder, "memory.max", "memory.current", "inactive_file "));
    let old = folders(root, "memory").into_iter().filter_map(|folder| {
        let names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ");
        limit(&folder, names.0, names.1, names.2)
    });
    new.chain(old).min_by_key(|limit| limit.left())
}

fn limit(folder: &Path, most: &str, used: &str, inactive: &str) -> Option<Limit> {
    /// Version 1 writes the largest number of pages there is for "none".
    const NONE: u64 = 1 << 60;
    let bytes = number(&folder.join(most)).filter(|bytes| *bytes < NONE)?;
    let used = number(&folder.join(used))?;
    let stat = std::fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let inactive = stat.lines().find_map(|line| line.strip_prefix(inactive)?.trim().parse().ok());
    Some(Limit { bytes, used: used.saturating_sub(inactive.unwrap_or(0)) })
}

fn number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn cpu_quota(root: &Path) -> Option<f64> {
    let new = folders(root, "").into_iter().filter_map(|folder| {
        let text = std::fs::read_to_string(folder.join("cpu.max")).ok()?;
        let (quota, period) = text.trim().split_once(' ')?;
        Some((quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?))
    });
    let old = folders(root, "cpu").into_iter().filter_map(|folder| {
        let quota = number(&folder.join("cpu.cfs_quota_us"))?;
        Some((quota as f64, number(&folder.join("cpu.cfs_period_us"))? as f64))
    });
    let share = |(quota, period): (f64, f64)| (period > 0.0).then(|| quota / period);
    new.chain(old).filter_map(share).reduce(f64::min)
}

/// The folders of this process's control group and those around it, of version 1's `controller` or, where
/// that is empty, of version 2. Inside a container the path may be one outside of it; then only the root
/// is there.
fn folders(root: &Path, controller: &str) -> Vec<PathBuf> {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let own = groups.lines().find_map(|line| {
        let (names, path) = line.split_once(':')?.1.split_once(':')?;
        names.split(',').any(|name| name == controller).then_some(path)
    });
    let base = root.join("sys/fs/cgroup").join(controller);
    let own = base.join(own.unwrap_or_default().trim_start_matches('/'));
    own.ancestors().take_while(|folder| folder.starts_with(&base)).map(Path::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root folder with these files.
    fn machine(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let root =
            std::env::temp_dir().join(format!("fluid-machine-{name}-{}", std::process::id()));
        std::fs::remove_dir_all(&root).ok();
        for (path, text) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        root
    }

    #[test]
    fn the_machine_s_memory_is_read() {
        let text = "MemTotal:       1000 kB\nMemFree:  1 kB\nMemAvailable:    400 kB\n";
        let root = machine("plain", &[("proc/meminfo", text)]);
        assert_eq!(meminfo(&root, "MemTotal:"), Some(1000 << 10));
        assert_eq!(meminfo(&root, "MemAvailable:"), Some(400 << 10));
        assert_eq!((tightest(&root), cpu_quota(&root)), (None, None));
        std::fs::remove_dir_all(root).ok();
    }

    #[test]
    fn the_tightest_group_counts_and_unused_pages_of_files_do_not() {
        let root = machine(
            "v2",
            &[
                ("proc/self/cgroup", "0::/app.slice/job\n"),
                ("sys/fs/cgroup/app.slice/memory.max", "1000\n"),
                ("sys/fs/cgroup/app.slice/memory.current", "700\n"),
                ("sys/fs/cgroup/app.slice/memory.stat", "anon 300\ninactive_file 300\n"),
                ("sys/fs/cgroup/app.slice/cpu.max", "150000 100000\n"),
                ("sys/fs/cgroup/app.slice/job/memory.max", "max\n"),
                ("sys/fs/cgroup/app.slice/job/memory.current", "700\n"),
                ("sys/fs/cgroup/app.slice/job/cpu.max", "max 100000\n"),
            ],
        );
        let limit = tightest(&root).expect("a limit");
        assert_eq!((limit, limit.left()), (Limit { bytes: 1000, used: 400 }, 600));
        assert_eq!(cpu_quota(&root), Some(1.5));
        std::fs::remove_dir_all(root).ok();
    }

    #[test]
    fn version_1_is_read_and_its_largest_number_is_no_limit() {
        let own = "sys/fs/cgroup/memory/docker/a";
        let file = |name: &str| format!("{own}/{name}");
        let (most, used) = (file("memory.limit_in_bytes"), file("memory.usage_in_bytes"));
        let groups = "9:name=systemd:/\n4:memory:/docker/a\n1:cpu,cpuacct:/\n0::/\n";
        let files = [
            ("proc/self/cgroup", groups),
            (most.as_str(), "4096\n"),
            (used.as_str(), "96\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "5\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ];
        let root = machine("v1", &files);
        assert_eq!(tightest(&root), Some(Limit { bytes: 4096, used: 96 }));
        assert_eq!(cpu_quota(&root), None);
        std::fs::write(root.join(&most), "9223372036854771712\n").expect("a file");
        assert_eq!(tightest(&root), None);
        std::fs::remove_dir_all(root).ok();
    }

    #[test]
    fn here_there_is_memory() {
        let (total, available) = (total(), available());
        assert!(total.zip(available).is_none_or(|(total, free)| free > 0 && free <= total));
    }
}
