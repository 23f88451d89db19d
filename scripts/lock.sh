#!/bin/sh
# Resolves pyproject.toml into the lock files. Run it after changing a dependency, and commit what it writes.
#   cpu.lock, gpu.lock   what an image installs
#   test.lock            cpu.lock and the test tools
# tf_keras asks for `tensorflow`, whose place tensorflow-cpu takes in two of them: it is left out of the file, and so the
# locks are installed with --no-deps, as scripts/setup.sh does.
set -eu
cd "$(dirname "$0")/.."
.venv/bin/python -m pip install --quiet --disable-pip-version-check uv
resolve() {
    .venv/bin/uv pip compile pyproject.toml --quiet --generate-hashes --no-emit-index-url --no-header \
        --python-version 3.11 --python-platform x86_64-manylinux_2_28 "$@"
}
resolve --extra cpu --no-emit-package tensorflow -o cpu.lock
resolve --extra gpu --constraint cpu.lock -o gpu.lock
resolve --extra cpu --extra test --no-emit-package tensorflow --constraint cpu.lock -o test.lock
