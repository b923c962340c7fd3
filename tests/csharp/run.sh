#!/usr/bin/env bash
# Compiles the binding, its tests and its examples with Mono and runs them against target/release/libfluid.so.
# One line for each test, `N passed, N failed` at the end.
#
#   tests/csharp/run.sh            all of it
#   tests/csharp/run.sh NAME       the tests whose name holds NAME, such as SpeechTests
set -uo pipefail
cd "$(dirname "$0")/../.." || exit

OUT=$PWD/target/csharp-tests
MODELS=${FLUID_MODELS:-models}
export FLUID_MODELS=$MODELS
export FLUID_LIBRARY=${FLUID_LIBRARY:-$PWD/target/release/libfluid.so}
# OpenVINO is looked for in the active Python environment: here that of `make setup`.
export VIRTUAL_ENV=${VIRTUAL_ENV:-$PWD/.venv}
export FLUID_TEST_HOST=mono
export FLUID_TEST_OTHER_ABI=$OUT/other_abi/libfluid.so
# C.UTF-8: names of files are UTF-8 in every environment.
export LC_ALL=C.UTF-8
MCS=(mcs -nologo -langversion:7.2 -warn:4 -warnaserror)
PATTERN=
source tests/checks.sh

compile() {
    rm -rf "$OUT" && mkdir -p "$OUT/other_abi" || return
    "${MCS[@]}" -unsafe -target:library -doc:"$OUT/Fluid.Native.xml" -out:"$OUT/Fluid.Native.dll" \
        bindings/csharp/src/*.cs bindings/csharp/src/Interop/*.cs &&
        "${MCS[@]}" -r:System.Core.dll -r:"$OUT/Fluid.Native.dll" -out:"$OUT/tests.exe" tests/csharp/*.cs &&
        echo 'unsigned fluid_abi_version(void) { return 2u << 16; }' |
        ${CC:-cc} -shared -fPIC -x c - -o "$FLUID_TEST_OTHER_ABI"
}

# An example is one file, run as its first lines say; it prints what is looked for.
run_example() {   # run_example NAME WANTED ARGUMENT...
    local name=$1 wanted=$2 text
    shift 2
    "${MCS[@]}" -r:System.Core.dll -r:"$OUT/Fluid.Native.dll" -out:"$OUT/$name.exe" "examples/csharp/$name.cs" || return
    text=$(timeout 120 mono "$OUT/$name.exe" "$@" 2>&1) || return
    printf '%s\n' "$text"
    grep -q "$wanted" <<<"$text"
}

example() { check "examples/csharp/$1.cs" run_example "$@"; }

# As NuGet calls this machine.
rid() {
    case $(uname -m) in
        x86_64) echo linux-x64 ;;
        aarch64) echo linux-arm64 ;;
        *) uname -m && return 1 ;;
    esac
}

package() {
    local rid
    rid=$(rid) && mkdir -p "$OUT/licenses" && cp LICENSE-MIT LICENSE-APACHE "$OUT/licenses" &&
        python3 tools/dist/licences.py >"$OUT/licenses/THIRD-PARTY.txt" &&
        python3 tools/dist/sbom.py >"$OUT/licenses/sbom.cdx.json" &&
        python3 tools/make_nuget.py --assembly net471="$OUT/Fluid.Native.dll" --native "$rid=$FLUID_LIBRARY" \
            --licenses "$rid=$OUT/licenses" --out "$OUT/package" &&
        python3 tests/csharp/check_package.py "$OUT"/package/*.nupkg "$MODELS/SmolLM2-135M-Instruct.Q4_1.gguf"
}

# What `make nuget` does around the SDK.
packed_by_sdk() { PYTHONPATH=tools/dist python3 tests/csharp/check_nuget.py; }

examples() {
    example Chat Paris "$MODELS/SmolLM2-135M-Instruct.Q4_1.gguf" "What is the capital of France?"
    example Transcribe 'ask what you can do for your country' "$MODELS/whisper-base-int8-ov" "$MODELS/jfk.wav"
    example EmbedAndSearch 'Refunds are paid' "$MODELS/minilm-gguf/q8_0.gguf" "How do I get my money back?"
    example TwoModels 'Heard: .*your country' "$MODELS/SmolLM2-135M-Instruct.Q4_1.gguf" "$MODELS/whisper-base-int8-ov" \
        "$MODELS/jfk.wav"
}

# Both targets bind the same functions: all of fluid.h but those that wait, which are a job and its events, and the
# one for floats that they alone give away.
all_functions() {
    local wait='fluid_(generate|transcribe|embed|rerank|download|load_model|model_save_state|model_restore_state|floats_free)'
    local target
    for target in NetStandard Net8; do
        diff <(declared_functions | grep -vxE "$wait") \
            <(grep -oE 'fluid_[a-z_]+' "bindings/csharp/src/Interop/NativeMethods.$target.cs" | sort -u) || return
    done
}

# The project file of the package has a copy of the number in Cargo.toml.
one_version() {
    local version
    version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
    [ -n "$version" ] && grep -F "<Version>$version</Version>" bindings/csharp/Fluid.Native.csproj
}

{ command -v mono && command -v mcs; } >/dev/null || stop "mono and mcs are missing; make test installs them"
[ -e "$FLUID_LIBRARY" ] || stop "there is no $FLUID_LIBRARY; make build makes it"
compile || stop "it does not compile"
timeout 300 mono "$OUT/tests.exe" "$@" 2>&1 </dev/null | tee "$OUT/tests.log" | sed -u '/^[0-9]* passed, [0-9]* failed$/d'
code=${PIPESTATUS[0]}
read -r passed _ failed _ < <(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$OUT/tests.log" || echo 0 passed, 0 failed)
if [ "$code" -ne 0 ] && [ "$failed" -eq 0 ]; then
    printf 'FAILED tests.exe ended with code %d\n' "$code"
    failed=1
fi
if [ $# -eq 0 ]; then
    check "every function is bound" all_functions
    check "the package has the library's version" one_version
    examples
    check "the package, read back and used" package
    check "the package of the SDK, read back" packed_by_sdk
fi
sum_up
