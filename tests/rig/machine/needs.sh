#!/bin/bash
# What the rig needs of the machine that it runs on. Exit code 0: all is there (it may have been installed just now);
# 1: something is missing, said in one line.
set -euo pipefail

packages="qemu-system-x86 qemu-utils mmdebstrap e2fsprogs gcc-12 make xz-utils"
commands="qemu-system-x86_64 qemu-img mmdebstrap mke2fs gcc-12 make xz"

missing() {
    local command found=""
    for command in $commands; do
        command -v "$command" >/dev/null || found="$found $command"
    done
    echo "$found"
}

[ -z "$(missing)" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "the rig needs$(missing): on Debian 12, as root, apt-get install $packages"
    exit 1
fi
log="$(mktemp)"
# shellcheck disable=SC2086
if ! { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends $packages; } >"$log" 2>&1; then
    echo "the rig needs$(missing), and apt-get could not install them: $(tail -1 "$log")"
    exit 1
fi
rm -f "$log"
[ -z "$(missing)" ] || { echo "the rig needs$(missing), which its packages did not bring"; exit 1; }
