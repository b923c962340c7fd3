#!/usr/bin/env bash
# Builds what `make dist` packs, in target/ship: as every other build, but without the paths of this machine,
# so that it tells nobody's name and comes out the same elsewhere.
#
#   tools/dist/build.sh build --release --locked --workspace
set -euo pipefail
cd "$(dirname "$0")/../.."

case "$PWD${CARGO_HOME:-$HOME}" in
    *[[:space:]]*) echo "dist: $PWD or cargo's folder has a space in its path; compilers' flags cannot" >&2; exit 1 ;;
esac

# As rustc spells a folder: Git Bash's /c/... is C:\... to it.
native() { if command -v cygpath >/dev/null; then cygpath -w "$1"; else printf '%s\n' "$1"; fi; }

triple=$(rustc -vV | sed -n 's/^host: //p')
cargo fetch --locked --target "$triple"
maps=("$(native "$PWD")=/libfluid")
for folder in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do maps+=("$(native "$folder")=/crates"); done

unset RUSTFLAGS
CARGO_ENCODED_RUSTFLAGS=$(printf -- '--remap-path-prefix=%s\x1f' "${maps[@]}")
export CARGO_ENCODED_RUSTFLAGS=${CARGO_ENCODED_RUSTFLAGS%$'\x1f'}
case "$(uname -s)" in
    Linux | Darwin)
        # C and C++ in crates, llama.cpp above all, name their files in assertions.
        export CFLAGS="${CFLAGS:-} ${maps[*]/#/-ffile-prefix-map=}"
        export CXXFLAGS="${CXXFLAGS:-} ${maps[*]/#/-ffile-prefix-map=}" ;;
esac
if [ "$(uname -s)" = Darwin ]; then
    linker=CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<<"$triple")_LINKER
    export "$linker=$PWD/tools/dist/macos_linker.sh"
fi
export CARGO_TARGET_DIR=target/ship CARGO_INCREMENTAL=0
exec bash tools/build.sh "$@"
