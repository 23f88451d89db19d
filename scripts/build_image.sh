#!/bin/sh
# Builds the image and prints its size.
#   scripts/build_image.sh [--variant gpu|cpu] [--tag TAG] [--bake MODEL_ID]... [--bake-from ADDRESS] [-- DOCKER BUILD OPTIONS]
#   scripts/build_image.sh --cuda-compat DEB [AS ABOVE]
# --variant: gpu if not given. --tag: sagemaker-object-detection:gpu or :cpu if not given. --bake puts a base model's weights
# into the image, --bake-from says where those of a single one come from. --cuda-compat names the file of NVIDIA's package
# cuda-compat-12-N, for hosts whose driver is too old for CUDA 12. Where pip and the proxies of this machine point is handed
# on to the build.
set -eu
# shellcheck source=scripts/arguments.sh
. "$(dirname "$0")/arguments.sh"

variant=gpu tag='' models='' address='' compat=''
while [ $# -gt 0 ]; do
    case $1 in
    --variant | --tag | --bake | --bake-from | --cuda-compat) needs_value "$@" ;;
    esac
    case $1 in
    --variant) variant=$2 && shift 2 ;;
    --tag) tag=$2 && shift 2 ;;
    --bake) models="${models:+$models }$2" && shift 2 ;;
    --bake-from) address=$2 && shift 2 ;;
    --cuda-compat) compat=$(absolute "$2") && shift 2 ;;
    --) shift && break ;;
    *) unknown "$1" ;;
    esac
done
case $variant in
cpu | gpu) ;;
*) fail "--variant is '$variant'; expected gpu or cpu" ;;
esac
[ -z "$compat" ] || [ -f "$compat" ] || fail "--cuda-compat: there is no file $compat; name that of NVIDIA's package"
tag=${tag:-sagemaker-object-detection:$variant}
cd "$(dirname "$0")/.."
command -v docker >/dev/null || fail "there is no docker command; install a Docker engine"
docker info >/dev/null 2>&1 || fail "no Docker engine answers; start it, or use a user who may talk to it"

# The builder sees only what lies in this folder.
if [ -n "$compat" ]; then
    trap 'rm -f container/cuda-compat.deb' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    cp "$compat" container/cuda-compat.deb
    set -- --build-arg CUDA_COMPAT=cuda-compat.deb "$@"
fi

# An index of pip's configuration, if the build could reach it: a folder of this machine is not there in it.
pip_setting() {
    python3 -m pip config get "$1" 2>/dev/null | grep -E '^https?://' || true
}
[ -n "${PIP_INDEX_URL:-}" ] || PIP_INDEX_URL=$(pip_setting global.index-url)
[ -n "${PIP_EXTRA_INDEX_URL:-}" ] || PIP_EXTRA_INDEX_URL=$(pip_setting global.extra-index-url)
export PIP_INDEX_URL PIP_EXTRA_INDEX_URL
for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST PIP_DEFAULT_TIMEOUT \
    http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    eval "value=\${$name:-}"
    # Without a value docker takes it from the environment, where `ps` does not show it.
    [ -z "$value" ] || set -- --build-arg "$name" "$@"
done

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' src/sagemaker_object_detection/__init__.py)
revision=$(git describe --always --abbrev=40 --dirty --exclude '*' 2>/dev/null || true)
# --force-rm: a builder without BuildKit keeps the container of a step that failed.
docker build --tag "$tag" --force-rm \
    --build-arg VARIANT="$variant" --build-arg BAKED_MODELS="$models" --build-arg BAKED_FROM="$address" \
    --build-arg VERSION="$version" --build-arg REVISION="$revision" "$@" .
bytes=$(docker image inspect --format '{{.Size}}' "$tag")
echo "image: $tag, $((bytes / 1000000)) MB"
