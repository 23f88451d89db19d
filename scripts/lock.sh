#!/bin/sh
# Resolves pyproject.toml into the lock files. Run it after changing a dependency, and commit what it writes.
#   scripts/lock.sh
#   cpu.lock, gpu.lock   what an image installs
#   test.lock            the test tools and what they test: no sagemaker-training, which would need a C compiler
#   sdk2.lock, sdk3.lock the SageMaker Python SDKs that tests/clients uses
#   runtimes.lock        the runtimes that tests/runtimes and tests/benchmarks/cpu_runtimes.py run
#   peers.lock           what tests/benchmarks/speed.py measures this package against
#   audit.lock           what scripts/audit.sh runs
# tf_keras asks for `tensorflow`, whose place tensorflow-cpu takes in two of them: it is left out of the file, and so the
# locks are installed with --no-deps, as scripts/setup.sh does. KerasHub asks for it through tensorflow-text, which
# no detector needs: both are left out of the peers' lock.
set -eu
# shellcheck source=scripts/arguments.sh
. "$(dirname "$0")/arguments.sh"
[ $# -eq 0 ] || unknown "$1"
cd "$(dirname "$0")/.."
.venv/bin/python -m pip install --quiet --disable-pip-version-check uv
resolve() {
    .venv/bin/uv pip compile pyproject.toml --quiet --generate-hashes --no-emit-index-url --no-header \
        --python-version 3.11 --python-platform x86_64-manylinux_2_28 "$@"
}
resolve --extra cpu --extra image --no-emit-package tensorflow -o cpu.lock
resolve --extra gpu --extra image --constraint cpu.lock -o gpu.lock
resolve --extra cpu --extra test --no-emit-package tensorflow --constraint cpu.lock -o test.lock
resolve tests/runtimes/runtimes.in --extra cpu --extra test --no-emit-package tensorflow \
    --constraint test.lock -o runtimes.lock
resolve_for() { # FOLDER NAME [OPTIONS]
    input=$1/$2.in lock=$2.lock
    shift 2
    .venv/bin/uv pip compile "$input" --quiet --generate-hashes --no-emit-index-url --no-header \
        --python-version 3.11 --python-platform x86_64-manylinux_2_28 "$@" -o "$lock"
}
resolve_for tests/clients sdk2
resolve_for tests/clients sdk3
resolve_for tests/benchmarks peers --no-emit-package tensorflow --no-emit-package tensorflow-text
resolve_for scripts audit
