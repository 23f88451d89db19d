#!/bin/sh
# Runs the fast tests, which plain pytest runs, and the slow ones: tests/README.md.
#   scripts/test.sh [--all] [PYTEST ARGUMENTS]
# --all is for the night: many moments of a kill, every family beside the reference, the whole demonstration, ten times
# the fuzzing, the image, both SageMaker Python SDKs, what a GPU would run, and other runtimes. Tests that need a Docker engine skip
# without one, and say so.
set -eu
# shellcheck source=scripts/arguments.sh
. "$(dirname "$0")/arguments.sh"
cd "$(dirname "$0")/.."
all=
if [ "${1:-}" = --all ]; then
    all=yes
    shift
fi
scripts/setup.sh
if [ -z "$all" ]; then
    exec .venv/bin/python -m pytest -m "not nightly and not docker and not clients and not gpu_wheels and not runtimes" "$@"
fi
# A failure of one part does not keep the others from running. 5: the arguments select none of its tests.
failed=0
export SOD_FUZZ_SECONDS="${SOD_FUZZ_SECONDS:-300}"
.venv/bin/python -m pytest -m "not docker and not clients and not gpu_wheels and not runtimes" "$@" || [ $? = 5 ] || failed=1
.venv/bin/python -m pytest -m docker "$@" -n 0 || [ $? = 5 ] || failed=1
if [ $# -eq 0 ]; then
    scripts/test_clients.sh sdk2 sdk3 || failed=1
    scripts/test_gpu.sh || failed=1
    scripts/test_runtimes.sh || failed=1
fi
exit "$failed"
