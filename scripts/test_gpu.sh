#!/bin/sh
# The tests that need TensorFlow's wheels for GPUs, but no GPU: in .venv-gpu, made from gpu.lock (6.4 GB).
#   scripts/test_gpu.sh [PYTEST ARGUMENTS]
# The test tools come from test.lock. PYTHON chooses the interpreter (3.11: the locks are resolved for it).
set -eu
# shellcheck source=scripts/arguments.sh
. "$(dirname "$0")/arguments.sh"
cd "$(dirname "$0")/.."
python=${PYTHON:-python3.11}
environment=.venv-gpu
stamp=$environment/.installed
wanted=$(mktemp)
trap 'rm -f "$wanted"' EXIT
# All of gpu.lock, and what test.lock has besides. sagemaker-training and inotify-simple would have to be compiled, and
# only script mode asks for them.
awk 'BEGIN { known["sagemaker-training"]; known["inotify-simple"]; known["tensorflow-cpu"] }
     /^[^ #]/ { name = $1; sub(/==.*/, "", name); is_wanted = !(name in known); known[name] }
     is_wanted' gpu.lock test.lock >"$wanted"
if ! { [ -f "$stamp" ] && cmp -s "$wanted" "$stamp"; }; then
    if [ ! -x "$environment/bin/python" ]; then
        free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1024 / 1024) }')
        [ "$free" -ge 10 ] || fail "$environment takes 10 GB of disk while it is made, and $free GB are free"
        "$python" -m venv "$environment"
    fi
    echo "test_gpu: installing gpu.lock and the test tools into $environment (6.4 GB, some minutes the first time)"
    # Without pip's cache: it would keep another 3 GB.
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps \
        --require-hashes --only-binary :all: -r "$wanted"
    cp "$wanted" "$stamp"
fi
PYTHONPATH=src "$environment/bin/python" -m pytest -o testpaths=tests/gpu -m gpu_wheels "$@"
