#!/bin/sh
# The tests of the SageMaker Python SDKs, each in a virtual environment of its own, made from its lock:
#   scripts/test_clients.sh               SDK v2
#   scripts/test_clients.sh sdk2 sdk3     and v3, whose environment is large
#   scripts/test_clients.sh --smoke sdk2  one fit of v2, as .ci/run has it for every change
# Those that run the image need an engine, on which they build it, and docker-compose, and skip with a sentence where
# there is none. PYTHON chooses the interpreter (3.11: the locks are resolved for it).
set -eu
# shellcheck source=scripts/arguments.sh
. "$(dirname "$0")/arguments.sh"
marks=clients
if [ "${1:-}" = --smoke ]; then
    marks='clients and smoke'
    shift
fi
[ $# -gt 0 ] || set -- sdk2
for sdk in "$@"; do
    case $sdk in
    sdk2 | sdk3) ;;
    *) unknown "$sdk" ;;
    esac
    [ "$marks" = clients ] || [ "$sdk" = sdk2 ] || fail "--smoke: only sdk2 has such a test; leave out $sdk, or --smoke"
done
cd "$(dirname "$0")/.."
python=${PYTHON:-python3.11}
for sdk in "$@"; do
    environment=.venv-$sdk
    stamp=$environment/.installed
    if ! { [ -f "$stamp" ] && cmp -s "$sdk.lock" "$stamp"; }; then
        [ -x "$environment/bin/python" ] || "$python" -m venv "$environment"
        echo "test_clients: installing the locked dependencies into $environment (300 MB for v2, 1 GB for v3)"
        "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
            -r "$sdk.lock"
        cp "$sdk.lock" "$stamp"
    fi
    # The options of pyproject.toml are for .venv, which has pytest-xdist.
    PYTHONPATH=src "$environment/bin/python" -m pytest -o addopts=--strict-markers -m "$marks" -rs \
        tests/clients/test_"$sdk"*.py
done
