#!/bin/sh
# The main job on a machine with nothing but Python: sample data, training from random weights through the real `train`,
# and pictures of what the model found.
#   scripts/demo.sh [--epochs N] [FOLDER]
# Everything it makes lies in FOLDER; without one in demo/, made anew. Ten epochs, or fewer for a quicker look at it.
set -eu
# shellcheck source=scripts/arguments.sh
. "$(dirname "$0")/arguments.sh"
epochs=10
if [ "${1:-}" = --epochs ]; then
    needs_value "$@"
    matches "$2" '[0-9]+' || fail "--epochs: got '$2'; expected a whole number"
    epochs=$2
    shift 2
fi
case ${1:-} in -*) unknown "$1" ;; esac
[ $# -le 1 ] || unknown "$2"
root=demo
if [ $# -eq 1 ]; then
    [ -n "$1" ] || fail "FOLDER is empty; name a folder, or leave it out for demo/"
    root=$(absolute "$1")
    is_free "$root"
fi
cd "$(dirname "$0")/.."
scripts/setup.sh
tool() { .venv/bin/python -m sagemaker_object_detection "$@"; }

# The environment has the CPU's TensorFlow, which on a machine with a GPU would refuse to train.
export CUDA_VISIBLE_DEVICES=-1

[ $# -eq 1 ] || rm -rf demo/input demo/model demo/output
mkdir -p "$root/input/config"
tool sample-data "$root/input/data" --images 400 --seed 1
cat >"$root/input/config/hyperparameters.json" <<JSON
{
  "model_id": "ssd_mobilenet_v2_fpnlite_320x320",
  "pretrained_weights": "none",
  "epochs": "$epochs",
  "batch_size": "8",
  "learning_rate": "0.001",
  "learning_rate_schedule": "cosine"
}
JSON
PATH="$PWD/.venv/bin:$PATH" container/train --root "$root"

set -- # the first six validation images
for image in "$root"/input/data/validation/images/*.jpg; do
    [ $# -ge 6 ] || set -- "$@" "$image"
done
tool predict --model "$root/model" --draw "$root/output/data/pictures" "$@" >"$root/output/data/predictions.jsonl"
echo "model:    $root/model"
echo "metrics:  $root/output/data/metrics.json"
echo "report:   $root/output/data/report.html"
for picture in "$root"/output/data/pictures/*; do echo "picture:  $picture"; done
