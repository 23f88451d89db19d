#!/bin/sh
# The tests of exported files that need MediaPipe, in .venv-runtimes, made from runtimes.lock (2 GB):
#   scripts/test_runtimes.sh [PYTEST ARGUMENTS]
# PYTHON chooses the interpreter (3.11: the lock is resolved for it).
set -eu
# shellcheck source=scripts/arguments.sh
. "$(dirname "$0")/arguments.sh"
cd "$(dirname "$0")/.."
environment=.venv-runtimes
stamp=$environment/.installed
if ! { [ -f "$stamp" ] && cmp -s runtimes.lock "$stamp"; }; then
    [ -x "$environment/bin/python" ] || "${PYTHON:-python3.11}" -m venv "$environment"
    echo "test_runtimes: installing the locked dependencies into $environment (2 GB, some minutes the first time)"
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
        -r runtimes.lock
    cp runtimes.lock "$stamp"
fi
PYTHONPATH=src "$environment/bin/python" -m pytest -o testpaths=tests/runtimes -m runtimes "$@"
