#!/usr/bin/env bash
# Makes .venv-peers-NAME, the environment of a peer that our own cannot have beside it, from its requirements.txt.
# Arguments: NAME, and the versions of Python that it runs on, the best first. What cannot be made is told and no
# mistake: its tests are skipped then.
set -euo pipefail
cd "$(dirname "$0")/../.."
name="$1"
shift
venv=".venv-peers-$name"
wanted="tests/peers/$name/requirements.txt"
cmp -s "$wanted" "$venv/done" && exit 0

for version in "$@"; do
    for python in "$(command -v "python$version" || true)" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
        "$python" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null || continue
        rm -rf "$venv"
        if "$python" -m venv "$venv" && "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$wanted"; then
            cp "$wanted" "$venv/done"
            exit 0
        fi
    done
done
echo "$name: its packages cannot be installed here (Python $*); its tests are skipped"
