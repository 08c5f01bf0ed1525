#!/usr/bin/env bash
# The environment, from a complete lock: install.sh PYTHON VENV LOCK. Called by `make install`.
set -euo pipefail
python=$1 venv=$2 lock=$3

command -v "$python" >/dev/null || {
    echo "install: $python is missing; install it (Debian: apt-get install python3.11 python3.11-venv) or set PYTHON="
    exit 2
}
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
    echo "install: $python is not Python 3.11, the version both locks are made for; set PYTHON=/path/to/python3.11"
    exit 2
}
[[ -x $venv/bin/python ]] || "$python" -m venv "$venv" || {
    echo "install: cannot make $venv; the venv module is missing (Debian: apt-get install python3.11-venv)"
    exit 2
}

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@" 2> >(grep -v 'is ignored: it is neither' >&2); }

echo "install: $(grep -c == "$lock") packages from $lock (a few minutes, once)"
# The lock is complete, so nothing may be added to it: --no-deps.
torch=$(grep '^torch==' "$lock")
if [[ $torch == *+cpu ]]; then
    # The CPU build is not on the main index; only an ordinary machine needs to be told where it is.
    pip install --quiet --no-deps "$torch" 2>/dev/null ||
        pip install --quiet --no-deps "$torch" --index-url https://download.pytorch.org/whl/cpu
fi
pip install --quiet --no-deps -r "$lock"
echo "install: done"
