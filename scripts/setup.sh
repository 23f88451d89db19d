#!/bin/sh
# Makes .venv with the locked dependencies and this package; does nothing where that is up to date.
#   scripts/setup.sh
# --no-deps, because tf_keras asks for tensorflow where tensorflow-cpu is (scripts/lock.sh).
# PYTHON chooses the interpreter (3.11 or newer; the locks are resolved for 3.11).
set -eu
# shellcheck source=scripts/arguments.sh
. "$(dirname "$0")/arguments.sh"
[ $# -eq 0 ] || unknown "$1"
cd "$(dirname "$0")/.."
python=${PYTHON:-python3.11}
command -v "$python" >/dev/null || python=python3
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "setup: needs Python 3.11 or newer; $python is $("$python" -V 2>&1). Set PYTHON to one." >&2
    exit 2
}
stamp=.venv/.installed
if [ -f "$stamp" ] && cmp -s test.lock "$stamp"; then exit 0; fi
[ -x .venv/bin/python ] || "$python" -m venv .venv
echo "setup: installing the locked dependencies into .venv (about 2 GB, some minutes the first time)"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r test.lock
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
cp test.lock "$stamp"
