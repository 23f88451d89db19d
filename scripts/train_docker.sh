#!/bin/sh
# A training job in a container, from nothing: builds the image, makes sample data and trains on it without a network.
#   scripts/train_docker.sh [--variant cpu|gpu] [--image IMAGE] [FOLDER]
# FOLDER stands for /opt/ml; without one it is demo/docker, made anew. The variant is gpu where nvidia-smi finds one. What is
# built is tagged sagemaker-object-detection:demo-cpu or :demo-gpu, beside the images of build_image.sh. With --image nothing
# is built, and that image of this machine is run: with the GPU where there is one, unless it is the cpu variant.
set -eu
# shellcheck source=scripts/arguments.sh
. "$(dirname "$0")/arguments.sh"

variant='' image=''
while [ $# -gt 0 ]; do
    case $1 in
    --variant | --image) needs_value "$@" ;;
    esac
    case $1 in
    --variant) variant=$2 && shift 2 ;;
    --image) image=$2 && shift 2 ;;
    -*) unknown "$1" ;;
    *) break ;;
    esac
done
[ $# -le 1 ] || unknown "$2"
case $variant in
cpu | gpu | '') ;;
*) fail "--variant is '$variant'; expected gpu or cpu" ;;
esac
here=$(cd "$(dirname "$0")/.." && pwd)
folder=$here/demo/docker
if [ $# -eq 1 ]; then
    [ -n "$1" ] || fail "FOLDER is empty; name a folder, or leave it out for demo/docker"
    folder=$(absolute "$1")
    is_free "$folder"
fi
case $folder in
*:*) fail "the folder is '$folder', which docker cannot mount for its colon; name another folder" ;;
esac

if [ -n "$image" ]; then
    docker info >/dev/null 2>&1 || fail "no Docker engine answers; install or start one, or use a user who may talk to it"
    label='{{index .Config.Labels "sagemaker-object-detection.variant"}}'
    built_as=$(docker image inspect --format "$label" "$image" 2>/dev/null) ||
        fail "there is no image '$image' on this machine; pull it, build it with build_image.sh, or leave --image out"
else
    built_as=''
fi
if [ -z "$variant" ]; then
    variant=cpu
    [ "$built_as" = cpu ] || ! nvidia-smi -L >/dev/null 2>&1 || variant=gpu
fi
if [ -z "$image" ]; then
    image=sagemaker-object-detection:demo-$variant
    "$here/scripts/build_image.sh" --variant "$variant" --tag "$image"
fi

[ $# -eq 1 ] || rm -rf "$folder"
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
# NCCL, with which several GPUs exchange gradients, needs more shared memory than Docker's 64 MB.
if [ "$variant" = gpu ]; then in_image --gpus all --shm-size 1g "$image"; else in_image "$image"; fi
echo "model:    $folder/model"
echo "metrics:  $folder/output/data/metrics.json"
echo "report:   $folder/output/data/report.html"
