#!/usr/bin/env bash
# Prints a Python 3.11 or 3.12 that can make a virtual environment. PYTHON_BIN, if set, is the only candidate.
# Each candidate is run rather than looked at: a pyenv shim exists on PATH also when nothing is behind it.
set -u
probe='import sys, venv, ensurepip; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))'

if [ -n "${PYTHON_BIN:-}" ]; then
    candidates=("$PYTHON_BIN")
else
    shopt -s nullglob
    candidates=(python3.11 /usr/bin/python3.11 /usr/local/bin/python3.11
                "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.11.*/bin/python
                python3.12 /usr/bin/python3.12 /usr/local/bin/python3.12
                "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12.*/bin/python
                "$HOME"/.local/share/uv/python/cpython-3.1[12].*/bin/python3
                python3 python)
fi
for candidate in "${candidates[@]}"; do
    if path=$(command -v "$candidate") && "$path" -c "$probe" >/dev/null 2>&1; then
        echo "$path"
        exit 0
    fi
done
echo "setup: no Python 3.11 or 3.12 with the venv module was found (${PYTHON_BIN:-PATH, pyenv, uv})." \
     "Fix: install one (Debian, Ubuntu: apt install python3.11-venv python3.11-dev), or name one:" \
     "PYTHON_BIN=/path/to/python3.11 make setup." >&2
exit 1
