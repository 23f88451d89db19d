#!/bin/sh
# A training job in a container, from nothing: builds the image, makes sample data and trains on it without a network.
#   scripts/train_docker.sh [--variant cpu|gpu] [FOLDER]
# FOLDER stands for /opt/ml; without one it is demo/docker, made anew. The variant is gpu where nvidia-smi finds one.
set -eu
usage() {
    sed -n '3s/^# *//p' "$0" >&2
    exit 2
}

variant=cpu
nvidia-smi -L >/dev/null 2>&1 && variant=gpu
while [ $# -gt 0 ]; do
    case $1 in
    --variant)
        [ $# -ge 2 ] || usage
        variant=$2
        shift 2
        ;;
    -*) usage ;;
    *) break ;;
    esac
done
[ $# -le 1 ] || usage
here=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$here/demo/docker}
[ $# -eq 1 ] || rm -rf "$folder"
for part in input model output; do
    [ ! -e "$folder/$part" ] || {
        echo "train_docker: $folder/$part is there already; remove it, or name another folder" >&2
        exit 2
    }
done
"$here/scripts/build_image.sh" --variant "$variant"
image=sagemaker-object-detection:$variant

mkdir -p "$folder/input/config"
folder=$(cd "$folder" && pwd)
cat >"$folder/input/config/hyperparameters.json" <<'JSON'
{
  "model_id": "ssd_mobilenet_v2_fpnlite_320x320",
  "pretrained_weights": "none",
  "epochs": "3",
  "batch_size": "8",
  "learning_rate": "0.002",
  "learning_rate_schedule": "cosine"
}
JSON

# A container that is left alone trains on: it goes when this script does.
name=train-docker-$$
trap 'docker rm --force "$name" >/dev/null 2>&1 || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
in_image() {
    docker run --rm --name "$name" --network none --user "$(id -u):$(id -g)" --volume "$folder:/opt/ml" "$@"
}
in_image "$image" sample-data /opt/ml/input/data --images 80 --validation-images 16 --seed 1
if [ "$variant" = gpu ]; then in_image --gpus all "$image"; else in_image "$image"; fi
echo "model:    $folder/model"
echo "metrics:  $folder/output/data/metrics.json"
