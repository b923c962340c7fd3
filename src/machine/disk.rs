//! Free space of a file system.

use std::path::Path;

/// Bytes that this user can still write to the file system that `path` is on. `None` where `path` is not
/// there, or the system does not say.
#[cfg(unix)]
pub fn free(path: &Path) -> Option<u64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut found = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: a C string, and a place for the result.
    if unsafe { libc::statvfs(path.as_ptr(), found.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: zeroed above, a value of this plain struct, then filled.
    let found = unsafe { found.assume_init() };
    #[allow(clippy::useless_conversion, reason = "macOS has 32 bits here")]
    let (blocks, bytes) = (u64::from(found.f_bavail), u64::from(found.f_frsize));
    blocks.checked_mul(bytes)
}

/// Bytes that this user can still write to the file system that `path` is on. `None` where `path` is not
/// there, or the system does not say.
#[cfg(windows)]
pub fn free(path: &Path) -> Option<u64> {
    use std::os::windows::ffi::OsStrExt;
    #[link(name = "kernel32")]
    extern "system" {
        fn GetDiskFreeSpaceExW(
            folder: *const u16,
            free_to_caller: *mut u64,
            total: *mut u64,
            free: *mut u64,
        ) -> i32;
    }
    let folder: Vec<u16> = path.as_os_str().encode_wide().chain([0]).collect();
    let (mut bytes, none) = (0u64, std::ptr::null_mut());
    // SAFETY: a path with a final NUL, a place for the result; the others may be null.
    let done = unsafe { GetDiskFreeSpaceExW(folder.as_ptr(), &mut bytes, none, none) };
    (done != 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_there_has_a_number() {
        assert!(free(&std::env::temp_dir()).is_some());
        assert_eq!(free(Path::new("/no/such/folder")), None);
        assert_eq!(free(Path::new("a\0b")), None);
    }
}
