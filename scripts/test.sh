#!/bin/sh
# Every test: first the fast ones (what plain `pytest` runs), then those that train for minutes.
set -eu
cd "$(dirname "$0")/.."
scripts/setup.sh
.venv/bin/python -m pytest "$@"
.venv/bin/python -m pytest -m slow "$@"
