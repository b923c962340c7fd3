#!/usr/bin/env bash
# Runs the parts of the test suite that are named, goes on after one that fails, and counts.
# The last line is `N passed, M failed`; any failure, and a part without a test, fails the run.
#
#   tools/run_tests.sh rust python c cpp python_binding csharp server install
set -uo pipefail
cd "$(dirname "$0")/.." || exit
unset MAKEFLAGS MFLAGS

# `--workspace` everywhere: see the Makefile.
run_rust() { cargo test --release --locked --workspace --features fake --no-fail-fast; }
# numpy and OpenVINO are in .venv alone.
run_python() { .venv/bin/python -m unittest discover -v -s tools; }
# The C programs and the clients get library and server as they ship, without the scripted backend; it is
# what stays built.
build_what_ships() { bash tools/build.sh build --release --locked --workspace; }
run_c() { build_what_ships && bash tests/c/run.sh; }
run_cpp() { build_what_ships && bash tests/cpp/run.sh; }
run_python_binding() { build_what_ships && .venv/bin/python -m unittest discover -v -s bindings/python/tests; }
run_csharp() { build_what_ships && bash tests/csharp/run.sh; }
run_server() {
    local code=0 clients=examples/server/tests/clients
    build_what_ships || return
    .venv/bin/python -m unittest discover -v -s $clients || code=1
    node --test --test-reporter=tap $clients/*.test.mjs || code=1
    return $code
}
run_install() { build_what_ships && .venv/bin/python -m unittest discover -v -s tests/install; }

# Each kind of log, turned into `PASSED FAILED`.
count() {
    awk '
        /^test result:/          { passed += $4; failed += $6 }               # cargo
        /^Ran [0-9]+ tests? in/  { ran += $2 }                                # unittest
        /^FAILED \(/             { while (match($0, /(failures|errors)=[0-9]+/)) {
                                       split(substr($0, RSTART, RLENGTH), part, "=")
                                       bad += part[2]
                                       $0 = substr($0, RSTART + RLENGTH) } }
        /^OK \(skipped=|skipped=/ { if (match($0, /skipped=[0-9]+/)) ran -= substr($0, RSTART + 8, RLENGTH - 8) }
        /^# pass [0-9]+$/        { passed += $3 }                              # node
        /^# (fail|cancelled) [0-9]+$/ { failed += $3 }
        /^[0-9]+ passed, [0-9]+ failed$/ { passed += $1; failed += $3 }       # ours
        END { print passed + ran - bad, failed + bad }' "$1"
}

logs=target/test-logs
mkdir -p $logs
total_passed=0 total_failed=0 broken=()
for part in "$@"; do
    printf '\n== %s tests\n' "$part"
    "run_$part" 2>&1 </dev/null | tee "$logs/$part.log"
    code=${PIPESTATUS[0]}
    read -r passed failed < <(count "$logs/$part.log")
    # A part that ends badly without a failed test (it did not compile, it crashed) is one failure.
    if [ "$failed" -eq 0 ] && { [ "$code" -ne 0 ] || [ "$passed" -eq 0 ]; }; then
        failed=1
        printf '%s: ended with code %d, %d tests passed, none counted as failed\n' "$part" "$code" "$passed"
    fi
    [ "$failed" -eq 0 ] || broken+=("$part")
    total_passed=$((total_passed + passed)) total_failed=$((total_failed + failed))
done

[ ${#broken[@]} -eq 0 ] || printf '\nfailed: %s (logs in %s)\n' "${broken[*]}" "$logs"
printf '%d passed, %d failed\n' $total_passed $total_failed >$logs/total
echo
cat $logs/total
[ $total_failed -eq 0 ]
