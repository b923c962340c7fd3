#!/usr/bin/env bash
# Compiles and runs the C tests against target/release/libfluid.so: plain, under AddressSanitizer and
# UBSan, under valgrind; then the header alone, the library's symbols, the examples, an old processor.
# One line for each test, `N passed, N failed` at the end.
#
#   tests/c/run.sh            all of it
#   tests/c/run.sh NAME       the tests whose name holds NAME, such as test_queue
set -uo pipefail
cd "$(dirname "$0")/../.." || exit

LIBRARY=$PWD/target/release/libfluid.so
MODELS=${FLUID_MODELS:-models}
MODEL=$MODELS/SmolLM2-135M-Instruct.Q4_1.gguf
SPEECH=$MODELS/whisper-base-int8-ov
JFK=$MODELS/jfk.wav
RERANKER=$MODELS/minilm-gguf/tiny-reranker.gguf
OUT=target/c-tests
TINY=$OUT/tiny.gguf
STRICT=(-Wall -Wextra -Wpedantic -Werror)
CFLAGS=(-std=c99 -O1 -g "${STRICT[@]}" -Iinclude)
CXXFLAGS=(-std=c++17 -O1 -g "${STRICT[@]}" -Iinclude)
LIBS=(-Ltarget/release -lfluid -pthread -ldl -lm "-Wl,-rpath,${LIBRARY%/*}")
SANITIZE=("-fsanitize=address,undefined" -fno-sanitize-recover=all -fno-omit-frame-pointer)
CC=${CC:-gcc} CXX=${CXX:-g++}
PATTERN=${1:-}
# OpenVINO is looked for in the active Python environment: here that of `make setup`.
export VIRTUAL_ENV=${VIRTUAL_ENV:-$PWD/.venv}

. tests/checks.sh

# --- compiling -----------------------------------------------------------------------------------

compile() {   # compile SOURCE PROGRAM FLAG...
    local source=$1 program=$2
    shift 2
    case "$source" in
        *.cpp) "$CXX" "${CXXFLAGS[@]}" "$@" "$source" -o "$program" -Wl,--as-needed "${LIBS[@]}" ;;
        *) "$CC" "${CFLAGS[@]}" "$@" "$source" -o "$program" -Wl,--as-needed "${LIBS[@]}" ;;
    esac
}

header_alone() {
    printf '#include "fluid.h"\n' >$OUT/header.c
    "$CC" "${CFLAGS[@]}" -fsyntax-only $OUT/header.c
    "$CXX" "${CXXFLAGS[@]}" -fsyntax-only -x c++ $OUT/header.c
}

# Each function of the header can be linked, and nothing else can.
symbols() {
    nm -D --defined-only "$LIBRARY" | awk '{ print $3 }' | sort >$OUT/exported
    declared_functions >$OUT/declared
    diff $OUT/declared $OUT/exported
}

# The library has the name that programs ask for, stays loaded, and needs what every Linux with a C++
# runtime has.
linkage() {
    local major
    major=$(printf '#include "fluid.h"\nFLUID_ABI_VERSION >> 16\n' | "$CC" -E -P -Iinclude - | tail -n 1)
    readelf -d "$LIBRARY" | grep -q "(SONAME).*\[libfluid\.so\.$((major))\]" || { echo "SONAME"; return 1; }
    readelf -d "$LIBRARY" | grep -q 'FLAGS_1.*NODELETE' || { echo "not linked with -z nodelete"; return 1; }
    local extra
    extra=$(readelf -d "$LIBRARY" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
        grep -vE '^(libstdc\+\+\.so\.6|libgcc_s\.so\.1|libm\.so\.6|libc\.so\.6|ld-linux-x86-64\.so\.2|ld-linux-aarch64\.so\.1)$')
    [ -z "$extra" ] || { echo "needs $extra"; return 1; }
}

# --- running -------------------------------------------------------------------------------------

plain() { silent 180 "$OUT/$1" "${@:2}"; }

