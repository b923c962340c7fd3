#!/usr/bin/env bash
# Compiles and runs the tests of bindings/cpp and the examples in C++, against target/release/libfluid.so. The tests'
# units are of several standards, one is without exceptions; linked into one program they run under AddressSanitizer
# and UBSan, those of threads under ThreadSanitizer too. The examples are compiled as users do, with -O2, where compilers
# see more. Each header is compiled alone; all of them by clang++ too, where it is installed.
#
#   tests/cpp/run.sh          all of it
#   tests/cpp/run.sh NAME     the tests whose name holds NAME, such as "example chat"
set -uo pipefail
cd "$(dirname "$0")/../.." || exit

LIBRARY=$PWD/target/release/libfluid.so
MODELS=${FLUID_MODELS:-models}
MODEL=$MODELS/SmolLM2-135M-Instruct.Q4_1.gguf
SPEECH=$MODELS/whisper-base-int8-ov
JFK=$MODELS/jfk.wav
EMBEDDER=$MODELS/minilm-gguf/q8_0.gguf
RERANKER=$MODELS/minilm-gguf/tiny-reranker.gguf
OUT=target/cpp-tests
TINY=$OUT/tiny.gguf
STRICT=(-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -Iinclude -Ibindings/cpp)
STRICTER=("${STRICT[@]}" -Wold-style-cast -Wsign-conversion -Wnull-dereference)
LIBS=("-Wl,--as-needed" -Ltarget/release -lfluid -pthread "-Wl,-rpath,${LIBRARY%/*}")
# Null and stale pointers AddressSanitizer finds too; without UBSan's share of them a unit compiles in two thirds of the time.
ADDRESS=(-O0 -g1 "-fsanitize=address,undefined" "-fno-sanitize=null,alignment,vptr,object-size" -fno-sanitize-recover=all)
THREADS=(-O0 -g1 -fsanitize=thread)
CXX=${CXX:-g++}
PATTERN=${1:-}
# OpenVINO is looked for in the active Python environment: here that of `make setup`.
export VIRTUAL_ENV=${VIRTUAL_ENV:-$PWD/.venv}

. tests/checks.sh

# --- compiling, two at a time --------------------------------------------------------------------

# Runs a command beside others; outcome_of tells how it went.
beside() {   # beside NAME COMMAND...
    local name=$1
    shift
    while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n; done
    { "$@"; echo $? >"$OUT/$name.code"; } >"$OUT/$name.log" 2>&1 </dev/null &
}

outcome_of() {
    cat "$OUT/$1.log"
    return "$(<"$OUT/$1.code")"
}

unit() { "$CXX" "${STRICT[@]}" "${@:2}" -c -o "$OUT/$1.o"; }   # unit NAME FLAG... SOURCE
alone() {   # alone COMPILER HEADER FLAG...
    printf '#include "%s"\n' "$2" | "$1" "${STRICTER[@]}" "${@:3}" -fsyntax-only -x c++ -
}
knows() { "$CXX" "-std=$1" -E -x c++ /dev/null >/dev/null 2>&1; }

# A library without std::generator gets one from the tests, for what makes generators is tested everywhere.
generator() {
    printf '#include <version>\n#ifndef __cpp_lib_generator\n#error\n#endif\n' |
        "$CXX" "-std=${standards[-1]}" -fsyntax-only -x c++ - 2>/dev/null || echo "-Itests/cpp/shim -D__cpp_lib_generator=0"
}

units=(test_models test_generate test_modern test_lifetime test_nothrow test_json main)
examples=(chat transcribe embed_and_search two_models)
standards=(c++17 c++20)
headers=(bindings/cpp/fluid/*.hpp)
clang=()
! command -v clang++ >/dev/null || clang=(c++17 c++20)

compile_all() {
    local name flags
    ! knows c++23 || standards+=(c++23)
    for name in "${units[@]}"; do
        flags=(-std=c++17)
        # shellcheck disable=SC2207  # words
        [ "$name" != test_modern ] || flags=("-std=${standards[-1]}" $(generator))
        [ "$name" != test_nothrow ] || flags+=(-fno-exceptions -fno-rtti)
        beside "$name" unit "$name" "${flags[@]}" "${ADDRESS[@]}" "tests/cpp/$name.cpp"
    done
    for name in test_lifetime main race; do
        beside "$name.tsan" unit "$name.tsan" -std=c++17 "${THREADS[@]}" "tests/cpp/$name.cpp"
    done
    beside overflow unit overflow -std=c++17 "${ADDRESS[@]}" tests/cpp/overflow.cpp
    for name in "${examples[@]}"; do
        beside "$name" unit "$name" -std=c++17 -O2 "${STRICTER[@]}" "examples/cpp/$name.cpp"
    done
    for name in "${standards[@]}"; do
        beside "alone-$name" alone "$CXX" fluid.hpp "-std=$name"
    done
    for name in "${headers[@]}"; do
        beside "alone-${name##*/}" alone "$CXX" "fluid/${name##*/}" -std=c++17
    done
    for name in "${clang[@]}"; do
        beside "alone-clang-$name" alone clang++ fluid.hpp "-std=$name"
    done
    wait
}

