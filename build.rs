//! Compiles the C++ shims and sets how the shared library is linked.

use std::env;
use std::fs;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    link();
    compile("src/ffi/callback.cpp", None);
    #[cfg(feature = "llama")]
    compile("src/backend/llama/shim.cpp", Some(llama_headers()));
}

fn compile(source: &str, headers: Option<PathBuf>) {
    println!("cargo:rerun-if-changed={source}");
    let name = source.rsplit(['/', '.']).nth(1).unwrap_or(source);
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .file(source)
        .includes(headers)
        .warnings(true)
        .compile(&format!("fluid_{name}"));
}

fn link() {
    let (major, minor) = abi_version();
    match env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("linux") => link_on_linux(major),
        Ok("macos") => link_on_macos(major, minor),
        _ => {}
    }
}

fn link_on_linux(major: u16) {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libfluid.so.{major}");
    // The library stays loaded once it is: its threads and thread-local values outlive a dlclose.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // llguidance has C functions of its own, which rustc would export beside ours. On macOS no flag hides them
    // once rustc lists them; tools/dist/macos_linker.sh does, for what ships.
    println!("cargo:rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
    // Static objects of llama.cpp stay until the process is gone; shim.cpp says why.
    #[cfg(feature = "llama")]
    println!("cargo:rustc-cdylib-link-arg=-Wl,--wrap=__cxa_atexit");
}

/// A program refuses a library whose compatibility version is below the one it was linked with, which
/// is what the header promises of the minor number.
fn link_on_macos(major: u16, minor: u16) {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libfluid.{major}.dylib");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-compatibility_version,{major}.{minor}");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-current_version,{major}.{minor}");
}

/// FLUID_ABI_VERSION, from where the header has it too.
fn abi_version() -> (u16, u16) {
    const SOURCE: &str = "src/ffi/version.rs";
    println!("cargo:rerun-if-changed={SOURCE}");
    let source = fs::read_to_string(SOURCE).expect("src/ffi/version.rs is there");
    let value = source
        .lines()
        .find_map(|line| line.strip_prefix("pub const FLUID_ABI_VERSION: u32 = "))
        .and_then(|value| value.strip_suffix(';')?.split_once(" << 16 | "))
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    value.expect("FLUID_ABI_VERSION is `MAJOR << 16 | MINOR;`")
}

/// llama-cpp-sys-2 tells its dependents where it put ggml's cmake files; the headers lie beside.
#[cfg(feature = "llama")]
fn llama_headers() -> PathBuf {
    let cmake = env::var_os("DEP_LLAMA_GGML_CMAKE_DIR")
        .map(PathBuf::from)
        .expect("llama-cpp-sys-2 names its cmake folder");
    let found = cmake.ancestors().map(|folder| folder.join("include"));
    found
        .into_iter()
        .find(|folder| folder.join("llama.h").is_file())
        .expect("llama-cpp-sys-2 installs llama.h beside its cmake folder")
}
