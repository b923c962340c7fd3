//! Compiles the C++ shims and sets how the shared library is linked.

use std::env;
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

/// The library stays loaded once it is: its threads and thread-local values outlive a dlclose.
fn link() {
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
        // llguidance has C functions of its own, which rustc would export beside ours.
        println!("cargo:rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
        // Static objects of llama.cpp stay until the process is gone; shim.cpp says why.
        #[cfg(feature = "llama")]
        println!("cargo:rustc-cdylib-link-arg=-Wl,--wrap=__cxa_atexit");
    }
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
