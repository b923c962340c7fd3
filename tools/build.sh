#!/usr/bin/env bash
# Runs cargo and shows how far llama.cpp has come, which cargo by itself does not: it is one crate
# of many to it, and most of the time.
#
#   tools/build.sh build --release --locked
set -euo pipefail
cd "$(dirname "$0")/.."
unset MAKEFLAGS MFLAGS    # `make -j` would hand cargo and cmake a job server that is closed to them

LLAMA_FILES=130      # C and C++ files of llama-cpp-sys-2 0.1.160, about
TARGET=${CARGO_TARGET_DIR:-target}

if ! compgen -G "$TARGET/release/build/llama-cpp-sys-2-*/out/lib*/libllama.a" >/dev/null; then
    echo "The first build compiles llama.cpp, some $LLAMA_FILES C++ files: about 4 minutes on 2 cores."
    echo "Later builds take seconds."
    export CARGO_TERM_PROGRESS_WHEN=never    # one kind of progress
fi

show_progress() {
    local start=$SECONDS last=0 count spent began
    began=$(date +%s)
    while sleep 10 >/dev/null 2>&1; do    # killed late, it must not hold the caller's pipe
        count=$({ find "$TARGET"/release/build/llama-cpp-sys-2-*/out/build -name '*.o' -newermt "@$began" 2>/dev/null ||
            :; } | wc -l)
        spent=$((SECONDS - start))
        [ "$count" -eq "$last" ] || printf '    llama.cpp: %d of about %d files, %d:%02d min\n' \
            "$count" $LLAMA_FILES $((spent / 60)) $((spent % 60))
        last=$count
    done
}

triple=$(rustc -vV | sed -n 's/^host: //p')
if ! cargo fetch --locked --target "$triple"; then
    echo "build: the Rust crates could not be fetched (cargo's reason is above)." >&2
    echo "build: mend that (no network? a proxy that cargo does not know?), then run the same command again." >&2
    exit 1
fi

show_progress &
watcher=$!
trap 'kill $watcher 2>/dev/null' EXIT
cargo "$@" || { echo "build: cargo $1 failed; the first error above says why" >&2; exit 1; }

# Programs linked with -lfluid look for the library by its SONAME.
major=$(sed -n 's/^pub const FLUID_ABI_VERSION: u32 = \([0-9]*\) << 16.*/\1/p' src/ffi/version.rs)
case "$(uname -s)" in
    Linux) ln -sfn libfluid.so "$TARGET/release/libfluid.so.$major" ;;
    Darwin) ln -sfn libfluid.dylib "$TARGET/release/libfluid.$major.dylib" ;;
esac

# What is installed or packed comes with library and server, and with papers about what is inside.
case " $* " in
    *" --workspace "*" fake "*) ;;
    *" --workspace "*) .venv/bin/python tools/dist/papers.py "$TARGET/release" ;;
esac
