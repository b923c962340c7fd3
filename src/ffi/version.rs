//! Versions of the library and of its binary interface.

use std::ffi::c_char;

/// Version of the binary interface this header describes: the major number in the upper 16
/// bits, the minor one in the lower.
pub const FLUID_ABI_VERSION: u32 = 1 << 16 | 1;

/// Version of the binary interface of the library that is loaded. A program works with it if
/// the major number (upper 16 bits) is that of `FLUID_ABI_VERSION` and the minor number is not
/// smaller. Works on any thread, in a forked child too.
#[no_mangle]
pub extern "C" fn fluid_abi_version() -> u32 {
    FLUID_ABI_VERSION
}

/// Version of the library that is loaded, such as "0.1.0". The string is static.
#[no_mangle]
pub extern "C" fn fluid_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
