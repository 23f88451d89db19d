#!/bin/sh
# The tests that everything users rely on is held by (tests/README.md): the fast ones, which plain `pytest` runs, and the
# slow ones.
#   scripts/test.sh [--all] [PYTEST ARGUMENTS]
# --all is for the night: every kill moment, every family beside the reference, the whole demonstration, ten times the
# fuzzing, the image, and both SageMaker Python SDKs. What needs a Docker engine skips with a sentence where there is none.
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
    exec .venv/bin/python -m pytest -m "not nightly and not docker and not clients" "$@"
fi
SOD_FUZZ_SECONDS=${SOD_FUZZ_SECONDS:-200} .venv/bin/python -m pytest -m "not docker and not clients" "$@"
.venv/bin/python -m pytest -m docker -n 0 -rs "$@"
scripts/test_clients.sh sdk2 sdk3
