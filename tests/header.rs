//! `include/fluid.h` is what cbindgen makes of `src/ffi`. `make header` writes it anew.

use std::path::Path;

/// The header's order: as a reader needs it, from versions to queues.
const SOURCES: [&str; 21] = [
    "version",
    "status",
    "guard",
    "string",
    "floats",
    "handle",
    "event",
    "audio",
    "engine",
    "devices",
    "download",
    "model",
    "models",
    "estimate",
    "generate",
    "transcribe",
    "embed",
    "rerank",
    "tokenize",
    "state",
    "job",
];

fn generate() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml");
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in SOURCES.iter().chain(&["queue", "log"]) {
        builder = builder.with_src(root.join(format!("src/ffi/{source}.rs")));
    }
    let mut header = Vec::new();
    builder.generate().expect("bindings").write(&mut header);
    let header = String::from_utf8(header).expect("UTF-8");
    // What Rust calls its safety section is for C a plain list of what to see to.
    let header = header.replace("// # Safety\n", "// Callers see to it that:\n");
    header.lines().map(parenthesised).collect()
}

/// A negative constant in parentheses, so that it is one term wherever a program uses it.
fn parenthesised(line: &str) -> String {
    match line.rsplit_once(" -") {
        Some((define, number)) if line.starts_with("#define ") => format!("{define} (-{number})\n"),
        _ => format!("{line}\n"),
    }
}

#[test]
fn the_committed_header_is_in_sync() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/fluid.h");
    let fresh = generate();
    if std::env::var_os("FLUID_UPDATE_HEADER").is_some() {
        std::fs::write(&path, &fresh).expect("the header can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == fresh, "include/fluid.h is out of date: run `make header` and commit it");
}
