#!/bin/sh
# The table of speeds: every part of a job, and what it is held against, measured side by side (tests/benchmarks/speed.py).
#   scripts/benchmark.sh [--only ROW,...] [--repeat N] [--json FILE] [--work DIR] [--quick]
# The peers (KerasHub, libjpeg-turbo, OpenCV) live in an environment of their own, .venv-peers, made from peers.lock. It
# takes about an hour on two cores, on which nothing else should run. PYTHON chooses the interpreter of that environment
# (3.11: the lock is resolved for it).
set -eu
# shellcheck source=scripts/arguments.sh
. "$(dirname "$0")/arguments.sh"
cd "$(dirname "$0")/.."
scripts/setup.sh
environment=.venv-peers
stamp=$environment/.installed
if ! { [ -f "$stamp" ] && cmp -s peers.lock "$stamp"; }; then
    [ -x "$environment/bin/python" ] || "${PYTHON:-python3.11}" -m venv "$environment"
    echo "benchmark: installing the locked dependencies into $environment (about 1 GB)" >&2
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
        -r peers.lock
    cp peers.lock "$stamp"
fi
exec .venv/bin/python tests/benchmarks/speed.py "$@"
