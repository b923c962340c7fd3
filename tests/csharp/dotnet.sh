#!/usr/bin/env bash
# Runs the tests of the C# binding with a .NET SDK, on its net8.0 part, against target/release/libfluid.so.
#
#   tests/csharp/dotnet.sh            all of it
#   tests/csharp/dotnet.sh NAME       the tests whose name holds NAME, such as SpeechTests
set -euo pipefail
cd "$(dirname "$0")/../.."

OUT=$PWD/target/csharp-dotnet
export FLUID_MODELS=${FLUID_MODELS:-models}
export FLUID_LIBRARY=${FLUID_LIBRARY:-$PWD/target/release/libfluid.so}
# OpenVINO is looked for in the active Python environment: here that of `make setup`.
export VIRTUAL_ENV=${VIRTUAL_ENV:-$PWD/.venv}
# What a test starts another process with.
export FLUID_TEST_HOST=dotnet
export FLUID_TEST_OTHER_ABI=$OUT/other_abi/libfluid.so
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1
# C.UTF-8: names of files are UTF-8 in every environment.
export LC_ALL=C.UTF-8

stop() { printf '%s: %s\n' "$0" "$*" >&2; exit 1; }

command -v dotnet >/dev/null || stop "the .NET SDK (dotnet) is missing; tests/csharp/run.sh needs Mono alone"
[ -e "$FLUID_LIBRARY" ] || stop "there is no $FLUID_LIBRARY; make build makes it"
mkdir -p "$OUT/other_abi"
echo 'unsigned fluid_abi_version(void) { return 2u << 16; }' |
    "${CC:-cc}" -shared -fPIC -x c - -o "$FLUID_TEST_OTHER_ABI"
dotnet run --project tests/csharp/Fluid.Native.Tests.csproj -- "$@"