sanitized() {
    local leaks=1
    # In a forked child the stacks of the parent's threads are no longer searched for pointers.
    [ "$1" != test_process ] || leaks=0
    # OpenVINO 2026.4 keeps what belongs to each stateful decoder that was compiled and freed.
    printf 'leak:libopenvino_intel_cpu_plugin\nleak:libopenvino.so\n' >$OUT/leaks
    # OpenVINO's TBB otherwise opens its parts in a way that AddressSanitizer refuses.
    TBB_ENABLE_SANITIZERS=1 ASAN_OPTIONS=detect_leaks=$leaks:abort_on_error=0 \
        LSAN_OPTIONS=suppressions=$OUT/leaks:print_suppressions=0 UBSAN_OPTIONS=print_stacktrace=1 \
        silent 180 "$OUT/$1.asan" "${@:2}"
}

memchecked() {
    local leaks=full
    [ "$1" != test_process ] || leaks=no   # as above
    FLUID_SLOW=1 silent 280 valgrind -q --error-exitcode=99 --trace-children=yes --fair-sched=yes \
        --leak-check=$leaks --show-leak-kinds=definite --errors-for-leak-kinds=definite "$OUT/$1" "${@:2}"
}

# valgrind keeps a program to one core: two of them side by side take half the time. The last go
# first, for test_stress takes longest.
memcheck_all() {
    local name index
    for ((index = ${#checked[@]} - 1; index >= 0; index--)); do
        name=${checked[index]}
        case "$name: valgrind" in *"$PATTERN"*) ;; *) continue ;; esac
        while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n; done
        {
            memchecked "$name" "$TINY" "$TINY" "$LIBRARY" "$RERANKER"
            echo $? >"$OUT/$name.code"
        } >"$OUT/$name.log" 2>&1 </dev/null &
    done
    wait
}

# How it went with NAME in memcheck_all.
memcheck_of() {
    cat "$OUT/$1.log"
    return "$(<"$OUT/$1.code")"
}

# --- examples ------------------------------------------------------------------------------------

example_chat() {
    timeout 120 $OUT/chat "$MODEL" "Why is the sky blue?" >$OUT/chat.out 2>$OUT/chat.err || return 1
    [ "$(wc -w <$OUT/chat.out)" -gt 8 ] || { echo "hardly an answer: $(<$OUT/chat.out)"; return 1; }
    grep -qE '^\[FLUID_OK: first of [0-9]+ tokens after [0-9.]+ s, then [0-9.]+ tokens/s\]$' $OUT/chat.err ||
        { cat $OUT/chat.err; return 1; }
}

# Ctrl-C in the middle of an answer: within a second the program has ended as if it were done.
example_chat_interrupted() {
    local chat since code=0
    : >$OUT/chat.out
    # A background job of a script ignores SIGINT unless told otherwise; the example sets a handler.
    $OUT/chat "$MODEL" "Write a very long story about the sea." >$OUT/chat.out 2>$OUT/chat.err &
    chat=$!
    for _ in $(seq 600); do
        [ "$(wc -c <$OUT/chat.out)" -lt 100 ] || break
        sleep 0.1
    done
    since=$(date +%s%N)
    kill -INT $chat
    wait $chat || code=$?
    [ $code -eq 0 ] || { echo "exit code $code"; return 1; }
    [ $(($(date +%s%N) - since)) -lt 1000000000 ] || { echo "took a second"; return 1; }
    grep -q '^\[FLUID_CANCELLED: ' $OUT/chat.err || { cat $OUT/chat.err; return 1; }
}

example_chat_fails() {
    ! timeout 20 $OUT/chat missing.gguf 2>$OUT/chat.err && grep -q FLUID_ERROR_NOT_FOUND $OUT/chat.err
}

example_doctor() {
    timeout 60 $OUT/doctor "{\"model_dir\": \"$MODELS\"}" >$OUT/doctor.out || { cat $OUT/doctor.out; return 1; }
    grep -qE '^ok       openvino          20[0-9]{2}\.' $OUT/doctor.out &&
        grep -qE '^ok       openvino_devices  CPU: ' $OUT/doctor.out &&
        grep -qE '^(Nothing is missing|It works, with [0-9]+ warnings?)\.$' $OUT/doctor.out && return 0
    cat $OUT/doctor.out
    return 1
}

example_doctor_fails() {
    ! FLUID_OPENVINO_LIB=$PWD/README.md timeout 60 $OUT/doctor >$OUT/doctor.out &&
        grep -q '^error    openvino  ' $OUT/doctor.out && grep -q ' -> .*pip install openvino' $OUT/doctor.out
}

# OpenVINO is left alone: the system's loader reads ahead in the paths of libraries, which valgrind takes
# for a fault.
example_doctor_memchecked() {
    timeout 280 valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite \
        --errors-for-leak-kinds=definite $OUT/doctor '{"openvino": false}'
}

example_jobs() {
    timeout 120 $OUT/jobs "$MODEL" >$OUT/jobs.out || return 1
    [ "$(grep -cE '^\[[01]\] ended: FLUID_OK$' $OUT/jobs.out)" = 2 ] &&
        [ "$(grep -c '"object":"chat.completion"' $OUT/jobs.out)" = 2 ]
}

example_models() {
    mkdir -p $OUT/model-folder/llm && ln -sfn "$(realpath "$MODEL")" $OUT/model-folder/llm/smol.gguf || return 1
    timeout 60 $OUT/models $OUT/model-folder >$OUT/models.out || return 1
    grep -q '"name":"smol.gguf".*"runnable":true' $OUT/models.out || { cat $OUT/models.out; return 1; }
    timeout 120 $OUT/models $OUT/model-folder smol "Say hello." >$OUT/models.out 2>$OUT/models.err || return 1
    [ "$(wc -w <$OUT/models.out)" -gt 2 ] || { cat $OUT/models.out $OUT/models.err; return 1; }
    ! $OUT/models $OUT/model-folder smal 2>$OUT/models.err && grep -q 'near it are: smol' $OUT/models.err
}

example_queue() {
    timeout 120 $OUT/queue "$MODEL" >$OUT/queue.out || return 1
    [ "$(grep -cE '^job [0-7]: FLUID_OK after [0-9]+ tokens: \{' $OUT/queue.out)" = 8 ] &&
        grep -q '^job 2: .*"text":" 5, 6, 7' $OUT/queue.out
}

example_search() {
    timeout 120 $OUT/search "$MODELS/minilm-gguf/q8_0.gguf" >$OUT/search.out || return 1
    grep -qx 'closest: refunds' $OUT/search.out || { cat $OUT/search.out; return 1; }
}

example_tools() {
    timeout 120 $OUT/tools "$MODEL" >$OUT/tools.out || return 1
    grep -q '"finish_reason":"tool_calls"' $OUT/tools.out &&
        grep -qE '"arguments":"\{\\"city\\":.*\\"unit\\":.*(celsius|fahrenheit)' $OUT/tools.out && return 0
    cat $OUT/tools.out
    return 1
}

# As an exit code and the lines of both streams: a segment a line, then nothing.
example_transcribe() {
    timeout 120 $OUT/transcribe "$SPEECH" "$JFK" >$OUT/transcribe.out 2>$OUT/transcribe.err || return 1
    grep -qx 'language: en' $OUT/transcribe.err || { cat $OUT/transcribe.err; return 1; }
    grep -qE '^\[00:0[0-9]\.[0-9]{2} -> 00:[01][0-9]\.[0-9]{2}\] .*my fellow Americans' $OUT/transcribe.out &&
        ! grep -qvE '^\[[0-9:.]{8} -> [0-9:.]{8}\] [^ ]' $OUT/transcribe.out && return 0
    cat $OUT/transcribe.out
    return 1
}

example_transcribe_formats() {
    local expected
    for format in --srt --vtt --json --words; do
        timeout 120 $OUT/transcribe "$SPEECH" "$JFK" $format --language en >$OUT/transcribe.out 2>$OUT/transcribe.err ||
            return 1
        case $format in
            --srt) expected='^00:00:0[0-9],[0-9]{3} --> 00:00:[01][0-9],[0-9]{3}$' ;;
            --vtt) expected='^WEBVTT$' ;;
            --json) expected='^\{.*"segments":\[\{' ;;
            --words) expected='^\{.*"words":\[\{' ;;
        esac
        { grep -qE "$expected" $OUT/transcribe.out && grep -q 'fellow Americans' $OUT/transcribe.out; } ||
            { echo "$format:"; cat $OUT/transcribe.out; return 1; }
        [ ! -s $OUT/transcribe.err ] || { cat $OUT/transcribe.err; return 1; }   # no terminal, no progress
    done
}

