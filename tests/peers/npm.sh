#!/usr/bin/env bash
# Makes .venv-peers-NAME of a peer that npm has, from its package.json. Argument: NAME. What cannot be made is told
# and no mistake: its tests are skipped then.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=".venv-peers-$1"
wanted="tests/peers/$1/package.json"
cmp -s "$wanted" "$folder/done" && exit 0

rm -rf "$folder"
mkdir "$folder"
cp "$wanted" "$folder/package.json"
if npm install --prefix "$folder" --no-fund --no-audit --loglevel=error; then
    cp "$wanted" "$folder/done"
else
    echo "$1: its packages cannot be installed here (npm); its tests are skipped"
fi
