#!/bin/sh
# The main job on a machine with nothing but Python: sample data, training from random weights through the real `train`,
# and a picture of what the model found. Everything it makes lies in demo/ (or the folder given as $1).
set -eu
cd "$(dirname "$0")/.."
scripts/setup.sh
root=${1:-demo}
tool() { .venv/bin/python -m sagemaker_object_detection "$@"; }

# The environment has the CPU's TensorFlow, which on a machine with a GPU would refuse to train.
export CUDA_VISIBLE_DEVICES=-1

rm -rf "$root"
mkdir -p "$root/input/config"
tool sample-data "$root/input/data" --images 400 --seed 1
cat >"$root/input/config/hyperparameters.json" <<'JSON'
{
  "model_id": "ssd_mobilenet_v2_fpnlite_320x320",
  "pretrained_weights": "none",
  "epochs": "10",
  "batch_size": "8",
  "learning_rate": "0.001",
  "learning_rate_schedule": "cosine"
}
JSON
PATH="$PWD/.venv/bin:$PATH" container/train --root "$root"

# Names without blanks, made by sample-data: the first six validation images.
images=$(find "$root/input/data/validation/images" -name '*.jpg' | sort | head -n 6)
# shellcheck disable=SC2086
tool predict --model "$root/model" --draw "$root/output/data/pictures" $images >"$root/output/data/predictions.jsonl"
echo "model:    $root/model"
echo "metrics:  $root/output/data/metrics.json"
for picture in "$root"/output/data/pictures/*; do echo "picture:  $picture"; done
