#!/bin/sh
# Every test: first the fast ones (what plain `pytest` runs), then those that train for minutes, then those that build the
# image and run it, which skip with a sentence where there is no Docker engine.
#   scripts/test.sh [PYTEST ARGUMENTS]
set -eu
# shellcheck source=scripts/arguments.sh
. "$(dirname "$0")/arguments.sh"
cd "$(dirname "$0")/.."
scripts/setup.sh
.venv/bin/python -m pytest "$@"
.venv/bin/python -m pytest -m slow "$@"
.venv/bin/python -m pytest -m docker -n 0 -rs "$@"