each_header() {
    local name code=0
    for name in "${headers[@]}"; do
        outcome_of "alone-${name##*/}" || code=1
    done
    return $code
}

link() { "$CXX" -o "$OUT/$1" "${@:2}" "${LIBS[@]}"; }   # link PROGRAM FLAG... OBJECT...

# --- what is there -------------------------------------------------------------------------------

# Every function of the header is called, but those that wait: the binding starts jobs and reads them, which is
# what those do; and fluid_floats_free, for what one of those gives out.
all_functions() {
    declared_functions | grep -vxE 'fluid_(load_model|download|generate|transcribe|embed|rerank)' |
        grep -vxE 'fluid_model_(save|restore)_state|fluid_floats_free' >$OUT/declared
    [ "$(wc -l <$OUT/declared)" -gt 35 ] || { echo "too few functions were found"; return 1; }
    sed 's|//.*||' bindings/cpp/*.hpp bindings/cpp/fluid/*.hpp >$OUT/code
    local name code=0
    while read -r name; do
        grep -qw "$name" $OUT/code || { echo "$name is not called"; code=1; }
    done <$OUT/declared
    return $code
}

# --- running -------------------------------------------------------------------------------------

# The cases of a program, each a test; it prints a line for each that passes.
cases() {   # cases NAME PROGRAM ARGUMENT...
    local name=$1 code=0 count
    shift
    case "$name" in *"$PATTERN"*) ;; *) return 0 ;; esac
    "$@" >"$OUT/said" 2>"$OUT/log" </dev/null || code=$?
    count=$(grep -c '^ok ' "$OUT/said")
    sed -n "s/^ok /ok $name: /p" "$OUT/said"
    passed=$((passed + count))
    if [ $code -ne 0 ] || [ "$count" -eq 0 ] || [ -s "$OUT/log" ]; then
        printf 'FAILED %s after %d cases (code %d)\n' "$name" "$count" $code
        sed 's/^/    /' "$OUT/log" | head -n 60
        failed=$((failed + 1))
    fi
}

# OpenVINO 2026.4 keeps what belongs to each stateful decoder that was compiled and freed; its TBB otherwise opens its
# parts in a way that AddressSanitizer refuses.
addressed() {
    printf 'leak:libopenvino_intel_cpu_plugin\nleak:libopenvino.so\n' >$OUT/leaks
    TBB_ENABLE_SANITIZERS=1 UBSAN_OPTIONS=print_stacktrace=1 \
        LSAN_OPTIONS=suppressions=$OUT/leaks:print_suppressions=0 "$@"
}

# The library is not instrumented: what it does to memory is left out, what the binding does is looked at.
threaded() { TSAN_OPTIONS=ignore_noninstrumented_modules=1:halt_on_error=1 "$@"; }

# The process ends by itself, in time, with 0, and only the case speaks.
exits() {   # exits CASE
    local code=0
    addressed timeout 60 $OUT/test_cpp "${FILES[@]}" "$1" >$OUT/said 2>&1 || code=$?
    grep -v '^ok ' $OUT/said
    [ $code -eq 0 ] && ! grep -qv '^ok ' $OUT/said
}

# --- examples ------------------------------------------------------------------------------------

example_chat() {
    printf 'Say hello.\nWhat is two plus two? One word.\n' | timeout 120 $OUT/chat "$MODEL" >$OUT/chat.out || return 1
    [ "$(grep -c '^> ' $OUT/chat.out)" = 3 ] && [ "$(wc -w <$OUT/chat.out)" -gt 4 ] && return 0
    cat $OUT/chat.out
    return 1
}

# Ctrl-C ends an answer, the end of the input the program.
example_chat_interrupted() {
    local chat code=0
    rm -f $OUT/questions && mkfifo $OUT/questions || return 1
    $OUT/chat "$MODEL" <$OUT/questions >$OUT/chat.out 2>$OUT/chat.err &
    chat=$!
    exec 9>$OUT/questions
    echo 'Count from 1 to 1000.' >&9
    for _ in $(seq 600); do
        [ "$(wc -c <$OUT/chat.out)" -lt 20 ] || break
        sleep 0.05
    done
    kill -INT $chat
    exec 9>&-
    wait $chat || code=$?
    [ $code -eq 0 ] && [ "$(wc -w <$OUT/chat.out)" -lt 250 ] && [ ! -s $OUT/chat.err ] && return 0
    cat $OUT/chat.out $OUT/chat.err
    return 1
}

# A library of another binary interface is refused before anything is asked of it.
other_abi() {
    local abi
    printf 'unsigned fluid_abi_version(void) { return ABI; }\n' >$OUT/abi.c
    for abi in "2 << 16" "1 << 16" "(1 << 16) | 99"; do
        "${CC:-gcc}" -shared -fPIC "-DABI=($abi)" -o $OUT/abi.so $OUT/abi.c || return 1
        LD_PRELOAD=$PWD/$OUT/abi.so timeout 20 $OUT/chat missing.gguf 2>$OUT/abi.err && return 1
        case "$abi" in
            *99) grep -q '^FLUID_ERROR_NOT_FOUND' $OUT/abi.err ;;
            *) grep -qE '^FLUID_ERROR_UNSUPPORTED: .* the binary interface [12]\.0, this program .* 1\.[0-9]+: ' $OUT/abi.err ;;
        esac || { cat $OUT/abi.err; return 1; }
    done
}

example_fails() {   # example_fails NAME ARGUMENT...
    ! timeout 20 "$OUT/$1" "${@:2}" 2>$OUT/example.err </dev/null && grep -q '^FLUID_ERROR_NOT_FOUND: ' $OUT/example.err
}

example_transcribe() {
    timeout 120 $OUT/transcribe "$SPEECH" "$JFK" >$OUT/transcribe.out 2>$OUT/transcribe.err || return 1
    grep -qE '^\[  0\.00 -> +[0-9]+\.[0-9]{2}\] And so my fellow Americans' $OUT/transcribe.out &&
        grep -qx 'language: en' $OUT/transcribe.err && return 0
    cat $OUT/transcribe.out $OUT/transcribe.err
    return 1
}

example_embed_and_search() {
    timeout 60 $OUT/embed_and_search "$EMBEDDER" >$OUT/search.out || return 1
    grep -q '^closest: Refunds' $OUT/search.out || { cat $OUT/search.out; return 1; }
}

example_two_models() {
    timeout 120 $OUT/two_models "$MODEL" "$SPEECH" "$JFK" >$OUT/two.out || return 1
    grep -q '^heard: And so my fellow Americans' $OUT/two.out && grep -q '^in short: ..' $OUT/two.out && return 0
    cat $OUT/two.out
    return 1
}

# -------------------------------------------------------------------------------------------------

[ -f "$LIBRARY" ] || stop "$LIBRARY is missing; build it: cargo build --release --locked"
FILES=("$MODEL" "$TINY" "$SPEECH" "$JFK" "$EMBEDDER" "$RERANKER")
for file in "$MODEL" "$SPEECH/openvino_encoder_model.xml" "$JFK" "$EMBEDDER" "$RERANKER"; do
    [ -f "$file" ] || stop "$file is missing; fetch it: make models"
done
mkdir -p $OUT
python3 tests/c/tiny_gguf.py $TINY || stop "tiny_gguf.py failed"

check "every function of the header" all_functions
compile_all
for name in "${standards[@]}"; do
    check "fluid.hpp alone, $name" outcome_of "alone-$name"
done
check "each header alone" each_header
for name in "${clang[@]}"; do
    check "fluid.hpp alone, clang++, $name" outcome_of "alone-clang-$name"
done
for name in "${units[@]}" overflow {test_lifetime,main,race}.tsan; do
    check "$name: compiles" outcome_of "$name"
done
check "asan: links" link overflow "${ADDRESS[@]}" $OUT/overflow.o
check "asan: finds an overflow" fails $OUT/overflow
check "tsan: links" link race "${THREADS[@]}" $OUT/race.tsan.o
check "tsan: finds a race" fails threaded $OUT/race

objects=("${units[@]/%/.o}")
check "test_cpp: links" link test_cpp "${ADDRESS[@]}" "${objects[@]/#/$OUT/}"
cases test_cpp addressed timeout 280 $OUT/test_cpp "${FILES[@]}"
for name in exit_with_streams_running exit_by_return exit_with_all_left_behind; do
    check "$name" exits $name
done
check "test_threads: links" link test_threads "${THREADS[@]}" $OUT/{test_lifetime,main}.tsan.o
cases test_threads threaded timeout 280 $OUT/test_threads "$TINY" "${FILES[@]:1}"

for name in "${examples[@]}"; do
    check "example $name: compiles" outcome_of "$name"
    check "example $name: links" link "$name" "$OUT/$name.o"
done
check "another binary interface" other_abi
check "example chat" example_chat
check "example chat: Ctrl-C" example_chat_interrupted
check "example chat: no model" example_fails chat missing.gguf
check "example transcribe" example_transcribe
check "example transcribe: no recording" example_fails transcribe "$SPEECH" missing.wav
check "example embed_and_search" example_embed_and_search
check "example two_models" example_two_models

sum_up
