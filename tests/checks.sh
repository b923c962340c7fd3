# shellcheck shell=bash
# What the runners of compiled tests share; to be sourced. They set OUT, a folder for what is written, and
# PATTERN, part of the names of the tests that are wanted.

passed=0 failed=0

stop() { printf '%s: %s\n' "$(dirname "$0")" "$*" >&2; exit 1; }

# The test NAME is that the command ends with 0. What it printed is shown only if not.
check() {   # check NAME COMMAND...
    local name=$1 since=$SECONDS code=0
    shift
    case "$name" in *"$PATTERN"*) ;; *) return 0 ;; esac
    "$@" >"$OUT/log" 2>&1 </dev/null || code=$?
    if [ $code -eq 0 ]; then
        printf 'ok %s (%d s)\n' "$name" $((SECONDS - since))
        passed=$((passed + 1))
    else
        printf 'FAILED %s (code %d)\n' "$name" $code
        sed 's/^/    /' "$OUT/log" | head -n 60
        failed=$((failed + 1))
    fi
}

# As `timeout`, and nothing may be printed: neither a test that passes nor the library says a word.
silent() {   # silent SECONDS COMMAND...
    local code=0 text
    text=$(timeout "$@" 2>&1) || code=$?
    [ -z "$text" ] || printf 'printed: %s\n' "$text"
    [ $code -eq 0 ] && [ -z "$text" ]
}

fails() { ! "$@"; }

# Each function that include/fluid.h declares, a line each.
declared_functions() {
    printf '#include "fluid.h"\n' | "${CC:-gcc}" -E -P -Iinclude -x c - | grep -o 'fluid_[a-z_]* *(' | tr -d ' (' | sort -u
}

# The last line that tools/run_tests.sh counts by.
sum_up() {
    printf '%d passed, %d failed\n' $passed $failed
    [ $failed -eq 0 ]
}
