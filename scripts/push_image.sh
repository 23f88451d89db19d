#!/bin/sh
# Pushes an image to Amazon ECR, making the repository where there is none, and prints the address that jobs name.
#   scripts/push_image.sh [--image TAG] [--region REGION] [--account ID] [--repository NAME] [--tag TAG] [--dry-run]
# --image: what to push (sagemaker-object-detection:gpu). --region, --account: $AWS_REGION and the account of the credentials,
# if not given. --repository, --tag: the name there, that of the image if not given. --dry-run prints the commands and runs none.
set -eu
# shellcheck source=scripts/arguments.sh
. "$(dirname "$0")/arguments.sh"

image=sagemaker-object-detection:gpu
region=${AWS_REGION:-${AWS_DEFAULT_REGION:-}} account='' repository='' tag='' dry_run=''
while [ $# -gt 0 ]; do
    case $1 in
    --image | --region | --account | --repository | --tag) needs_value "$@" ;;
    esac
    case $1 in
    --image) image=$2 && shift 2 ;;
    --region) region=$2 && shift 2 ;;
    --account) account=$2 && shift 2 ;;
    --repository) repository=$2 && shift 2 ;;
    --tag) tag=$2 && shift 2 ;;
    --dry-run) dry_run=1 && shift ;;
    *) unknown "$1" ;;
    esac
done
path='[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*(/[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*)*'
word='[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}'
case $image in
*@*) fail "--image is '$image'; expected a name with a tag, not a digest" ;;
esac
case ${image##*/} in # a colon before the last slash is a port's
*:*) ;;
*) image=$image:latest ;;
esac
matches "$image" "([A-Za-z0-9.-]+(:[0-9]+)?/)?$path:$word" ||
    fail "--image is '$image'; expected the name of an image on this machine, such as sagemaker-object-detection:cpu"
tag=${tag:-${image##*:}}
repository=${repository:-$(basename "${image%:*}")}
matches "$tag" "$word" ||
    fail "the tag is '$tag'; expected at most 128 letters, digits, dots, hyphens and underscores, such as 1.0: give --tag"
# As ECR's own description has it.
{ matches "$repository" "$path" && [ ${#repository} -ge 2 ] && [ ${#repository} -le 256 ]; } ||
    fail "the repository is '$repository'; expected 2 to 256 lowercase letters and digits, with dots, hyphens," \
        "underscores and slashes between them, such as team/detector: give --repository"
if [ -z "$dry_run" ]; then
    command -v aws >/dev/null || fail "there is no aws command; install the AWS command line interface"
    command -v docker >/dev/null || fail "there is no docker command; install a Docker engine"
    [ -n "$region" ] || region=$(aws configure get region || true)
fi
[ -n "$region" ] || fail "no region: give --region, or set AWS_REGION"
matches "$region" '[a-z]+(-[a-z]+)+-[0-9]+' ||
    fail "the region is '$region'; expected one such as eu-west-1: give --region or set AWS_REGION"
if [ -z "$account" ]; then
    [ -z "$dry_run" ] || fail "no account: --dry-run asks nobody, so give --account"
    account=$(aws sts get-caller-identity --region "$region" --query Account --output text)
fi
matches "$account" '[0-9]{12}' || fail "the account is '$account'; expected 12 digits"
case $region in # every partition of AWS has a domain of its own
cn-*) domain=amazonaws.com.cn ;;
us-iso-*) domain=c2s.ic.gov ;;
us-isob-*) domain=sc2s.sgov.gov ;;
us-isof-*) domain=csp.hci.ic.gov ;;
eu-isoe-*) domain=cloud.adc-e.uk ;;
eusc-*) domain=amazonaws.eu ;;
*) domain=amazonaws.com ;;
esac
registry=$account.dkr.ecr.$region.$domain
address=$registry/$repository:$tag

if [ -n "$dry_run" ]; then
    cat <<COMMANDS
aws ecr describe-repositories --registry-id $account --region $region --repository-names $repository
aws ecr create-repository --registry-id $account --region $region --repository-name $repository   # where there is none
aws ecr get-login-password --region $region | docker login --username AWS --password-stdin $registry
docker tag $image $address
docker push $address
$address
COMMANDS
    exit 0
fi

docker image inspect "$image" >/dev/null 2>&1 || fail "there is no image $image; build it with scripts/build_image.sh"
if ! answer=$(aws ecr describe-repositories --registry-id "$account" --region "$region" \
    --repository-names "$repository" 2>&1); then
    case $answer in
    *RepositoryNotFoundException*)
        aws ecr create-repository --registry-id "$account" --region "$region" --repository-name "$repository" >/dev/null
        echo "push_image: made the repository $repository in $region" >&2
        ;;
    *) fail "cannot look for the repository $repository: $answer" ;;
    esac
fi
# In two steps: a pipe would hide that the first one failed.
password=$(aws ecr get-login-password --region "$region")
printf '%s' "$password" | docker login --username AWS --password-stdin "$registry" >&2
docker tag "$image" "$address"
docker push "$address" >&2
echo "$address"
