#!/usr/bin/env bash
# What a stranger's first five minutes are like: a bare Debian 12 with git and make, a clone, an emptied
# environment, `make demo` and `make demo` again, both timed.
#
#   tools/check-fresh-debian.sh [FOLDER [GOAL...]]      (root; package debootstrap; 6 GB)
#
# FOLDER (default: a new one in /var/tmp, removed at the end) keeps the machine for a look inside; what is
# checked is HEAD, committed. How this machine reaches its package archives (apt, pip and cargo settings, proxy,
# certificates) is taken over, so that the check also runs behind a mirror.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)

die() { printf 'check-fresh: %s\n' "$*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || die "needs root (chroot)"
command -v debootstrap >/dev/null || die "needs debootstrap: apt-get install debootstrap"

if [ $# -gt 0 ]; then
    folder=$(realpath -m "$1") keep=yes
    shift
else
    folder=$(mktemp -d /var/tmp/fresh-debian.XXXXXX) keep=no
fi
goals=("${@:-demo}")
root=$folder/root
mkdir -p "$root"

leave() { [ $keep = yes ] || rm -rf "$folder"; }
trap leave EXIT

copy() {   # copy PATH...: each that exists, to the same place in the chroot
    local path
    for path in "$@"; do
        [ -e "$path" ] || continue
        mkdir -p "$root$(dirname "$path")"
        cp -aL "$path" "$root$(dirname "$path")/"
    done
}

# The archive this machine's own apt uses for its release.
debian_archive() {
    # shellcheck disable=SC2016  # apt's own words
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
        awk '$2 == "bookworm" && $3 == "main" { print $1; exit }'
}

# Certificates that this machine trusts beyond the packaged ones (a company's proxy, say).
copy_own_certificates() {
    local bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
    [ -s "$bundle" ] || return 0
    mkdir -p "$root/usr/local/share/ca-certificates"
    copy /usr/local/share/ca-certificates
    python3 - "$bundle" "$root/usr/local/share/ca-certificates" <<'PYTHON'
import pathlib, re, sys
pem = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.S)
squeeze = lambda text: re.sub(r"\s", "", text)
known = set()
for place in ("/usr/share/ca-certificates", "/usr/local/share/ca-certificates"):
    for file in pathlib.Path(place).rglob("*.crt"):
        known |= {squeeze(found) for found in pem.findall(file.read_text(errors="replace"))}
found = pem.findall(pathlib.Path(sys.argv[1]).read_text(errors="replace"))
for number, certificate in enumerate(c for c in found if squeeze(c) not in known):
    pathlib.Path(sys.argv[2], f"of-the-host-{number}.crt").write_text(certificate + "\n")
PYTHON
}

make_machine() {
    if [ -e "$folder/made" ]; then return; fi
    local archive
    archive=$(debian_archive)
    echo "== debootstrap"
    # Nothing but what an installed Debian has to have.
    debootstrap --variant=minbase bookworm "$root" ${archive:+"$archive"} >"$folder/debootstrap.log" ||
        die "debootstrap failed, see $folder/debootstrap.log"
    rm -f "$root/etc/apt/sources.list"
    # Archives and how to reach them; not this machine's hooks and cleaning habits.
    copy /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/trusted.gpg /etc/apt/trusted.gpg.d /etc/apt/keyrings
    copy /etc/apt/auth.conf /etc/apt/auth.conf.d /usr/share/keyrings
    apt-config dump | grep -E '^Acquire::(http|https|Check|ForceIPv4|Retries)' >"$root/etc/apt/apt.conf.d/90of-the-host" || :
    copy /etc/pip.conf /etc/resolv.conf /etc/hosts
    copy "$HOME/.config/pip" "$HOME/.pip" "$HOME/.cargo/config.toml" "$HOME/.cargo/config" "$HOME/.cargo/credentials.toml"
    copy_own_certificates
    touch "$folder/made"
}

# Runs a command in the new machine. Its mounts live in a namespace of their own and end with the command, so
# none is left to be removed with the folder. Proxies are named in the environment and nowhere else: they pass.
inside() {
    local name environment=(HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY; do
        [ -z "${!name:-}" ] || environment+=("$name=${!name}")
    done
    # shellcheck disable=SC2016  # expanded by the inner shell
    env -i "${environment[@]}" unshare --mount --pid --kill-child sh -euc '
        root=$1; shift
        mount -t proc proc "$root/proc"
        mount --bind /dev "$root/dev"
        mount -t tmpfs tmpfs "$root/dev/shm"
        exec chroot "$root" "$@"' sh "$root" "$@" </dev/null
}

timed() {
    local start=$SECONDS
    echo "== $*"
    "$@" || die "failed after $((SECONDS - start)) s: $*"
    echo "== $((SECONDS - start)) s: $*"
    report+=("$((SECONDS - start)) s: make ${*:5}")
}

report=()
make_machine
echo "== git and make"
inside sh -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends git make' \
    >"$folder/git-and-make.log" 2>&1 || die "git and make could not be installed, see $folder/git-and-make.log"
rm -rf "$root/root/libfluid"
git clone --quiet "$repository" "$root/root/libfluid"
for goal in "${goals[@]}" "${goals[-1]}"; do
    timed inside make -C /root/libfluid "$goal"
done
du -sh "$root" | awk '{ print "== disk in all: " $1 }'
printf '== %s\n' "${report[@]}"
