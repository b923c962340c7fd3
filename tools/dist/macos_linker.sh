#!/usr/bin/env bash
# rustc's linker for what ships on macOS: takes llguidance's C functions out of the list of what the library exports.
# Apple's linker adds up several lists, and takes none of names to hide beside one of names to export.
set -euo pipefail

for argument in "$@"; do
    file=${argument##*,}    # -Wl,-exported_symbols_list,FILE, or the file as a word of its own
    case "$file" in
        */list) [ ! -f "$file" ] || sed -i.all '/^_llg_/d' "$file" ;;
    esac
done
exec cc "$@"