# Ctrl-C in the middle of ten minutes: the segments so far, and 130 within a second.
example_transcribe_interrupted() {
    local since code=0 pid
    python3 - "$JFK" $OUT/long.wav <<'PYTHON' || return 1
import sys, wave
with wave.open(sys.argv[1]) as one, wave.open(sys.argv[2], "wb") as many:
    many.setparams(one.getparams())
    many.writeframes(one.readframes(one.getnframes()) * 55)
PYTHON
    $OUT/transcribe "$SPEECH" $OUT/long.wav >$OUT/transcribe.out 2>$OUT/transcribe.err &
    pid=$!
    for _ in $(seq 600); do
        [ ! -s $OUT/transcribe.out ] || break
        sleep 0.1
    done
    since=$(date +%s%N)
    kill -INT $pid
    wait $pid || code=$?
    rm -f $OUT/long.wav
    [ $code -eq 130 ] || { echo "exit code $code"; cat $OUT/transcribe.err; return 1; }
    [ $(($(date +%s%N) - since)) -lt 1000000000 ] || { echo "took a second"; return 1; }
    grep -q 'fellow Americans' $OUT/transcribe.out
}

# transcribe_says CODE WORDS ARGUMENT...: the exit code, and the words on its error stream.
transcribe_says() {
    local code=0
    timeout 60 $OUT/transcribe "${@:3}" >$OUT/transcribe.out 2>$OUT/transcribe.err || code=$?
    [ $code -eq "$1" ] && grep -q "$2" $OUT/transcribe.err && [ ! -s $OUT/transcribe.out ] && return 0
    echo "exit code $code"
    cat $OUT/transcribe.err
    return 1
}

