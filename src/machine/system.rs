//! The operating system: its C library, what hardware it shows without a driver of ours.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The version of glibc that this process runs with, such as `2.36`; `None` elsewhere.
pub fn glibc() -> Option<String> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: takes nothing.
        let version = unsafe { libc::gnu_get_libc_version() };
        // SAFETY: a static string.
        let version = unsafe { std::ffi::CStr::from_ptr(version) };
        Some(version.to_string_lossy().into_owned())
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    None
}

/// The newest version of glibc that the file at `path` asks for, by the names of its symbols' versions.
pub fn glibc_needed(path: &Path) -> Option<String> {
    // In pieces: the file may be large, and is read by many threads at once.
    const PIECE: usize = 1 << 16;
    let mut file = BufReader::with_capacity(PIECE, File::open(path).ok()?);
    let (mut text, mut newest) = (Vec::new(), None);
    // Names end with a NUL, and so does most of a file.
    while file.by_ref().take(PIECE as u64).read_until(0, &mut text).ok()? > 0 {
        newest = newest.max(version_in(&text));
        text.clear();
    }
    Some(format!("2.{}", newest?))
}

/// The number behind `GLIBC_2.`, where `name` is such a version.
fn version_in(name: &[u8]) -> Option<u32> {
    let minor = name.strip_suffix(&[0])?.strip_prefix(b"GLIBC_2.")?.split(|byte| *byte == b'.');
    std::str::from_utf8(minor.into_iter().next()?).ok()?.parse().ok()
}

/// The file that this code was loaded from: libfluid, or the program it is linked into. Asked once, for
/// the system's answer waits while another thread opens a library.
pub fn own_file() -> Option<PathBuf> {
    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    FILE.get_or_init(find_own_file).clone()
}

#[cfg(unix)]
fn find_own_file() -> Option<PathBuf> {
    use std::ffi::{CStr, OsStr};
    use std::os::unix::ffi::OsStrExt;
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    let here = find_own_file as fn() -> Option<PathBuf> as *const ();
    // SAFETY: an address in this library, and a place for the result.
    if unsafe { libc::dladdr(here.cast(), info.as_mut_ptr()) } == 0 {
        return None;
    }
    // SAFETY: zeroed above, a value of this plain struct, then filled.
    let name = unsafe { info.assume_init() }.dli_fname;
    if name.is_null() {
        return None;
    }
    // SAFETY: the dynamic linker's own string; this library is never unloaded.
    let name = unsafe { CStr::from_ptr(name) };
    let path = Path::new(OsStr::from_bytes(name.to_bytes()));
    Some(path.canonicalize().unwrap_or_else(|_| path.to_owned()))
}

#[cfg(windows)]
fn find_own_file() -> Option<PathBuf> {
    use std::ffi::{c_void, OsString};
    use std::os::windows::ffi::OsStringExt;
    const FROM_ADDRESS_UNCHANGED_COUNT: u32 = 4 | 2;
    #[link(name = "kernel32")]
    extern "system" {
        fn GetModuleHandleExW(flags: u32, name: *const c_void, module: *mut *mut c_void) -> i32;
        fn GetModuleFileNameW(module: *mut c_void, name: *mut u16, size: u32) -> u32;
    }
    let here = find_own_file as fn() -> Option<PathBuf> as *const c_void;
    let mut module = std::ptr::null_mut();
    // SAFETY: an address in this library, and a place for the result.
    if unsafe { GetModuleHandleExW(FROM_ADDRESS_UNCHANGED_COUNT, here, &mut module) } == 0 {
        return None;
    }
    let mut name = [0u16; 1024];
    // SAFETY: a loaded module, and room for as many characters as said.
    let length = unsafe { GetModuleFileNameW(module, name.as_mut_ptr(), name.len() as u32) };
    let name = name.get(..length as usize).filter(|name| !name.is_empty())?;
    Some(PathBuf::from(OsString::from_wide(name)))
}

/// Whether Linux shows a GPU of Intel's, with or without a driver that OpenVINO can use.
pub fn has_intel_gpu() -> bool {
    const INTEL: &str = "0x8086";
    let cards = std::fs::read_dir("/sys/class/drm").into_iter().flatten().flatten();
    let vendors =
        cards.filter_map(|card| std::fs::read_to_string(card.path().join("device/vendor")).ok());
    vendors.into_iter().any(|vendor| vendor.trim() == INTEL)
}

/// Whether Linux shows an NPU of Intel's: the kernel's driver makes it an accelerator.
pub fn has_intel_npu() -> bool {
    let all = std::fs::read_dir("/sys/class/accel").into_iter().flatten().flatten();
    let drivers = all.filter_map(|one| std::fs::read_link(one.path().join("device/driver")).ok());
    drivers.into_iter().any(|driver| driver.ends_with("intel_vpu"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_name_of_its_own() {
        assert_eq!(version_in(b"GLIBC_2.34\0"), Some(34));
        assert_eq!(version_in(b"GLIBC_2.2.5\0"), Some(2));
        for other in
            [&b"GLIBC_2.34"[..], b"GLIBC_PRIVATE\0", b"XGLIBC_2.34\0", b"GLIBC_2.x\0", b"\0"]
        {
            assert_eq!(version_in(other), None, "{other:?}");
        }
    }

    #[test]
    fn this_program_asks_for_no_newer_glibc_than_there_is() {
        let own = own_file().expect("a file");
        assert!(own.is_file(), "{}", own.display());
        let number = |version: &str| version.strip_prefix("2.").map(str::parse::<u32>);
        let (have, needed) = (glibc(), glibc_needed(&own));
        if cfg!(all(target_os = "linux", target_env = "gnu")) {
            let (have, needed) = (have.expect("glibc"), needed.expect("glibc"));
            let (have, needed) = (number(&have).expect("2"), number(&needed).expect("2"));
            assert!(needed.expect("a number") <= have.expect("a number"));
        }
        assert_eq!(glibc_needed(Path::new("/no/such/file")), None);
    }
}
