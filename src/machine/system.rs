//! The operating system: its C library, what hardware it shows without a driver of ours.

use std::path::{Path, PathBuf};

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
    const NAME: &[u8] = b"GLIBC_2.";
    let bytes = std::fs::read(path).ok()?;
    let minor = |at: usize| {
        let rest = bytes.get(at + NAME.len()..)?;
        let digits: Vec<u8> = rest.iter().copied().take_while(u8::is_ascii_digit).take(3).collect();
        String::from_utf8(digits).ok()?.parse::<u32>().ok()
    };
    let places = (0..bytes.len()).filter(|&at| bytes[at] == b'G' && bytes[at..].starts_with(NAME));
    Some(format!("2.{}", places.filter_map(minor).max()?))
}

/// The file that this code was loaded from: libfluid, or the program it is linked into.
#[cfg(unix)]
pub fn own_file() -> Option<PathBuf> {
    use std::ffi::{CStr, OsStr};
    use std::os::unix::ffi::OsStrExt;
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    let here = own_file as fn() -> Option<PathBuf> as *const ();
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

/// The file that this code was loaded from: libfluid, or the program it is linked into.
#[cfg(windows)]
pub fn own_file() -> Option<PathBuf> {
    use std::ffi::{c_void, OsString};
    use std::os::windows::ffi::OsStringExt;
    const FROM_ADDRESS_UNCHANGED_COUNT: u32 = 4 | 2;
    #[link(name = "kernel32")]
    extern "system" {
        fn GetModuleHandleExW(flags: u32, name: *const c_void, module: *mut *mut c_void) -> i32;
        fn GetModuleFileNameW(module: *mut c_void, name: *mut u16, size: u32) -> u32;
    }
    let here = own_file as fn() -> Option<PathBuf> as *const c_void;
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