example_transcribe_fails() {
    transcribe_says 2 '^usage: ' "$SPEECH" &&
        transcribe_says 2 '^usage: ' "$SPEECH" "$JFK" --language 'en"' &&
        transcribe_says 2 '^usage: ' "$SPEECH" "$JFK" --sr &&
        transcribe_says 1 FLUID_ERROR_NOT_FOUND $OUT/missing "$JFK" &&
        transcribe_says 1 FLUID_ERROR_NOT_FOUND "$SPEECH" $OUT/missing.wav &&
        transcribe_says 1 FLUID_ERROR_INVALID_AUDIO "$SPEECH" examples/c/transcribe.c &&
        transcribe_says 1 FLUID_ERROR_UNSUPPORTED $TINY "$JFK"
}

example_two_models() {
    timeout 120 $OUT/two_models "$MODEL" "$SPEECH" "$JFK" >$OUT/two.out || return 1
    # The recording has 22 words, and its line begins with "heard:".
    grep -q '^heard: .*my fellow Americans' $OUT/two.out && [ "$(wc -w <$OUT/two.out)" -gt 24 ] && return 0
    cat $OUT/two.out
    return 1
}

example_two_models_fails() {
    ! timeout 60 $OUT/two_models "$MODEL" "$SPEECH" $OUT/missing.wav >$OUT/two.out 2>$OUT/two.err &&
        grep -q '^transcription: FLUID_ERROR_NOT_FOUND: .*missing.wav' $OUT/two.err
}

# --- ends of the process ---------------------------------------------------------------------------

# Wherever OpenVINO is when the process ends: in its search for devices, in a load, in a transcription.
early_exit() {
    local ms mode step=2
    [ "${FLUID_SOAK:-}" != full ] || step=1
    for ms in $(seq 0 $((10 * step)) 150); do
        silent 20 "$OUT/early_exit" "$ms" || { echo "while asked, after $ms ms"; return 1; }
    done
    for ms in $(seq 100 $((100 * step)) 1300); do
        silent 20 "$OUT/early_exit" "$ms" "$SPEECH" || { echo "with a model, after $ms ms"; return 1; }
    done
    for mode in hears exit; do
        for ms in 0 150; do
            silent 20 "$OUT/early_exit" "$ms" "$SPEECH" $mode || { echo "$mode, after $ms ms"; return 1; }
        done
    done
    for mode in free log; do
        for ms in $(seq 100 $((50 * step)) 1000); do
            silent 20 "$OUT/early_exit" "$ms" "$SPEECH" $mode || { echo "$mode, after $ms ms"; return 1; }
        done
    done
}

# --- an old processor ----------------------------------------------------------------------------

old_processor() {
    silent 60 qemu-x86_64 -cpu Nehalem "$OUT/old_cpu" "$TINY"
}

# -------------------------------------------------------------------------------------------------

[ -f "$LIBRARY" ] || stop "$LIBRARY is missing; build it: cargo build --release --locked"
for file in "$MODEL" "$SPEECH/openvino_encoder_model.xml" "$JFK" "$RERANKER"; do
    [ -f "$file" ] || stop "$file is missing; fetch it: make models"
done
command -v valgrind >/dev/null || stop "valgrind is missing; install it: bash tools/setup.sh --test"
[ "$(uname -m)" != x86_64 ] || command -v qemu-x86_64 >/dev/null ||
    stop "qemu-x86_64 is missing; install it: bash tools/setup.sh --test"
mkdir -p $OUT
python3 tests/c/tiny_gguf.py $TINY || stop "tiny_gguf.py failed"

check header_alone header_alone
check symbols symbols
check linkage linkage

programs=() checked=()
for source in tests/c/test_*.c*; do
    name=$(basename "${source%.*}")
    # OpenVINO takes minutes under valgrind; test_audio has what needs no model of speech.
    [ "$name" = test_transcribe ] || programs+=("$name")
    check "$name: compiles" compile "$source" "$OUT/$name"
    check "$name: compiles for sanitizers" compile "$source" "$OUT/$name.asan" "${SANITIZE[@]}"
done

check "asan: compiles" compile tests/c/overflow.c $OUT/overflow.asan "${SANITIZE[@]}"
check "asan: finds an overflow" fails $OUT/overflow.asan
for name in "${programs[@]}"; do
    check "$name" plain "$name" "$MODEL" "$TINY" "$LIBRARY" "$RERANKER"
done
# Under AddressSanitizer it runs below in any case.
[ "${FLUID_SOAK:-}" != full ] || check "test_transcribe" plain test_transcribe "$SPEECH" "$JFK" "$TINY"
for name in "${programs[@]}"; do
    check "$name: asan" sanitized "$name" $TINY $TINY "$LIBRARY" "$RERANKER"
done
check "test_transcribe: asan" sanitized test_transcribe "$SPEECH" "$JFK" "$TINY"
# valgrind is thirty times slower: what hammers the library goes under it in soaks only.
for name in "${programs[@]}"; do
    case "${FLUID_SOAK:-}:$name" in
        :test_process | :test_soak | :test_stress) ;;
        *) checked+=("$name") ;;
    esac
done
memcheck_all
for name in "${checked[@]}"; do
    check "$name: valgrind" memcheck_of "$name"
done

for name in chat doctor jobs models queue search tools transcribe two_models; do
    check "example $name: compiles" compile examples/c/$name.c $OUT/$name
done
check "example chat" example_chat
check "example chat: Ctrl-C" example_chat_interrupted
check "example chat: no model" example_chat_fails
check "example doctor" example_doctor
check "example doctor: no OpenVINO" example_doctor_fails
check "example doctor: valgrind" example_doctor_memchecked
check "example jobs" example_jobs
check "example queue" example_queue
check "example search" example_search
check "example tools" example_tools
check "example models" example_models
check "example transcribe" example_transcribe
check "example transcribe: formats" example_transcribe_formats
check "example transcribe: Ctrl-C" example_transcribe_interrupted
check "example transcribe: failures" example_transcribe_fails
check "example two_models" example_two_models
check "example two_models: no recording" example_two_models_fails

check "early_exit: compiles" compile tests/c/early_exit.c $OUT/early_exit
check "early exit" early_exit

if [ "$(uname -m)" = x86_64 ]; then
    check "old_cpu: compiles" compile tests/c/old_cpu.c $OUT/old_cpu
    check "old processor" old_processor
fi

sum_up
